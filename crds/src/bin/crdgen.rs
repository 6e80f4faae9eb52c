//! Writes the CRD manifests into each of the directories: `crdgen DIRECTORY…`.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let directories: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    ensure!(!directories.is_empty(), "usage: crdgen DIRECTORY…");
    for manifest in outrigger_api::manifests() {
        let yaml = manifest.to_yaml()?;
        for directory in &directories {
            let path = directory.join(&manifest.file_name);
            fs::write(&path, &yaml)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(())
}
