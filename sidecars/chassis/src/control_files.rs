//! The files through which the operator speaks to a slot: the order, the documents, the Secrets.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use outrigger_control::{Order, layout};
use rustix::io::Errno;

use crate::settings::Directories;
use crate::tenancy::{self, Addresses};

/// Between two looks where the kernel tells of no changes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Watches and reads the control files.
///
/// kubelet replaces the files of a volume in one step, by a link named `..data`; other writers may
/// not, so a file that cannot be read is simply tried again at the next change.
pub(crate) struct ControlFiles {
    control: PathBuf,
    secrets: PathBuf,
    /// `None` if the kernel has no watch left for us: all pods of a node whose slots run as one
    /// user share `fs.inotify.max_user_instances`, which is often 128.
    events: Option<EventStream<[u8; 4096]>>,
}

/// The order file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderFile {
    Absent,
    /// Why it is not an order.
    Unreadable(String),
    Order(Box<Order>),
}

impl ControlFiles {
    /// Starts to watch. Changes from now on are reported by [`ControlFiles::changed`].
    pub(crate) fn watch(directories: &Directories) -> io::Result<ControlFiles> {
        let mut files = ControlFiles {
            control: directories.control.clone(),
            secrets: directories.secrets.clone(),
            events: None,
        };
        match files.watch_control() {
            Ok(events) => {
                files.events = Some(events);
                files.watch_secrets();
            }
            Err(error) if is_shortage(&error) => tracing::warn!(
                %error,
                "The node has no file watches left; control files are looked at every second"
            ),
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!(
                        "control directory {} cannot be watched: {error}",
                        files.control.display()
                    ),
                ));
            }
        }
        Ok(files)
    }

    fn watch_control(&self) -> io::Result<EventStream<[u8; 4096]>> {
        let events = Inotify::init()?.into_event_stream([0; 4096])?;
        add(&events, &self.control)?;
        Ok(events)
    }

    /// A sidecar without Secrets has no such directory.
    fn watch_secrets(&self) {
        let Some(events) = &self.events else { return };
        if add(events, &self.secrets).is_err() {
            return;
        }
        for secret in folders(&self.secrets) {
            if let Err(error) = add(events, &secret) {
                tracing::warn!(secret = %secret.display(), %error, "Secret could not be watched");
            }
        }
    }

    /// Waits until something has changed since the last call, or may have.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        let Some(events) = &mut self.events else {
            tokio::time::sleep(LOOK_AGAIN).await;
            self.events = self.watch_control().ok();
            self.watch_secrets();
            return Ok(());
        };
        match events.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.watch_secrets();
        Ok(())
    }

    /// Reads the order.
    pub(crate) fn order(&self) -> OrderFile {
        match std::fs::read_to_string(self.control.join(layout::ORDER_FILE)) {
            // The file of an annotation that is not there yet is empty.
            Ok(text) if text.trim().is_empty() => OrderFile::Absent,
            Ok(text) => match Order::parse(&text) {
                Ok(order) => OrderFile::Order(Box::new(order)),
                Err(error) => OrderFile::Unreadable(error.to_string()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => OrderFile::Absent,
            Err(error) => OrderFile::Unreadable(format!("order cannot be read: {error}")),
        }
    }

    /// Reads a document; `None` while it has not arrived.
    pub(crate) fn document(&self, hash: &str) -> io::Result<Option<String>> {
        read_document(&self.control, hash)
    }

    /// Reads who calls from where; `None` in a pod of one application, and while it is not known.
    pub(crate) fn tenants(&self) -> Option<Result<Addresses, String>> {
        match std::fs::read_to_string(self.control.join(layout::TENANTS_FILE)) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(tenancy::read_addresses(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(format!("it cannot be read: {error}"))),
        }
    }

    /// A number that changes when a Secret does.
    pub(crate) fn secrets_fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for secret in folders(&self.secrets) {
            secret.hash(&mut hasher);
            for key in entries(&secret) {
                key.hash(&mut hasher);
                std::fs::read(&key).ok().hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

fn add(events: &EventStream<[u8; 4096]>, directory: &Path) -> io::Result<()> {
    let mask = WatchMask::CREATE
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_TO
        | WatchMask::DELETE
        | WatchMask::ONLYDIR;
    events.watches().add(directory, mask).map(drop)
}

/// Whether a watch cannot be had because others have too many.
fn is_shortage(error: &io::Error) -> bool {
    // MFILE stands for the user's inotify instances, NOSPC for the user's watches.
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

/// Reads the document of a hash from the control directory; `None` if it is not there.
pub(crate) fn read_document(control: &Path, hash: &str) -> io::Result<Option<String>> {
    match std::fs::read_to_string(control.join(layout::document_file(hash))) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a directory holds, sorted, without kubelet's own entries.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with(".."))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn folders(directory: &Path) -> Vec<PathBuf> {
    let mut found = entries(directory);
    found.retain(|path| path.is_dir());
    found
}

#[cfg(test)]
mod tests {
    use outrigger_control::{PerSlot, Phase, Slot};

    use super::*;

    fn directories(root: &Path) -> Directories {
        let directories = Directories {
            control: root.join("control"),
            secrets: root.join("secrets"),
            shared: root.join("shared"),
        };
        std::fs::create_dir(&directories.control).unwrap();
        directories
    }

    fn order() -> Order {
        Order {
            v: Order::VERSION,
            term: 1,
            active: Slot::A,
            config: PerSlot::both("00ff".into()),
            revision: PerSlot::both("orders-1".into()),
            admin: PerSlot { a: 15020, b: 15021 },
            phase: Phase::Rest,
            since: "2026-01-01T00:00:00Z".into(),
            single: false,
            replaced: None,
            notes: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_torn_order_is_unreadable_until_it_is_whole() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        let mut files = ControlFiles::watch(&directories).unwrap();
        assert_eq!(files.order(), OrderFile::Absent);
        let text = order().to_json().unwrap();
        let path = directories.control.join(layout::ORDER_FILE);
        std::fs::write(&path, &text[..20]).unwrap();
        files.changed().await.unwrap();
        assert!(matches!(files.order(), OrderFile::Unreadable(_)));
        std::fs::write(&path, &text).unwrap();
        while files.order() != OrderFile::Order(Box::new(order())) {
            files.changed().await.unwrap();
        }
    }

    #[tokio::test]
    async fn kubelets_replacement_of_a_volume_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        let control = &directories.control;
        let publish = |version: &str, text: &str| {
            std::fs::create_dir(control.join(version)).unwrap();
            std::fs::write(control.join(version).join("00ff.json"), text).unwrap();
            std::os::unix::fs::symlink(version, control.join("..data_tmp")).unwrap();
            std::fs::rename(control.join("..data_tmp"), control.join("..data")).unwrap();
        };
        publish("..1", "one");
        std::os::unix::fs::symlink("..data/00ff.json", control.join("00ff.json")).unwrap();
        let mut files = ControlFiles::watch(&directories).unwrap();
        assert_eq!(files.document("00ff").unwrap().as_deref(), Some("one"));
        assert_eq!(files.document("11ee").unwrap(), None);
        publish("..2", "two");
        while files.document("00ff").unwrap().as_deref() != Some("two") {
            files.changed().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_follows_its_orders_where_the_node_has_no_watches_left() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        assert!(is_shortage(&Errno::MFILE.into()));
        assert!(!is_shortage(&Errno::NOENT.into()));
        let mut files = ControlFiles {
            events: None,
            ..ControlFiles::watch(&directories).unwrap()
        };
        let path = directories.control.join(layout::ORDER_FILE);
        std::fs::write(path, order().to_json().unwrap()).unwrap();
        files.changed().await.unwrap();
        assert_eq!(files.order(), OrderFile::Order(Box::new(order())));
    }

    #[tokio::test]
    async fn a_rotated_secret_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        let secret = directories.secrets.join("database");
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::write(secret.join("password"), "old").unwrap();
        let mut files = ControlFiles::watch(&directories).unwrap();
        let before = files.secrets_fingerprint();
        std::fs::write(secret.join("password"), "new").unwrap();
        while files.secrets_fingerprint() == before {
            files.changed().await.unwrap();
        }
    }
}
