//! A browser without a window, in which pages are looked at.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The widths of a telephone, a tablet and a desk, in CSS pixels.
const WIDTHS: [u32; 3] = [390, 800, 1400];

/// Chromium, and the script of axe-core.
pub(crate) struct Browser {
    axe: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/axe/package/axe.min.js");
        let axe = fs::read_to_string(&script)
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` gets it", script.display()));
        Self { axe }
    }

    /// Chromium on a page, which is of no other user and in no window.
    fn chromium(words: &[&str], page: &Path) -> Vec<u8> {
        let profile = page.with_extension("profile");
        let output = Command::new("chromium")
            // The tests run as root, as whom it has no sandbox. The pages are our own.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(words)
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("chromium starts; `cargo xtask test` installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let _ = fs::remove_dir_all(profile);
        output.stdout
    }

    /// Has axe-core look at a copy of the page, which may run its script, and has it find nothing.
    pub(crate) fn assert_accessible(&self, page: &Path) {
        const RUN: &str = "axe.run().then(found=>{const told=document.createElement('pre');told.id='told';\
            told.textContent=JSON.stringify({violations:found.violations.map(it=>[it.id,it.nodes.map(it=>it.html)]),passes:found.passes.length});\
            document.documentElement.replaceChildren(told)})";
        let html = fs::read_to_string(page).expect("a page");
        let (before, policy) =
            html.split_once("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
        let (_, after) = policy.split_once("/>").expect("the end of it");
        let (body, end) = after.rsplit_once("</body>").expect("a body");
        let script = self.axe.replace("</script", "<\\/script");
        let copy = page.with_extension("axe.html");
        fs::write(
            &copy,
            format!("{before}{body}<script>{script}</script><script>{RUN}</script></body>{end}"),
        )
        .expect("our folder");
        let dom = Self::chromium(&["--virtual-time-budget=60000", "--dump-dom"], &copy);
        let dom = String::from_utf8(dom).expect("UTF-8");
        let told = dom.split_once("<pre id=\"told\">").and_then(|(_, rest)| rest.split_once("</pre>"));
        let (told, _) =
            told.unwrap_or_else(|| panic!("axe said nothing: {}", dom.get(..2000).unwrap_or(&dom)));
        assert!(told.starts_with("{\"violations\":[],\"passes\":"), "{told}");
        let passes =
            told.rsplit_once(':').and_then(|(_, it)| it.trim_end_matches('}').parse().ok()).unwrap_or(0);
        assert!(passes > 20, "axe looked at {passes} things: {told}");
    }

    /// Takes pictures of the page in each width, in light and dark, and checks that it has the browser draw something.
    pub(crate) fn take_pictures(page: &Path, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        fs::create_dir_all(&folder).expect("cargo's folder");
        for width in WIDTHS {
            for dark in [false, true] {
                let picture = folder.join(format!("{name}-{width}{}.png", if dark { "-dark" } else { "" }));
                let _ = fs::remove_file(&picture);
                let (size, to) =
                    (format!("--window-size={width},3000"), format!("--screenshot={}", picture.display()));
                let mut words = vec![&*size, &*to];
                if dark {
                    words.push("--blink-settings=preferredColorScheme=0");
                }
                Self::chromium(&words, page);
                let octets = fs::metadata(&picture).expect("a picture").len();
                assert!(octets > 20_000, "{}: {octets} octets", picture.display());
            }
        }
    }
}
