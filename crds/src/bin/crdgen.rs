//! Writes the CRD manifests into a directory: `crdgen DIRECTORY`.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        bail!("usage: crdgen DIRECTORY");
    };
    let directory = PathBuf::from(directory);
    for manifest in outrigger_api::manifests() {
        let path = directory.join(&manifest.file_name);
        fs::write(&path, manifest.to_yaml()?)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
