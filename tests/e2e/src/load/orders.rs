//! The orders, and what must be true of their answers and of the database.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

/// Every fourth order repeats the key of an earlier one.
const REPEATED: u64 = 4;
/// How many orders before: the first two are under way at the same time as their first, the others
/// come when it has long been stored, by another image perhaps.
const DISTANCES: [u64; 5] = [1, 2, 60, 1_500, 9_000];

/// The orders of one run.
#[derive(Clone, Debug)]
pub struct Orders {
    run: String,
}

/// What was answered to an order that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The order's number.
    pub number: u64,
    /// The number of its key.
    pub key: u64,
    /// Whether it said that the order was stored before.
    pub duplicate: bool,
    /// The index of the stored order.
    pub index: i64,
    /// The number of the stored order.
    pub stored: u64,
}

#[derive(Deserialize)]
struct Stored {
    index: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    index: i64,
    order: Order,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    number: u64,
}

impl Orders {
    /// Orders whose keys begin with `run`, which tells them apart from those of other runs.
    pub fn new(run: impl Into<String>) -> Orders {
        Orders { run: run.into() }
    }

    /// The number of an order's key: its own, or that of an earlier order.
    pub fn key(number: u64) -> u64 {
        if number % REPEATED != REPEATED - 1 {
            return number;
        }
        let distance = DISTANCES[(number / REPEATED) as usize % DISTANCES.len()];
        let distance = if distance < number { distance } else { 1 };
        let earlier = number - distance;
        // An order with a key of its own.
        earlier - u64::from(earlier % REPEATED == REPEATED - 1)
    }

    /// The key of the orders' documents.
    pub fn id(&self, key: u64) -> String {
        format!("{}-{key}", self.run)
    }

    /// The number of a document's key, if it is one of this run.
    pub fn key_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
    }

    /// An SQL pattern of all keys.
    pub fn id_pattern(&self) -> String {
        format!("{}-%", self.run)
    }

    /// The document of an order; no two are equal.
    pub fn body(&self, number: u64) -> Bytes {
        let id = self.id(Self::key(number));
        json!({"orderId": id, "number": number, "items": ["tea", "milk"]})
            .to_string()
            .into()
    }

    /// Reads the application's answer to an order.
    ///
    /// # Errors
    /// When it does not tell of a stored order with that key.
    pub fn read(&self, number: u64, status: StatusCode, body: &[u8]) -> Result<Answer, String> {
        let unusable = || format!("{status}: {}", String::from_utf8_lossy(body).trim());
        let key = Self::key(number);
        let answer = |duplicate, index, stored| Answer {
            number,
            key,
            duplicate,
            index,
            stored,
        };
        match status {
            StatusCode::CREATED => serde_json::from_slice(body)
                .map(|Stored { index }| answer(false, index, number))
                .map_err(|_| unusable()),
            StatusCode::OK => match serde_json::from_slice(body) {
                Ok(Known { index, order }) if order.order_id == self.id(key) => {
                    Ok(answer(true, index, order.number))
                }
                _ => Err(unusable()),
            },
            _ => Err(unusable()),
        }
    }
}

/// What the answers and the database say of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Rows with keys of this run.
    pub rows: u64,
    /// Keys that were said to be stored and have no row, or the row of another order.
    pub lost: u64,
    /// Keys with more than one row, or that were said to be new more than once.
    pub duplicated: u64,
    /// Answers "stored before" that show something else than what is stored.
    pub wrong_conflicts: u64,
}

/// A stored order: number of its key, index, number.
pub type Row = (u64, i64, u64);

/// Compares answers with the rows of the database.
pub fn verify(answers: &[Answer], rows: &[Row]) -> Verdict {
    let mut stored: HashMap<u64, Vec<(i64, u64)>> = HashMap::new();
    for (key, index, number) in rows {
        stored.entry(*key).or_default().push((*index, *number));
    }
    let mut by_key: HashMap<u64, Vec<&Answer>> = HashMap::new();
    for answer in answers {
        by_key.entry(answer.key).or_default().push(answer);
    }
    let mut verdict = Verdict {
        rows: rows.len() as u64,
        ..Verdict::default()
    };
    for (key, answers) in &by_key {
        let rows = stored.get(key).map(Vec::as_slice).unwrap_or_default();
        let is_stored = |answer: &Answer| rows.contains(&(answer.index, answer.stored));
        let new: Vec<_> = answers.iter().filter(|answer| !answer.duplicate).collect();
        let repeated = answers.iter().filter(|answer| answer.duplicate);
        let is_lost = rows.is_empty() || new.iter().any(|answer| !is_stored(answer));
        verdict.lost += u64::from(is_lost);
        verdict.duplicated += u64::from(rows.len() > 1 || new.len() > 1);
        verdict.wrong_conflicts += repeated.filter(|answer| !is_stored(answer)).count() as u64;
    }
    let unanswered = stored.iter().filter(|(key, _)| !by_key.contains_key(key));
    verdict.duplicated += unanswered.filter(|(_, rows)| rows.len() > 1).count() as u64;
    verdict
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_repeated_key_is_that_of_an_earlier_order() {
        let mut keys = HashSet::new();
        for number in 0..40_000 {
            let key = Orders::key(number);
            let is_new = keys.insert(key);
            assert_eq!(is_new, key == number, "order {number} has key {key}");
        }
    }

    fn new(number: u64, index: i64) -> Answer {
        Answer {
            number,
            key: number,
            duplicate: false,
            index,
            stored: number,
        }
    }

    fn repeated(number: u64, key: u64, index: i64, stored: u64) -> Answer {
        Answer {
            number,
            key,
            duplicate: true,
            index,
            stored,
        }
    }

    #[test]
    fn answers_that_agree_with_the_rows_are_right() {
        let answers = [new(0, 10), repeated(3, 0, 10, 0), new(1, 11)];
        let verdict = verify(&answers, &[(0, 10, 0), (1, 11, 1)]);
        let right = Verdict {
            rows: 2,
            ..Verdict::default()
        };
        assert_eq!(verdict, right);
    }

    #[test]
    fn a_repetition_that_came_first_is_as_good() {
        let answers = [
            Answer {
                key: 2,
                ..new(3, 10)
            },
            repeated(2, 2, 10, 3),
        ];
        let verdict = verify(&answers, &[(2, 10, 3)]);
        assert_eq!((verdict.lost, verdict.wrong_conflicts), (0, 0));
    }

    #[test]
    fn a_row_that_is_missing_or_of_another_order_is_a_loss() {
        assert_eq!(verify(&[new(0, 10)], &[]).lost, 1);
        assert_eq!(verify(&[new(0, 10)], &[(0, 10, 7)]).lost, 1);
        assert_eq!(verify(&[new(0, 10)], &[(0, 12, 0)]).lost, 1);
        assert_eq!(verify(&[repeated(3, 0, 10, 0)], &[]).lost, 1);
    }

    #[test]
    fn two_rows_or_two_answers_new_are_a_duplicate() {
        let rows = [(0, 10, 0), (0, 11, 3)];
        assert_eq!(verify(&[new(0, 10)], &rows).duplicated, 1);
        assert_eq!(verify(&[], &rows).duplicated, 1);
        let twice = [
            new(0, 10),
            Answer {
                key: 0,
                ..new(3, 11)
            },
        ];
        assert_eq!(verify(&twice, &[(0, 10, 0)]).duplicated, 1);
    }

    #[test]
    fn a_conflict_that_shows_something_else_is_wrong() {
        let answers = [
            new(0, 10),
            repeated(3, 0, 10, 3),
            repeated(7, 0, 11, 0),
            repeated(11, 0, 10, 0),
        ];
        assert_eq!(verify(&answers, &[(0, 10, 0)]).wrong_conflicts, 2);
    }

    #[test]
    fn answers_that_tell_of_no_stored_order_are_failures() {
        let orders = Orders::new("run");
        let read = |status: u16, body: &str| {
            orders.read(3, StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let known =
            r#"{"index": 5, "duplicate": true, "order": {"orderId": "run-2", "number": 2}}"#;
        assert_eq!(
            read(201, r#"{"index": 5}"#),
            Ok(Answer {
                key: 2,
                ..new(3, 5)
            })
        );
        assert_eq!(read(200, known), Ok(repeated(3, 2, 5, 2)));
        assert!(read(200, &known.replace("run-2", "run-1")).is_err());
        assert!(read(200, r#"{"index": 5}"#).is_err());
        assert!(read(201, "{}").is_err());
        assert!(read(502, known).is_err());
    }
}
