//! Positions in a volume of the pod's own: read, and stored.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::amounts::{Amounts, Reader};
use crate::service::Exposure;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// The volume did not take part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A file or directory cannot be used.
    #[error("cannot {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Nothing can be stored under that name.
    #[error(
        "{0:?} is no name for positions: use at most 64 letters, digits, '-', '_' and '.', but no '.' first"
    )]
    Name(String),
}

/// The files of a directory, each a run of amounts.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    directory: PathBuf,
}

impl Positions {
    /// The files of `directory`.
    pub(crate) fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Positions {
            directory: directory.into(),
        }
    }

    /// Adds up all amounts in all files.
    pub(crate) async fn exposure(&self, node: &str) -> Result<Exposure, Problem> {
        let mut exposure = Exposure::on(node);
        let failed = |what| move |source| problem(what, &self.directory, source);
        let mut entries = fs::read_dir(&self.directory)
            .await
            .map_err(failed("list"))?;
        while let Some(entry) = entries.next_entry().await.map_err(failed("list"))? {
            let path = entry.path();
            let kind = entry.file_type().await.map_err(failed("list"))?;
            // What is being stored is hidden, and `lost+found` is a directory.
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_hidden || !kind.is_file() {
                continue;
            }
            let (bytes, amounts) = read(&path)
                .await
                .map_err(|source| problem("read", &path, source))?;
            exposure.files += 1;
            exposure.total_bytes += bytes;
            exposure.amounts.merge(amounts);
        }
        Ok(exposure)
    }

    /// Stores a run of amounts under a name, instead of what was there. All of it, or nothing.
    pub(crate) async fn store(&self, name: &str, amounts: &[u8]) -> Result<(), Problem> {
        if !is_name(name) {
            return Err(Problem::Name(name.to_owned()));
        }
        let path = self.directory.join(name);
        let unfinished = self.directory.join(format!(".{name}"));
        let stored = async {
            let mut file = File::create(&unfinished).await?;
            file.write_all(amounts).await?;
            file.sync_all().await?;
            fs::rename(&unfinished, &path).await
        };
        stored
            .await
            .map_err(|source| problem("store", &path, source))
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_letter)
}

/// The bytes of a file, and what its amounts come to.
async fn read(path: &Path) -> io::Result<(u64, Amounts)> {
    let mut file = File::open(path).await?;
    let mut reader = Reader::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok((reader.bytes(), reader.finish())),
            length => reader.take(&piece[..length]),
        }
    }
}

fn problem(what: &'static str, path: &Path, source: io::Error) -> Problem {
    Problem::File {
        what,
        path: path.to_owned(),
        source,
    }
}
