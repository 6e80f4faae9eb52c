//! One scan, as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use crate::answer::{FileKind, FileStatus, Listing, Page, Summary};
use crate::blocks::{Found, read, unreadable};
use crate::cache::{Cache, Interner, Places, Version};
use crate::error::{PathError, ScanError};
use crate::http::shortened;
use crate::liveness::DataNodes;
use crate::name_nodes::Operation::{ContentSummary, ListStatus, ListStatusBatch};
use crate::name_nodes::{NameNodes, Question, Trouble};
use crate::path::HdfsPath;
use crate::scan::PathScan;
use crate::source::Settings;

/// What the questions of one scan share.
pub(crate) struct Session<'a> {
    pub(crate) name_nodes: &'a NameNodes,
    pub(crate) cache: &'a Mutex<Cache>,
    pub(crate) data_nodes: Mutex<DataNodes>,
    pub(crate) settings: &'a Settings,
    /// Whether locations are complete, so that they may be kept.
    pub(crate) complete: bool,
    /// Files that were listed.
    pub(crate) files: AtomicU64,
    /// Files whose locations were asked for.
    pub(crate) asked: AtomicU64,
    /// Files whose locations were remembered.
    pub(crate) remembered: AtomicU64,
}

/// What a path adds up to.
#[derive(Debug, Default)]
struct Tally {
    scan: PathScan,
    directories: u64,
    /// Bytes by the number of a set of holders.
    bytes: BTreeMap<u32, u64>,
}

/// A page of a listing.
struct Entries {
    entries: Vec<(HdfsPath, FileStatus)>,
    /// The name after which there is more.
    next: Option<String>,
}

impl Session<'_> {
    /// How many files are below a path.
    pub(crate) async fn count(&self, path: &HdfsPath) -> Result<u64, Trouble> {
        let reply = self
            .name_nodes
            .ask(&Question::new(path, &[ContentSummary]))
            .await?;
        let summary = read::<Summary>(&reply, path)?.content_summary;
        Ok(summary.file_count)
    }

    /// Where the bytes below a path are.
    pub(crate) async fn path(&self, asked: &str, path: &HdfsPath) -> Result<PathScan, Trouble> {
        let mut tally = Tally::default();
        tally.scan.path = asked.to_owned();
        let mut directories = vec![path.clone()];
        while let Some(directory) = directories.pop() {
            match self
                .directory(&directory, &mut directories, &mut tally)
                .await
            {
                // One below the path may have gone since it was listed.
                Err(Trouble::Path(PathError::Missing(_))) if directory != *path => {}
                told => told?,
            }
        }
        Ok(tally.finish(self.cache.lock().holders()))
    }

    /// Reads a directory page by page; or the one file that a path is.
    async fn directory(
        &self,
        directory: &HdfsPath,
        further: &mut Vec<HdfsPath>,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        let mut after: Option<String> = None;
        loop {
            let page = self.page(directory, after.as_deref()).await?;
            let mut files = Vec::new();
            for (path, status) in page.entries {
                match status.kind {
                    FileKind::File => files.push((path, status)),
                    FileKind::Directory => {
                        tally.directories += 1;
                        further.push(path);
                    }
                    // What it points to is another path.
                    FileKind::Symlink => {}
                }
            }
            self.bound("directories", tally, tally.directories, tally.directories)?;
            tally.scan.files += files.len() as u64;
            self.files.fetch_add(files.len() as u64, Relaxed);
            let listed = self.files.load(Relaxed);
            self.bound("files", tally, tally.scan.files, listed)?;
            self.locate(files, tally).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Adds files, of which those that are not known are asked about side by side.
    async fn locate(
        &self,
        files: Vec<(HdfsPath, FileStatus)>,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        let mut unknown = Vec::new();
        for (path, status) in files {
            let mut cache = self.cache.lock();
            if status.ec_bit {
                let nowhere = cache.holders().number(BTreeSet::new())?;
                tally.erasure_coded(&status, nowhere);
            } else if let Some(places) = cache.find(&path, version(&status)) {
                self.remembered.fetch_add(1, Relaxed);
                tally.add(status.length, &places);
            } else {
                unknown.push((path, status));
            }
        }
        self.asked.fetch_add(unknown.len() as u64, Relaxed);
        let asked: Vec<_> = unknown
            .iter()
            .map(|(path, status)| self.file(path, status).boxed())
            .collect();
        let mut answers = stream::iter(asked).buffer_unordered(self.settings.concurrency.max(1));
        while let Some(found) = answers.try_next().await? {
            if let Some(found) = found {
                tally.scan.under_construction += u64::from(found.under_construction);
                tally.add(found.length, &found.places);
            } else {
                tally.scan.files -= 1;
            }
        }
        Ok(())
    }

    /// Asks about a file, and keeps the answer if it holds for a while.
    async fn file(&self, path: &HdfsPath, status: &FileStatus) -> Result<Option<Found>, Trouble> {
        let found = self.blocks(path, status).await?;
        if let Some(found) = &found
            && self.complete
            && !found.under_construction
            && found.length == status.length
        {
            let places = found.places.clone();
            self.cache.lock().keep(path, version(status), places);
        }
        Ok(found)
    }

    /// A page of a listing, which goes on after a name; or, of an old server, all that follows.
    async fn page(&self, directory: &HdfsPath, after: Option<&str>) -> Result<Entries, Trouble> {
        let mut question = Question::new(directory, &[ListStatusBatch, ListStatus]);
        question.after = after;
        let reply = self.name_nodes.ask(&question).await?;
        let (mut listed, remaining) = match reply.operation {
            ListStatusBatch => {
                let page = read::<Page>(&reply, directory)?.directory_listing;
                (
                    page.partial_listing.file_statuses.file_status,
                    page.remaining_entries,
                )
            }
            _ => {
                let all = read::<Listing>(&reply, directory)?
                    .file_statuses
                    .file_status;
                let follows =
                    |status: &FileStatus| after.is_none_or(|after| *status.path_suffix > *after);
                (all.into_iter().filter(follows).collect(), 0)
            }
        };
        listed.sort_by(|one, other| one.path_suffix.cmp(&other.path_suffix));
        let goes_on = |first: &FileStatus| after.is_none_or(|after| *first.path_suffix > *after);
        let stuck = match listed.first() {
            Some(first) => !goes_on(first),
            None => remaining > 0,
        };
        if stuck {
            return Err(Trouble::Path(PathError::Stuck {
                path: directory.to_string(),
                after: shortened(after.unwrap_or_default()),
            }));
        }
        let next = listed.last().filter(|_| remaining > 0);
        let next = next.map(|last| last.path_suffix.clone());
        // The name is missing where the path itself is a file.
        let alone = listed.len() == 1 && after.is_none();
        let named = |status: FileStatus| match status.path_suffix.as_str() {
            "" if alone => Ok((directory.clone(), status)),
            name => match directory.child(name) {
                Some(path) => Ok((path, status)),
                None => {
                    let why = format!("\"{}\" is no name of a file", shortened(name));
                    Err(unreadable(&reply, directory, why))
                }
            },
        };
        let entries = listed.into_iter().map(named).collect::<Result<_, _>>()?;
        Ok(Entries { entries, next })
    }

    /// Ends a scan that comes across more than was counted before: so many in all, and `most` of
    /// them below this path.
    fn bound(
        &self,
        what: &'static str,
        tally: &Tally,
        most: u64,
        found: u64,
    ) -> Result<(), ScanError> {
        let allowed = self.settings.max_files;
        if found <= allowed {
            return Ok(());
        }
        Err(ScanError::TooMany {
            what,
            path: tally.scan.path.clone(),
            most,
            found,
            allowed,
        })
    }
}

/// Adds to a sum of what a server says, which may be anything.
pub(crate) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn version(status: &FileStatus) -> Version {
    Version {
        length: status.length,
        modified: status.modification_time,
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, length: u64, places: &Places) {
        add(&mut self.scan.bytes, length);
        add(&mut self.scan.blocks, places.blocks.into());
        for (set, bytes) in places.bytes(length) {
            add(self.bytes.entry(set).or_default(), bytes);
        }
    }

    /// Each block is spread over several DataNodes, with parity on more: none holds it.
    fn erasure_coded(&mut self, status: &FileStatus, nowhere: u32) {
        add(&mut self.scan.bytes, status.length);
        add(&mut self.scan.erasure_coded, status.length);
        let blocks = status.length.div_ceil(status.block_size.max(1));
        add(&mut self.scan.blocks, blocks);
        add(self.bytes.entry(nowhere).or_default(), status.length);
    }

    fn finish(self, holders: &Interner) -> PathScan {
        let bytes = self.bytes.into_iter().filter(|(_, bytes)| *bytes > 0);
        let groups: BTreeMap<_, _> = bytes
            .map(|(set, bytes)| (holders.set(set), bytes))
            .collect();
        let nowhere = groups.get(&BTreeSet::new()).copied().unwrap_or_default();
        PathScan {
            missing: nowhere - self.scan.erasure_coded,
            groups,
            ..self.scan
        }
    }
}
