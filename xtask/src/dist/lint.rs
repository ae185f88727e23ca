//! What Debian's and Fedora's checks of packages say, and systemd's of the unit.

use super::{pack, place::Place};
use crate::shell::{say, typed};
use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// Checks both packages. What is not to be mended is named, with its reason, in `lintian-overrides` and `rpmlint.toml` in
/// `packaging`; everything else is an error.
pub(super) fn all(place: &Place) -> Result<()> {
    let mut lintian = place.command("lintian");
    lintian
        .args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"])
        .arg(pack::deb_path(place));
    let mut rpmlint = place.command("rpmlint");
    rpmlint
        .args(["--strict", "--config"])
        .arg(place.root.join("packaging/rpm/rpmlint.toml"))
        .arg(pack::rpm_path(place));
    for command in [&mut lintian, &mut rpmlint] {
        check(command)?;
    }
    Ok(())
}

fn check(command: &mut Command) -> Result<()> {
    let typed = typed(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{typed}`"))?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        say(said.trim_end());
        bail!("`{typed}` found something");
    }
    let program = command.get_program().to_string_lossy().into_owned();
    say(format_args!(
        "{program}: {}",
        said.lines().next_back().filter(|it| !it.is_empty()).unwrap_or("nothing")
    ));
    Ok(())
}
