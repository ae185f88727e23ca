//! Finds what the kernel programs are built with: a compiler that has `core` for BPF, and a bpf-linker for its LLVM.
//!
//! The compiler is Debian's `rustc-web` with `core` prebuilt for BPF, or a rustup nightly with `rust-src`.

use crate::shell::{capture, is_executable, which};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The name under which Debian's compiler is linked into rustup.
pub(crate) const LINKED: &str = "debian";
/// Debian's compiler: never the rustup proxy of the same name.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The linker's version; its features name the LLVM it is built with.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// The LLVM versions that serve: this version of the linker can be built with 21 to 23, and the kernel programs ask
/// for a feature that came with 22 (tcptrace-ebpf/build.rs).
pub(crate) const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 22..=23;

/// Where a compiler for BPF comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `rustup run nightly`, building `core` itself.
    Nightly,
    /// Debian's packages.
    Debian,
}

/// A compiler that can build for BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) origin: Origin,
    /// Major version of the LLVM that wrote its bitcode.
    pub(crate) llvm: u32,
}

/// What `rustc -vV` says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RustcVersion {
    pub(crate) minor: u32,
    pub(crate) llvm: u32,
}

impl RustcVersion {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(output: &str) -> Option<Self> {
        let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let minor = field("release:")?.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
        let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
        Some(Self { minor, llvm })
    }

    fn of(command: &mut Command) -> Option<Self> {
        Self::parse(&capture(command.arg("-vV")).ok()?)
    }
}

/// Debian's compiler with its version, whether or not it can build for BPF.
pub(crate) fn debian_rustc() -> Option<RustcVersion> {
    is_executable(Path::new(DEBIAN_RUSTC)).then(|| RustcVersion::of(&mut Command::new(DEBIAN_RUSTC)))?
}

/// Debian's `core` prebuilt for BPF.
pub(crate) fn debian_has_core() -> bool {
    fs::read_dir("/usr/lib/rustlib/bpfel-unknown-none/lib").is_ok_and(|mut entries| {
        entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

/// A rustup nightly that has the sources of `core`.
pub(crate) fn nightly() -> Option<Compiler> {
    which("rustup")?;
    let rustc = || {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "rustc"]);
        command
    };
    let sysroot = capture(rustc().args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    core.is_dir()
        .then(|| RustcVersion::of(&mut rustc()))?
        .map(|v| Compiler { origin: Origin::Nightly, llvm: v.llvm })
}

/// Whether Debian's compiler is known to rustup under [`LINKED`]; true where there is no rustup to know it.
pub(crate) fn is_linked() -> bool {
    which("rustup").is_none()
        || capture(Command::new("rustup").args(["toolchain", "list"]))
            .is_ok_and(|list| list.lines().any(|line| line.split_whitespace().next() == Some(LINKED)))
}

/// Where bpf-linkers may be: `PATH`, cargo's own directory (Debian's cargo does not put it into `PATH`), and ours.
pub(crate) fn linkers() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = env::split_paths(&path)
        .chain([cargo_home().join("bin"), own_tools().join("bin")])
        .map(|directory| directory.join("bpf-linker"))
        .filter(|linker| is_executable(linker))
        .collect();
    let mut seen = Vec::new();
    found.retain(|linker| {
        !seen.contains(linker) && {
            seen.push(linker.clone());
            true
        }
    });
    found
}

/// The first linker that starts and reads the bitcode of that LLVM.
pub(crate) fn linker_for(llvm: u32) -> Option<PathBuf> {
    let serves = |has: u32| has >= llvm && has >= *LINKER_LLVMS.start();
    linkers().into_iter().find(|linker| linker_llvm(linker).is_some_and(serves) && starts(linker))
}

/// Whether a linker starts. It is run to find out, as its shared LLVM may be gone after an upgrade of the system.
fn starts(linker: &Path) -> bool {
    capture(Command::new(linker).arg("--version")).is_ok()
}

/// The major LLVM version a bpf-linker was built with. `bpf-linker --version` does not tell; the libraries it
/// loads do, and where LLVM is linked in (the prebuilt ones), its bytes.
pub(crate) fn linker_llvm(linker: &Path) -> Option<u32> {
    let libraries = capture(Command::new("ldd").arg(linker)).unwrap_or_default();
    llvm_in(libraries.as_bytes()).or_else(|| llvm_in(&fs::read(linker).ok()?))
}

/// Finds the name of the shared library (`libLLVM.so.22.1`, `libLLVM-15.so`), or else what a linked-in LLVM calls
/// itself in the bitcode it writes (`LLVM22.1.8`). LLVM reads what older versions wrote, so newer is good too.
fn llvm_in(bytes: &[u8]) -> Option<u32> {
    ["libLLVM.so.", "libLLVM-", "LLVM"].iter().find_map(|mark| number_after(bytes, mark))
}

fn number_after(bytes: &[u8], mark: &str) -> Option<u32> {
    let mark = mark.as_bytes();
    bytes.windows(mark.len() + 3).filter(|window| window.starts_with(mark)).find_map(|window| {
        match &window[mark.len()..] {
            [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'.' | b'\0'] => {
                Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
            }
            _ => None,
        }
    })
}

/// Cargo's directory of installed programs and caches.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// Where rustup keeps its toolchains.
pub(crate) fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from)
}

/// Where a linker goes when cargo's directory holds one that somebody else needs with another LLVM.
pub(crate) fn own_tools() -> PathBuf {
    env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from).join("tcptrace")
}

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from)
}

/// `PATH` with a directory before all others.
pub(crate) fn path_with(first: &Path) -> OsString {
    let old = env::var_os("PATH").unwrap_or_default();
    let rest = env::split_paths(&old).filter(|directory| directory != first).collect::<Vec<_>>();
    env::join_paths(std::iter::once(first.to_owned()).chain(rest)).unwrap_or(old)
}

#[cfg(test)]
mod tests {
    use super::{RustcVersion, llvm_in};

    #[test]
    fn versions_are_read_from_rustc() {
        let debian = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
                      host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let nightly = "rustc 1.97.0-nightly (x 2026-05-01)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(RustcVersion::parse(debian), Some(RustcVersion { minor: 96, llvm: 22 }));
        assert_eq!(RustcVersion::parse(nightly), Some(RustcVersion { minor: 97, llvm: 22 }));
        assert_eq!(RustcVersion::parse("release: 1.96.0\n"), None, "a compiler without LLVM");
        assert_eq!(RustcVersion::parse(""), None);
    }

    #[test]
    fn the_llvm_of_a_linker_is_read_from_its_bytes() {
        let rows: [(&[u8], Option<u32>); 6] = [
            (b"\0libLLVM.so.22.1\0libc.so.6\0", Some(22)),
            (b"\0libLLVM-15.so\0", Some(15)),
            (b"text LLVM23.1.0 text", Some(23)),
            (b"LLVM ERROR: LLVM21.1.2-rust", Some(21)),
            (b"LLVM20.1\0 but dynamic: libLLVM.so.22.1", Some(22)),
            (b"no such thing, LLVM", None),
        ];
        for (bytes, llvm) in rows {
            assert_eq!(llvm_in(bytes), llvm, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
