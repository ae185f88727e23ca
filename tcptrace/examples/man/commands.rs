//! The pages of tcptrace and of its subcommands, from the definition of the command line.

use crate::{
    Named,
    page::{Page, SOURCE, term},
};
use clap::{Arg, Command};
use clap_mangen::{Man, roff::bold};

/// What belongs together with tcptrace, beyond its own pages.
const OTHERS: [(&str, &str); 4] = [("tcpdump", "8"), ("pcap-filter", "7"), ("ip-netns", "8"), ("jq", "1")];
/// The page about the events.
const EVENTS: (&str, &str) = ("tcptrace-events", "5");

/// A page of the command and one of each of its subcommands.
pub(crate) fn pages(command: &Command, date: &str) -> Vec<Named> {
    let all: Vec<&Command> = [command].into_iter().chain(command.get_subcommands()).collect();
    let names: Vec<&str> = all.iter().map(|it| name(it)).collect();
    let page = |command: &&Command| {
        let own = name(command);
        let mut page = page(command, date);
        let family = names.iter().map(|&name| (name, "1")).chain([EVENTS]).filter(|(name, _)| *name != own);
        let others = OTHERS.into_iter().filter(|_| own == names[0]);
        page.see_also(family.chain(others));
        (format!("{own}.1"), page.finish())
    };
    all.iter().map(page).collect()
}

/// `tcptrace-check`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, date: &str) -> Page {
    let mut page = Page::new(name(command), "1", date);
    let usage = command.clone().render_usage().to_string().replace("Usage: ", "");
    let man = Man::new(command.clone().override_usage(usage).mut_args(in_full)).source(SOURCE);
    let rendered = |render: fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>| {
        let mut text = Vec::new();
        render(&man, &mut text).expect("a vector takes everything");
        String::from_utf8(text).expect("clap's texts are UTF-8")
    };
    page.add(&rendered(|man, out| man.render_name_section(out)));
    page.add(&rendered(|man, out| man.render_synopsis_section(out)));
    page.add(&rendered(|man, out| man.render_description_section(out)));
    page.add(&below_options(&rendered(|man, out| man.render_options_section(out))));
    if command.has_subcommands() {
        page.add(&rendered(|man, out| man.render_subcommands_section(out)));
    }
    if let Some(help) = command.get_after_long_help() {
        add_help(&mut page, &help.to_string());
    }
    page
}

/// With its whole help, also where `-h` leaves the option out, as sentences.
fn in_full(option: Arg) -> Arg {
    let help = option.get_long_help().or(option.get_help()).map(ToString::to_string).unwrap_or_default();
    let end = if help.ends_with(['.', ']']) { "" } else { "." };
    option.hide_short_help(false).long_help(format!("{help}{end}"))
}

/// The groups of options are parts of the section about options, and not sections.
fn below_options(rendered: &str) -> String {
    let line = |line: &str| match line.strip_prefix(".SH ") {
        Some(heading) if heading != "OPTIONS" => format!(".SS {}\n", capitalized(heading)),
        _ => format!("{line}\n"),
    };
    rendered.lines().map(line).collect()
}

fn capitalized(heading: &str) -> String {
    let (first, rest) = heading.split_at(1);
    first.to_owned() + &rest.to_lowercase()
}

/// The long help below the options, by its form, which `tcptrace/src/cli/help.rs` describes.
fn add_help(page: &mut Page, help: &str) {
    for block in help.split("\n\n") {
        let (heading, body) = block.split_once('\n').unwrap_or((block, ""));
        page.section(heading.trim_end_matches(':'), |roff| {
            for (named, text) in terms(body) {
                term(roff, vec![bold(named)], &text);
            }
        });
    }
}

/// What is indented by two, each with the lines below it that are indented by more.
fn terms(body: &str) -> Vec<(String, String)> {
    let mut terms: Vec<(String, String)> = Vec::new();
    for line in body.lines() {
        match terms.last_mut() {
            // It goes on, on a line of its own in the help.
            Some((term, _)) if line.starts_with("          ") => {
                term.push(' ');
                term.push_str(line.trim());
            }
            Some((_, explained)) if line.starts_with("      ") => {
                explained.push_str(line);
                explained.push('\n');
            }
            _ => terms.push((line.trim().to_owned(), String::new())),
        }
    }
    terms
}
