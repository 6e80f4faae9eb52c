//! Which requests were acted upon: their ids, 8 bytes each, appended to a file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Name of the ledger in the directory that both slots share.
pub const FILE: &str = "requests.ledger";
/// Name of a second one beside it, of the numbers that requests got one after the other.
pub const NUMBERS: &str = "numbers.ledger";

/// An open ledger. Several processes may append to one file.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens a ledger, or begins one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path) -> io::Result<Ledger> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Ledger(file))
    }

    /// Appends an id in one write, which the kernel does not mix with those of others.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn append(&self, id: u64) -> io::Result<()> {
        (&self.0).write_all(&id.to_le_bytes())
    }
}

/// The ids in a ledger's content; bytes of an unfinished one at its end are left out.
pub fn ids(content: &[u8]) -> Vec<u64> {
    let (whole, _) = content.as_chunks();
    whole.iter().map(|id| u64::from_le_bytes(*id)).collect()
}

/// What answers and ledger say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Requests that were answered, and not acted upon.
    pub lost: u64,
    /// Requests that were acted upon more than once.
    pub duplicated: u64,
    /// Requests without an answer that were acted upon: the client cannot know.
    pub unknown: u64,
}

impl Verdict {
    /// Compares the requests `first..end` of a run, all answered but the `failed` ones, with the ids
    /// of a ledger, which may hold other runs' too.
    pub fn of(first: u64, end: u64, failed: &[u64], ledger: &[u64]) -> Verdict {
        let mut times: HashMap<u64, u64> = HashMap::new();
        for id in ledger {
            *times.entry(*id).or_default() += 1;
        }
        let mut verdict = Verdict::default();
        for id in first..end {
            let times = times.get(&id).copied().unwrap_or_default();
            let answered = !failed.contains(&id);
            verdict.lost += u64::from(answered && times == 0);
            verdict.duplicated += u64::from(times > 1);
            verdict.unknown += u64::from(!answered && times > 0);
        }
        verdict
    }

    /// What a ledger of numbers says: so many requests were to get those from 1 on, each one.
    pub fn of_numbers(requests: u64, numbers: &[u64]) -> Verdict {
        Verdict::of(1, requests + 1, &[], numbers)
    }

    /// Both together.
    pub fn and(self, other: Verdict) -> Verdict {
        Verdict {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            unknown: self.unknown + other.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn two_processes_append_to_one_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (first, second) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        for id in 0..100 {
            let ledger = if id % 2 == 0 { &first } else { &second };
            ledger.append(id).unwrap();
        }
        let mut content = std::fs::read(&path).unwrap();
        content.push(1);
        assert_eq!(ids(&content), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn each_request_is_judged_by_its_own_id() {
        // 10 and 15 are of other runs; 11 is lost, 12 done twice, 13 failed and done, 14 failed.
        let verdict = Verdict::of(11, 15, &[13, 14], &[10, 10, 12, 12, 13, 15]);
        let expected = Verdict {
            lost: 1,
            duplicated: 1,
            unknown: 1,
        };
        assert_eq!(verdict, expected);
    }
}
