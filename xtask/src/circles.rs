//! Checks that no files of a crate import each other, straight or by way of others: whoever reads one of such files has to
//! read all of them, and none can be moved alone.
//!
//! A module and those within it are one room: a parent uses its children, children use `super`, and neither counts. What is
//! for unit tests does not count either.

mod modules;

use crate::shell::{capture, root};
use modules::{Module, Names, Text, read};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// How many `use` declarations are followed from a name before the search is given up.
const DETOURS: u32 = 8;

/// What a path leads to, within its crate.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    /// An item that is written in this module.
    ItemOf(usize),
}

/// The paths that are written in one file and lead to another, by the importing and the imported file.
type Imports = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

struct Crate(Vec<Module>);

impl Crate {
    /// The imports between files of which neither is within the other's module.
    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (at, module) in self.0.iter().enumerate() {
            for path in &module.mentions {
                let mut led_to = Vec::new();
                self.follow(at, path, &mut led_to, DETOURS);
                for to in led_to.into_iter().filter(|&to| !self.are_of_one_line(at, to)) {
                    let ends = (module.file.clone(), self.0[to].file.clone());
                    imports.entry(ends).or_default().insert(path.join("::"));
                }
            }
        }
        imports
    }

    /// Where a path leads that is written in the module `at`, and in `led_to` the modules whose files it names: the deepest
    /// one, and on the way those that only hand on what they import.
    fn follow(&self, at: usize, path: &Names, led_to: &mut Vec<usize>, detours: u32) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut place = match &**first {
            "crate" => Target::Module(0),
            "self" => Target::Module(at),
            "super" => Target::Module(self.0[at].parent?),
            name => self.named(at, name, led_to, detours)?,
        };
        for name in rest {
            place = match place {
                Target::Module(at) if name == "super" => Target::Module(self.0[at].parent?),
                Target::Module(at) => match self.named(at, name, led_to, detours) {
                    Some(place) => place,
                    // It hands on what is of another crate.
                    None if self.0[at].imports.contains_key(name) => {
                        led_to.push(at);
                        return None;
                    }
                    None => Target::ItemOf(at),
                },
                item @ Target::ItemOf(_) => item,
            };
        }
        let (Target::Module(at) | Target::ItemOf(at)) = place;
        led_to.push(at);
        Some(place)
    }

    /// What a name is in a module.
    fn named(&self, at: usize, name: &str, led_to: &mut Vec<usize>, detours: u32) -> Option<Target> {
        let module = &self.0[at];
        if let Some(&child) = module.children.get(name) {
            return Some(Target::Module(child));
        }
        if module.items.contains(name) {
            return Some(Target::ItemOf(at));
        }
        let detours = detours.checked_sub(1)?;
        if let Some(path) = module.imports.get(name) {
            led_to.push(at);
            return self.follow(at, path, led_to, detours);
        }
        module.globs.iter().find_map(|path| {
            let (mut around, mut there) = (Vec::new(), Vec::new());
            let Target::Module(from) = self.follow(at, path, &mut around, detours)? else { return None };
            let place = self.named(from, name, &mut there, detours)?;
            led_to.push(at);
            led_to.append(&mut there);
            Some(place)
        })
    }

    /// One is within the other, or both are in one file.
    fn are_of_one_line(&self, one: usize, other: usize) -> bool {
        let is_within = |inner: usize, outer: usize| {
            std::iter::successors(Some(inner), |&at| self.0[at].parent)
                .any(|at| self.0[at].file == self.0[outer].file)
        };
        is_within(one, other) || is_within(other, one)
    }
}

/// The groups of files that all import each other.
fn circles(imports: &Imports) -> BTreeSet<BTreeSet<&Path>> {
    let files: BTreeSet<&Path> = imports.keys().flat_map(|(from, to)| [&**from, &**to]).collect();
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        files.iter().map(|&file| (file, reached_from(file, imports))).collect();
    let circle_of = |file: &&Path| -> BTreeSet<&Path> {
        reached[*file].iter().copied().filter(|other| reached[other].contains(file)).collect()
    };
    files.iter().map(circle_of).filter(|circle| !circle.is_empty()).collect()
}

fn reached_from<'a>(file: &Path, imports: &'a Imports) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(at) = next.pop() {
        for (_, to) in imports.keys().filter(|(from, _)| from == at) {
            if reached.insert(&**to) {
                next.push(to);
            }
        }
    }
    reached
}

/// Files that all import each other, straight or by way of others, with what each imports of the others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Circle {
    files: BTreeSet<PathBuf>,
    imports: Imports,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files import each other:", self.files.len())?;
        for ((from, to), paths) in &self.imports {
            let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
            write!(f, "\n  {} imports {}: {}", from.display(), to.display(), paths.join(", "))?;
        }
        Ok(())
    }
}

/// Finds the circles of the crate whose root is this file.
fn found(root: &Path, text: Text<'_>) -> Vec<Circle> {
    let imports = Crate(read(root, text)).imports();
    let with_imports = |files: BTreeSet<&Path>| {
        let inside = |(from, to): &(PathBuf, PathBuf)| files.contains(&**from) && files.contains(&**to);
        let imports = imports.iter().filter(|(ends, _)| inside(ends));
        Circle {
            files: files.iter().map(|&file| file.to_owned()).collect(),
            imports: imports.map(|(ends, paths)| (ends.clone(), paths.clone())).collect(),
        }
    };
    circles(&imports).into_iter().map(with_imports).collect()
}

/// The roots of all crates in a workspace, as cargo has them: libraries, programs, tests, benches, examples.
fn roots(manifest: &str) -> BTreeSet<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path", manifest])
        .current_dir(root());
    let metadata: Value = serde_json::from_str(&capture(&mut cargo).expect("metadata")).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().expect("targets"));
    targets
        .map(|target| Path::new(target["src_path"].as_str().expect("a path")))
        .map(|path| path.strip_prefix(root()).expect("in the workspace").to_owned())
        .collect()
}

#[test]
fn no_files_import_each_other() {
    let roots: BTreeSet<PathBuf> = ["Cargo.toml", "fuzz/Cargo.toml"].into_iter().flat_map(roots).collect();
    assert!(roots.contains(Path::new("tcptrace/src/lib.rs")), "{roots:?}");
    let text = |path: &Path| std::fs::read_to_string(root().join(path)).ok();
    // A circle that several crates of tests share is reported once.
    let all: BTreeSet<Circle> = roots.iter().flat_map(|root| found(root, &text)).collect();
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(files: &[(&str, &str)]) -> Vec<String> {
        let text = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        };
        found(Path::new("src/lib.rs"), &text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_files_that_import_each_other_are_found() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::{B, Other as O}; pub struct A;"),
            ("src/b.rs", "pub struct B(super::a::A);"),
        ];
        let circle = "2 files import each other:\n  src/a.rs imports src/b.rs: crate::b::B, crate::b::Other\n  \
                      src/b.rs imports src/a.rs: super::a::A";
        assert_eq!(found_in(&files), [circle]);
    }

    #[test]
    fn a_circle_by_way_of_others_is_found() {
        for (b, c) in [
            ("use super::c::C;", "use super::a::A;"),
            ("fn f() { super::c::f() }", "fn f() { println!(\"{}\", crate::a::f()); }"),
            ("pub use super::c::*;", "use super::a::A; pub struct B;"),
            ("pub use super::c::B;", "mod inline { fn f(_: super::super::a::A) {} } pub struct B;"),
        ] {
            let files = [
                ("src/lib.rs", "mod a; mod b; mod c;"),
                ("src/a.rs", "use super::b::B;"),
                ("src/b.rs", b),
                ("src/c.rs", c),
            ];
            let found = found_in(&files);
            assert!(found.len() == 1 && found[0].starts_with("3 files"), "{b} {c}: {found:?}");
        }
    }

    #[test]
    fn parents_children_and_tests_make_no_circle() {
        let files = [
            ("src/lib.rs", "mod a; mod b; pub use a::A; fn f() { b::f() }"),
            ("src/a/mod.rs", "mod inner; pub use inner::Inner; pub struct A(Inner);"),
            ("src/a/inner.rs", "pub struct Inner; use super::A; use crate::f;"),
            ("src/b.rs", "use crate::a::A; use crate::A as B;"),
        ];
        assert_eq!(found_in(&files), [""; 0]);
        let tested = ("src/a/inner.rs", "#[cfg(test)] mod tests { use crate::b::f; }");
        assert_eq!(found_in(&[files[0], files[1], tested, files[3]]), [""; 0]);
        let handed_on = ("src/a/inner.rs", "use crate::b::f;");
        assert_eq!(found_in(&[files[0], ("src/a/mod.rs", "mod inner;"), handed_on, files[3]]), [""; 0]);
    }
}
