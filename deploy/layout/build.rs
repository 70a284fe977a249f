//! Lays out the program's code: what every sidecar runs comes first and together (`order.ld`, which says why).
//!
//! Only where a linker of ELF files links an optimized build; everywhere else the order is the compiler's.

use std::env::{VarError, var};

fn main() -> Result<(), VarError> {
    println!("cargo:rerun-if-changed=deploy/layout/build.rs");
    println!("cargo:rerun-if-changed=deploy/layout/order.ld");
    let is_wanted = var("CARGO_FEATURE_LAYOUT").is_ok();
    if is_wanted && var("CARGO_CFG_TARGET_OS")? == "linux" && var("OPT_LEVEL")? != "0" {
        // Two arguments in one, so that a path with a comma or a space in it stays one.
        println!("cargo:rustc-link-arg-bins=-T{}/deploy/layout/order.ld", var("CARGO_MANIFEST_DIR")?);
    }
    Ok(())
}
