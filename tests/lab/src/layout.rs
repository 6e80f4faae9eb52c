//! Where things are, and files written so that a half-written one is never seen.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, FileContext, Result};

/// The lab's two directories and the names in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    state: PathBuf,
    cache: PathBuf,
}

impl Layout {
    /// `OUTRIGGER_LAB_DIR` or `/var/lib/outrigger-lab`; `OUTRIGGER_CACHE` or `outrigger` in the
    /// user's cache directory.
    pub(crate) fn from_env() -> Result<Self> {
        let absolute = |name: &str| match env::var_os(name).map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(Some(path)),
            Some(path) if path.as_os_str().is_empty() => Ok(None),
            Some(path) => {
                let found = path.display();
                Err(Error::Requirements(vec![format!(
                    "{name} is {found}; give an absolute path"
                )]))
            }
            None => Ok(None),
        };
        let state =
            absolute("OUTRIGGER_LAB_DIR")?.unwrap_or_else(|| "/var/lib/outrigger-lab".into());
        let cache = match (
            absolute("OUTRIGGER_CACHE")?,
            absolute("XDG_CACHE_HOME")?,
            absolute("HOME")?,
        ) {
            (Some(cache), ..) => cache,
            (None, Some(user), _) => user.join("outrigger"),
            (None, None, home) => home
                .unwrap_or_else(|| "/root".into())
                .join(".cache/outrigger"),
        };
        Ok(Self { state, cache })
    }

    /// A layout for unit tests.
    #[cfg(test)]
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            state: directory.to_owned(),
            cache: directory.join("cache"),
        }
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }
    pub(crate) fn settings(&self) -> PathBuf {
        self.state.join("lab.json")
    }
    /// What HDFS was brought up with, if it was.
    pub(crate) fn hdfs(&self) -> PathBuf {
        self.state.join("hdfs.json")
    }
    pub(crate) fn sysctls(&self) -> PathBuf {
        self.state.join("sysctls.json")
    }
    /// Links to the tools that people and tests call: kubectl, helm.
    pub(crate) fn tools(&self) -> PathBuf {
        self.state.join("bin")
    }
    /// What kubectl keeps of the API server's answers.
    pub(crate) fn tool_cache(&self) -> PathBuf {
        self.state.join("kubectl-cache")
    }
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }
    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.state.join("pki").join(file)
    }
    pub(crate) fn config(&self, file: &str) -> PathBuf {
        self.state.join("config").join(file)
    }
    pub(crate) fn data(&self, component: &str) -> PathBuf {
        self.state.join("data").join(component)
    }
    /// Makes the directory of all data. PostgreSQL's user has to pass through it; etcd, if it came
    /// first, would make it for root alone.
    pub(crate) fn ensure_data(&self) -> Result<()> {
        let directory = self.state.join("data");
        fs::create_dir_all(&directory).at("create", &directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
            .at("set the mode of", &directory)
    }
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.state.join("ns")
    }
    pub(crate) fn namespace(&self, file: &str) -> PathBuf {
        self.namespaces().join(file)
    }
    /// The directory that a node sees as `/`.
    pub(crate) fn node_root(&self, node: &str) -> PathBuf {
        self.state.join("nodes").join(node)
    }
    pub(crate) fn pause_image(&self) -> PathBuf {
        self.state.join("pause.tar")
    }
    pub(crate) fn record(&self, component: &str) -> PathBuf {
        self.state
            .join("run")
            .join(flat(component))
            .with_extension("json")
    }
    pub(crate) fn log(&self, component: &str) -> PathBuf {
        self.state
            .join("log")
            .join(flat(component))
            .with_extension("log")
    }
}

/// `node-1/kubelet` as a file name.
fn flat(component: &str) -> String {
    component.replace('/', "-")
}

/// Writes a file in one step, and only if its content changes. Mode 0644.
pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    write_with_mode(path, content.as_ref(), 0o644)
}

/// Like [`write_file`], readable by its owner only.
pub(crate) fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    write_with_mode(path, content.as_ref(), 0o600)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).at("create", directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).at("create a file in", directory)?;
    file.write_all(content).at("write", path)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .at("set the mode of", path)?;
    file.persist(path)
        .map_err(|error| error.error)
        .at("write", path)?;
    Ok(())
}

/// Removes a directory and all in it; it is fine if there is none.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/key");
        write_secret(&path, "one").unwrap();
        write_secret(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
