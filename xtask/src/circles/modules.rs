//! Reads the modules of one crate: their files, and the paths by which each mentions others.

use crate::pages::normal;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use syn::{
    Attribute, Item, ItemMod, ItemUse, LitStr, Macro, Meta, MetaList, UseTree,
    buffer::{Cursor, TokenBuffer},
    ext::IdentExt as _,
    visit::{self, Visit},
};

/// The parts of a path, such as `crate`, `wire`, `Packet`.
pub(super) type Names = Vec<String>;

/// A function that returns the text of a file; None if there is no such file.
pub(super) type Text<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// One module, which has a file of its own or is within one.
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// The names that `use` declarations bring in, each with the path that it stands for.
    pub(super) imports: BTreeMap<String, Names>,
    /// The paths from which `use` declarations import everything.
    pub(super) globs: Vec<Names>,
    /// The names of the items that are written in the module.
    pub(super) items: BTreeSet<String>,
    /// Every path that is written in the module, also in `use` declarations.
    pub(super) mentions: BTreeSet<Names>,
}

impl Module {
    const fn new(file: PathBuf, parent: Option<usize>) -> Self {
        Self {
            file,
            parent,
            children: BTreeMap::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            items: BTreeSet::new(),
            mentions: BTreeSet::new(),
        }
    }
}

/// The modules of the crate whose root is this file, without those for tests; the root is the first.
pub(super) fn read(root: &Path, text: Text<'_>) -> Vec<Module> {
    let mut modules = vec![Module::new(root.to_owned(), None)];
    let directory = root.parent().unwrap_or(Path::new("")).to_owned();
    Reader { modules: &mut modules, at: 0, directory, text }.read_file();
    modules
}

/// Reads one module.
struct Reader<'a> {
    modules: &'a mut Vec<Module>,
    /// The index of the module in `modules`.
    at: usize,
    /// The folder that the files of the module's children are in.
    directory: PathBuf,
    text: Text<'a>,
}

impl Reader<'_> {
    fn read_file(&mut self) {
        let file = &self.modules[self.at].file;
        let text = (self.text)(file).unwrap_or_else(|| panic!("no file {}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.visit_file(&parsed);
    }

    fn module(&mut self) -> &mut Module {
        &mut self.modules[self.at]
    }

    /// The file of a child, and where the files of its own children are.
    fn file_of(&self, child: &ItemMod) -> (PathBuf, PathBuf) {
        let name = child.ident.unraw().to_string();
        let own = self.directory.join(&name);
        if let Some(path) = path_of(&child.attrs) {
            let beside = self.modules[self.at].file.parent().unwrap_or(Path::new("")).join(path);
            let beside = normal(&beside);
            let directory = beside.parent().unwrap_or(Path::new("")).to_owned();
            return (beside, directory);
        }
        let beside = self.directory.join(format!("{name}.rs"));
        let file = if (self.text)(&beside).is_some() { beside } else { own.join("mod.rs") };
        (file, own)
    }

    /// Finds paths in the tokens that a macro or an attribute is given.
    fn scan(&mut self, mut rest: Cursor<'_>) {
        let mut names = Names::new();
        while !rest.eof() {
            if let Some((ident, next)) = rest.ident() {
                names.push(ident.to_string());
                rest = next;
                if let Some(next) = colons(next) {
                    rest = next;
                } else {
                    self.mention(std::mem::take(&mut names));
                }
            } else if let Some((inside, _, _, next)) = rest.any_group() {
                self.mention(std::mem::take(&mut names));
                self.scan(inside);
                rest = next;
            } else {
                self.mention(std::mem::take(&mut names));
                let Some((_, next)) = rest.token_tree() else { break };
                rest = next;
            }
        }
        self.mention(names);
    }

    fn mention(&mut self, names: Names) {
        // A single name is of this module, or a declaration has brought it in.
        if names.len() > 1 {
            self.module().mentions.insert(names);
        }
    }

    fn import(&mut self, tree: &UseTree, mut path: Names) {
        match tree {
            UseTree::Path(it) => {
                path.push(it.ident.to_string());
                self.import(&it.tree, path);
            }
            UseTree::Group(it) => it.items.iter().for_each(|tree| self.import(tree, path.clone())),
            UseTree::Glob(_) => {
                self.module().globs.push(path.clone());
                self.module().mentions.insert(path);
            }
            UseTree::Name(it) => self.bring(it.ident.to_string(), None, path),
            UseTree::Rename(it) => self.bring(it.ident.to_string(), Some(it.rename.to_string()), path),
        }
    }

    fn bring(&mut self, last: String, renamed: Option<String>, mut path: Names) {
        if last != "self" {
            path.push(last);
        }
        let Some(name) = renamed.or_else(|| path.last().cloned()) else { return };
        self.module().mentions.insert(path.clone());
        self.module().imports.insert(name, path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = of_item(item);
        if !is_for_tests(attributes) {
            self.module().items.extend(name);
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, child: &'ast ItemMod) {
        let inline = child.content.is_some();
        let (file, directory) = if inline {
            (self.modules[self.at].file.clone(), self.directory.join(child.ident.to_string()))
        } else {
            self.file_of(child)
        };
        let at = self.modules.len();
        self.modules.push(Module::new(file, Some(self.at)));
        self.module().children.insert(child.ident.to_string(), at);
        let mut reader = Reader { modules: &mut *self.modules, at, directory, text: self.text };
        match &child.content {
            Some((_, items)) => items.iter().for_each(|item| reader.visit_item(item)),
            None => reader.read_file(),
        }
    }

    fn visit_item_use(&mut self, declaration: &'ast ItemUse) {
        if declaration.leading_colon.is_none() {
            self.import(&declaration.tree, Names::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast Macro) {
        self.visit_path(&it.path);
        self.scan(TokenBuffer::new2(it.tokens.clone()).begin());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.scan(TokenBuffer::new2(list.tokens.clone()).begin());
    }
}

/// The tokens behind `::`; None if there is no `::`.
fn colons(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, next) = at.punct()?;
    let (second, next) = next.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(next)
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|it| {
        matches!(&it.meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

/// Where `#[path = "..."]` says that a module is.
fn path_of(attributes: &[Attribute]) -> Option<PathBuf> {
    let value = attributes.iter().find_map(|it| match &it.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => Some(&pair.value),
        _ => None,
    })?;
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = value else { return None };
    Some(LitStr::value(text).into())
}

/// The name of an item, where it has one, and its attributes.
fn of_item(item: &Item) -> (Option<String>, &[Attribute]) {
    let (name, attributes) = match item {
        Item::Const(it) => (Some(&it.ident), &it.attrs),
        Item::Enum(it) => (Some(&it.ident), &it.attrs),
        Item::Fn(it) => (Some(&it.sig.ident), &it.attrs),
        Item::Impl(it) => (None, &it.attrs),
        Item::Macro(it) => (it.ident.as_ref(), &it.attrs),
        Item::Mod(it) => (None, &it.attrs),
        Item::Static(it) => (Some(&it.ident), &it.attrs),
        Item::Struct(it) => (Some(&it.ident), &it.attrs),
        Item::Trait(it) => (Some(&it.ident), &it.attrs),
        Item::Type(it) => (Some(&it.ident), &it.attrs),
        Item::Union(it) => (Some(&it.ident), &it.attrs),
        Item::Use(it) => (None, &it.attrs),
        _ => return (None, &[]),
    };
    (name.map(ToString::to_string), attributes)
}
