//! Kernel settings of the whole machine that kubelet changes, kept and put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{FileContext, Result};
use crate::layout::{Layout, write_file};

/// What kubelet writes when `protectKernelDefaults` is false (its container manager's
/// `setupKernelTunables`).
const CHANGED_BY_KUBELET: [&str; 6] = [
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
];

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

/// The present values.
pub(crate) fn read() -> BTreeMap<String, String> {
    CHANGED_BY_KUBELET
        .into_iter()
        .filter_map(|name| {
            Some((
                name.to_owned(),
                fs::read_to_string(path(name)).ok()?.trim().to_owned(),
            ))
        })
        .collect()
}

/// Keeps the values from before the first kubelet, once.
pub(crate) fn keep(layout: &Layout) -> Result<()> {
    let file = layout.sysctls();
    if file.exists() {
        return Ok(());
    }
    write_file(&file, serde_json::json!(read()).to_string())
}

/// The kept values; none if there was no lab.
pub(crate) fn kept(layout: &Layout) -> BTreeMap<String, String> {
    let text = fs::read_to_string(layout.sysctls()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Puts the kept values back.
pub(crate) fn restore(layout: &Layout) -> Result<()> {
    let now = read();
    for (name, value) in kept(layout)
        .into_iter()
        .filter(|(name, value)| now.get(name) != Some(value))
    {
        let path = path(&name);
        fs::write(&path, value).at("write", &path)?;
    }
    Ok(())
}
