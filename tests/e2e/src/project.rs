//! Where the project's own files are.

use std::path::{Path, PathBuf};

/// The project's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The root of the project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.unwrap_or(here).to_owned()
}

/// Cargo's directory of everything that it builds.
pub fn target() -> PathBuf {
    let from_environment = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    from_environment.unwrap_or_else(|| root().join("target"))
}

/// The directory of the static programs that `make binaries` builds.
pub fn binaries() -> PathBuf {
    target().join("x86_64-unknown-linux-musl/release")
}
