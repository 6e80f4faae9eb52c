//! What was found out about files, so that it need not be asked again.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::data_node::{DataNodeId, Holders};
use crate::error::ScanError;
use crate::path::HdfsPath;

/// For how long a file with too few or too many copies is believed at first: HDFS makes and removes
/// them without any other sign. Each time that it is found so again doubles it.
const UNSETTLED_AGE: Duration = Duration::from_secs(30);

/// Most sets of holders of a scan. A set takes about 300 bytes here, and more once its DataNodes
/// are told as nodes.
const MOST_SETS: usize = 200_000;

/// Where the blocks of files are.
///
/// A file takes 56 bytes in the table; one whose blocks have different holders takes 16 more for
/// each set of them. Its path is not kept, only a hash of it, and a set of holders is kept once.
/// The hash has a random key, and length and time must match too: no file passes for another.
#[derive(Debug)]
pub(crate) struct Cache {
    files: HashMap<u64, Known>,
    holders: Interner,
    hasher: RandomState,
    began: Instant,
    age: Duration,
    scan: u32,
    /// The DataNodes whose copies counted for what is kept, if it was known.
    counting: Option<BTreeSet<DataNodeId>>,
}

/// What tells that a file has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// In bytes.
    pub(crate) length: u64,
    /// In milliseconds.
    pub(crate) modified: u64,
}

/// Where the blocks of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) blocks: u32,
    /// How many times in a row some block had fewer or more copies than it is to have.
    pub(crate) unsettled: u8,
    pub(crate) bytes: Bytes,
}

/// Bytes by the number of a set of holders. Most files have one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// All bytes of the file.
    All(u32),
    /// Some here, some there; or there are none.
    Some(Box<[(u32, u64)]>),
}

impl Default for Bytes {
    /// None.
    fn default() -> Bytes {
        Bytes::Some(Box::default())
    }
}

#[derive(Debug)]
struct Known {
    version: Version,
    /// Seconds since the cache began.
    asked: u32,
    /// The scan that came across it last.
    seen: u32,
    places: Places,
}

/// Sets of holders by number.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    sets: Vec<Holders>,
    numbers: HashMap<Holders, u32>,
}

// === impl Cache ===

impl Cache {
    /// Empty. `age` is how long locations are believed at most.
    pub(crate) fn new(age: Duration) -> Cache {
        Cache {
            files: HashMap::new(),
            holders: Interner::default(),
            hasher: RandomState::new(),
            began: Instant::now(),
            age,
            scan: 0,
            counting: None,
        }
    }

    /// Begins a scan, with the DataNodes whose copies count now, if that is known. Forgets files
    /// that had a copy on a DataNode that counts no more, since its blocks are copied elsewhere; and
    /// if another one counts, files with too few or too many copies.
    pub(crate) fn begin(&mut self, counting: Option<BTreeSet<DataNodeId>>) {
        self.scan = self.scan.wrapping_add(1);
        match (&self.counting, &counting) {
            (before, now) if before == now => {}
            (Some(before), Some(now)) => {
                let lost: BTreeSet<_> = before.difference(now).collect();
                let gained = now.difference(before).next().is_some();
                let sets = self.holders.sets.iter();
                let gone: Vec<bool> = sets
                    .map(|set| set.iter().any(|holder| lost.contains(holder)))
                    .collect();
                let affected = |set: &u32| gone.get(*set as usize).is_none_or(|gone| *gone);
                self.files.retain(|_, known| {
                    let waits = gained && known.places.unsettled > 0;
                    !waits && !known.places.sets().any(|set| affected(&set))
                });
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => self.files.clear(),
        }
        self.counting = counting;
        // Scans that do not come across all files leave sets behind that nothing has any more.
        if self.holders.sets.len() > MOST_SETS / 2 {
            self.forget_sets();
        }
    }

    /// What is known of a file, if it has not changed and was asked about recently.
    pub(crate) fn find(&mut self, path: &HdfsPath, version: Version) -> Option<Places> {
        let hash = self.hasher.hash_one(path.as_str());
        let known = self.files.get_mut(&hash)?;
        // Between half of the age and all of it: what was asked at one time is not asked again at
        // one time.
        let share = 0.5 + (hash >> 32) as f64 / f64::from(u32::MAX) / 2.0;
        let age = self.began.elapsed() - Duration::from_secs(known.asked.into());
        let limit = match u32::from(known.places.unsettled).checked_sub(1) {
            Some(doublings) => UNSETTLED_AGE
                .saturating_mul(1 << doublings.min(31))
                .min(self.age),
            None => self.age,
        };
        if known.version != version || age >= limit.mul_f64(share) {
            return None;
        }
        known.seen = self.scan;
        Some(known.places.clone())
    }

    /// Keeps what was found out about a file.
    pub(crate) fn keep(&mut self, path: &HdfsPath, version: Version, mut places: Places) {
        let hash = self.hasher.hash_one(path.as_str());
        if places.unsettled > 0 {
            let before = self
                .files
                .get(&hash)
                .filter(|known| known.version == version);
            let before = before.map_or(0, |known| known.places.unsettled);
            places.unsettled = before.saturating_add(1);
        }
        let asked = self.began.elapsed().as_secs();
        let known = Known {
            version,
            asked: u32::try_from(asked).unwrap_or(u32::MAX),
            seen: self.scan,
            places,
        };
        self.files.insert(hash, known);
    }

    /// Ends a scan that came across all files: the others are gone.
    pub(crate) fn sweep(&mut self) {
        let scan = self.scan;
        self.files.retain(|_, known| known.seen == scan);
        if self.files.capacity() / 4 > self.files.len() {
            self.files.shrink_to_fit();
        }
        self.forget_sets();
    }

    /// Forgets sets that no file has, if they are many.
    fn forget_sets(&mut self) {
        let mut used = vec![false; self.holders.sets.len()];
        for set in self.files.values().flat_map(|known| known.places.sets()) {
            if let Some(used) = used.get_mut(set as usize) {
                *used = true;
            }
        }
        let wanted = used.iter().filter(|used| **used).count();
        if used.len() / 2 > wanted || used.len() > MOST_SETS / 2 {
            let numbers = self.holders.keep(&used);
            let number = |set: u32| numbers.get(set as usize).copied().unwrap_or_default();
            for known in self.files.values_mut() {
                known.places.renumber(number);
            }
        }
    }

    /// Files that are kept.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The sets of holders.
    pub(crate) fn holders(&mut self) -> &mut Interner {
        &mut self.holders
    }
}

// === impl Places ===

impl Places {
    /// Bytes by the number of a set of holders, of a file of a length.
    pub(crate) fn bytes(&self, length: u64) -> impl Iterator<Item = (u32, u64)> {
        let (one, some) = match &self.bytes {
            Bytes::All(set) => (Some((*set, length)), &[][..]),
            Bytes::Some(some) => (None, &some[..]),
        };
        one.into_iter().chain(some.iter().copied())
    }

    fn sets(&self) -> impl Iterator<Item = u32> {
        self.bytes(0).map(|(set, _)| set)
    }

    fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        match &mut self.bytes {
            Bytes::All(set) => *set = number(*set),
            Bytes::Some(some) => some.iter_mut().for_each(|(set, _)| *set = number(*set)),
        }
    }
}

// === impl Interner ===

impl Interner {
    /// The number of a set, unless it is one more than may be remembered.
    pub(crate) fn number(&mut self, set: BTreeSet<DataNodeId>) -> Result<u32, ScanError> {
        if let Some(number) = self.numbers.get(&set) {
            return Ok(*number);
        }
        if self.sets.len() >= MOST_SETS {
            return Err(ScanError::TooVaried {
                what: "sets of DataNodes that hold a block",
                allowed: MOST_SETS,
            });
        }
        Ok(self.add(Arc::new(set)))
    }

    fn add(&mut self, set: Holders) -> u32 {
        let number = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        number
    }

    /// The set of a number that was given.
    pub(crate) fn set(&self, number: u32) -> Holders {
        self.sets.get(number as usize).cloned().unwrap_or_default()
    }

    /// Keeps some, and gives the new numbers by the old ones.
    fn keep(&mut self, wanted: &[bool]) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(wanted.len());
        let mut kept = Interner::default();
        for (set, wanted) in self.sets.iter().zip(wanted) {
            numbers.push(u32::try_from(kept.sets.len()).unwrap_or(u32::MAX));
            if *wanted {
                kept.add(set.clone());
            }
        }
        *self = kept;
        numbers
    }
}

#[cfg(test)]
mod tests;
