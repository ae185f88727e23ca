//! Checks the repository's pages: links lead somewhere, every page of `docs/` is in its list, and the README stays short.

use crate::shell::root;
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    process::Command,
};

/// The most lines that the README may have, so that it is read in two minutes.
const README_LINES: usize = 200;

/// The texts of pages by their paths, which are relative to the workspace.
type Pages = BTreeMap<PathBuf, String>;

fn tracked() -> Pages {
    let output = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output().expect("git");
    assert!(output.status.success(), "the workspace is a git repository");
    let list = String::from_utf8(output.stdout).expect("UTF-8");
    list.lines().map(|path| (path.into(), std::fs::read_to_string(root().join(path)).expect(path))).collect()
}

/// The lines of a page that are prose: neither in a fence nor indented as code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence && !line.starts_with("    ")
    })
}

/// The targets of a page's links, except for those to other sites.
fn links(text: &str) -> Vec<&str> {
    let in_line = |line| {
        let rest: Vec<&str> = str::split(line, "](").skip(1).collect();
        rest.into_iter().filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    };
    prose(text).flat_map(in_line).filter(|target| !target.contains("://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let slug = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    prose(text)
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| slug(line.trim_start_matches('#')))
        .collect()
}

/// The path without `.` and `..`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The links of the pages that lead nowhere.
fn broken(pages: &Pages, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for (path, text) in pages {
        for link in links(text) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
            };
            let has_anchor = anchor.is_none_or(|anchor| {
                pages.get(&target).is_some_and(|page| anchors(page).iter().any(|it| it == anchor))
            });
            if !exists(&target) || !has_anchor {
                all.push(format!("{}: {link}", path.display()));
            }
        }
    }
    all
}

#[test]
fn links_lead_somewhere() {
    let broken = broken(&tracked(), |path| root().join(path).exists());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A page, of `two`\n[here](#a-page-of-two) [there](docs/b.md#x) [gone](c.md)\n```\n[code](d.md)\n```\n";
    let pages = Pages::from([
        ("a.md".into(), text.to_owned()),
        ("docs/b.md".into(), "## Y\n[up](../a.md)".to_owned()),
    ]);
    let found = broken(&pages, |path| pages.contains_key(path));
    assert_eq!(found, ["a.md: docs/b.md#x", "a.md: c.md"]);
}

#[test]
fn the_list_of_pages_has_all_and_the_readme_is_short() {
    let pages = tracked();
    let list = &pages[Path::new("docs/README.md")];
    let listed: Vec<PathBuf> = links(list).into_iter().map(|link| Path::new("docs").join(link)).collect();
    for page in pages.keys().filter(|path| path.starts_with("docs") && !path.ends_with("README.md")) {
        assert!(listed.contains(page), "docs/README.md does not name {}", page.display());
    }
    let lines = pages[Path::new("README.md")].lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
}
