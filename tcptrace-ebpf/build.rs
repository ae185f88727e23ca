//! Linker options of the kernel programs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Header fields lie at odd places; without this every unaligned load becomes one load per byte. The kernel
    // checks it again: it refuses such loads on machines that cannot do them.
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
}
