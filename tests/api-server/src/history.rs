//! How the objects came to be what they are.

use std::collections::BTreeMap;

use serde_json::Value;

/// The version before the first change: a cluster has a past that its API server has forgotten.
const BEGINNING: u64 = 100;

/// All changes of objects, in their order. Each has a version of its own.
#[derive(Default)]
pub(crate) struct History {
    log: Vec<Entry>,
    /// How many changes at the beginning are not told of any more.
    forgotten: usize,
}

/// What became of the object at a path.
struct Entry {
    path: String,
    kind: &'static str,
    object: Value,
}

/// A change of an object.
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl History {
    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        BEGINNING + self.changes() as u64
    }

    /// How many changes there were.
    pub(crate) fn changes(&self) -> usize {
        self.log.len()
    }

    /// Adds a change, by the type that a watch would give it.
    pub(crate) fn push(&mut self, path: &str, kind: &'static str, object: Value) {
        let path = path.to_owned();
        self.log.push(Entry { path, kind, object });
    }

    /// Path of the object that has or had a UID.
    pub(crate) fn path_of(&self, uid: &Value) -> Option<&str> {
        let mut log = self.log.iter();
        let entry = log.find(|entry| entry.object["metadata"]["uid"] == *uid)?;
        Some(&entry.path)
    }

    /// Forgets all changes until now.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.log.len();
    }

    /// Whether it can tell of all changes after a version.
    pub(crate) fn remembers(&self, version: u64) -> bool {
        version >= BEGINNING + self.forgotten as u64
    }

    /// The objects as they were at a version, if that is remembered.
    pub(crate) fn at(&self, version: u64) -> Option<BTreeMap<&str, &Value>> {
        let mut objects = BTreeMap::new();
        let changes = self.remembers(version).then(|| position(version))?;
        for entry in self.log.get(..changes)? {
            match entry.object_after() {
                Some(object) => objects.insert(entry.path.as_str(), object),
                None => objects.remove(entry.path.as_str()),
            };
        }
        Some(objects)
    }

    /// The first change after a version.
    pub(crate) fn change_after(&self, version: u64) -> Option<Change> {
        let (earlier, later) = self.log.split_at_checked(position(version))?;
        let entry = later.first()?;
        let mut earlier = earlier.iter().rev();
        let before = earlier.find(|before| before.path == entry.path);
        Some(Change {
            path: entry.path.clone(),
            before: before.and_then(Entry::object_after).cloned(),
            after: entry.object_after().cloned(),
        })
    }
}

impl Entry {
    fn object_after(&self) -> Option<&Value> {
        (self.kind != "DELETED").then_some(&self.object)
    }
}

/// How many changes led to a version.
fn position(version: u64) -> usize {
    usize::try_from(version.saturating_sub(BEGINNING)).unwrap_or(usize::MAX)
}
