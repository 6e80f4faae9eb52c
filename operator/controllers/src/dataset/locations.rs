use std::sync::Arc;

use futures::Stream;
use jiff::Timestamp;
use outrigger_placement::{DataState, Located};

use super::fingerprint;
use crate::published::Published;

/// Namespace and name of a Dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DatasetKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What is known of a Dataset.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Of the Dataset: another one of the same name has another one.
    pub(crate) uid: String,
    pub(crate) state: DataState,
    /// Hash of where the bytes are, as in its status; `None` until that is known.
    pub(crate) fingerprint: Option<String>,
}

/// Where the bytes of all Datasets are, in memory, for whoever places pods by it. What was found
/// last stays while nothing better is known.
///
/// A Dataset that is absent here does not exist, or was not looked at yet.
#[derive(Default)]
pub(crate) struct Locations(Published<DatasetKey, Known>);

impl Locations {
    /// What is known of a Dataset.
    pub(crate) fn get(&self, key: &DatasetKey) -> Option<Known> {
        self.0.get(key)
    }

    /// Each Dataset known now, then each one of which something else is known than before. That a
    /// scan found the same once more is told to nobody.
    pub(crate) fn changes(&self) -> impl Stream<Item = DatasetKey> + Send + Unpin + use<> {
        self.0.changes()
    }

    /// A Dataset is being looked at for the first time, or its source is another one than before.
    pub(super) fn scanning(&self, key: &DatasetKey, uid: &str, now: Timestamp) {
        self.0.change(key, |known| match known {
            Some(known) if known.uid == uid && is_pending(&known.state) => None,
            _ => Some(Known {
                uid: uid.to_owned(),
                state: DataState::NotScannedYet { since: now },
                fingerprint: None,
            }),
        });
    }

    /// It was found out where the bytes of a Dataset are.
    pub(super) fn located(
        &self,
        key: &DatasetKey,
        uid: &str,
        located: &Arc<Located>,
        at: Timestamp,
    ) {
        let fingerprint = fingerprint::of(located);
        self.0.change(key, |_| {
            Some(Known {
                uid: uid.to_owned(),
                state: DataState::Located {
                    located: Arc::clone(located),
                    as_of: at,
                },
                fingerprint: Some(fingerprint),
            })
        });
    }

    /// A Dataset cannot be looked at now. `last_known` is what was found before, as far as it is
    /// still so.
    pub(super) fn failed(
        &self,
        key: &DatasetKey,
        uid: &str,
        reason: &str,
        last_known: Option<&Arc<Located>>,
    ) {
        let fingerprint = last_known.map(|located| fingerprint::of(located));
        self.0.change(key, |_| {
            Some(Known {
                uid: uid.to_owned(),
                state: DataState::Failed {
                    reason: reason.to_owned(),
                    last_known: last_known.cloned(),
                },
                fingerprint,
            })
        });
    }

    /// A Dataset is gone.
    pub(super) fn forget(&self, key: &DatasetKey) {
        self.0.forget(key);
    }
}

fn is_pending(state: &DataState) -> bool {
    matches!(state, DataState::NotScannedYet { .. })
}

/// Equal if both mean the same to whoever places pods by them.
impl PartialEq for Known {
    fn eq(&self, other: &Known) -> bool {
        let reason = |known: &Known| match &known.state {
            DataState::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.uid == other.uid
            && std::mem::discriminant(&self.state) == std::mem::discriminant(&other.state)
            && reason(self) == reason(other)
            && self.fingerprint == other.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use futures::{FutureExt, StreamExt};
    use outrigger_placement::Part;

    use super::*;

    const AT: Timestamp = Timestamp::constant(1_000, 0);
    const LATER: Timestamp = Timestamp::constant(2_000, 0);

    fn key() -> DatasetKey {
        DatasetKey {
            namespace: "risk".into(),
            name: "market".into(),
        }
    }

    fn on(node: &str) -> Arc<Located> {
        let holders = BTreeSet::from([node.to_owned()]);
        Arc::new(Located {
            parts: vec![Part {
                name: "/market".into(),
                bytes: 7,
                groups: BTreeMap::from([(holders, 7)]),
            }],
        })
    }

    #[test]
    fn only_what_is_new_is_told() {
        let locations = Locations::default();
        let mut changes = locations.changes();
        let mut told = move || {
            let mut count = 0;
            while changes.next().now_or_never().flatten().is_some() {
                count += 1;
            }
            count
        };
        locations.scanning(&key(), "u", AT);
        assert_eq!(told(), 1);
        locations.scanning(&key(), "u", LATER);
        assert_eq!(told(), 0);
        locations.located(&key(), "u", &on("a"), AT);
        assert_eq!(told(), 1);
        locations.located(&key(), "u", &on("a"), LATER);
        assert_eq!(told(), 0);
        locations.located(&key(), "u", &on("b"), LATER);
        assert_eq!(told(), 1);
        locations.failed(&key(), "u", "away", Some(&on("b")));
        assert_eq!(told(), 1);
        locations.failed(&key(), "u", "away", Some(&on("b")));
        assert_eq!(told(), 0);
        locations.located(&key(), "another", &on("b"), LATER);
        assert_eq!(told(), 1);
        locations.forget(&key());
        assert_eq!(told(), 1);
        locations.forget(&key());
        assert_eq!(told(), 0);
    }

    #[test]
    fn whoever_comes_later_is_told_of_what_is_known() {
        let locations = Locations::default();
        locations.located(&key(), "u", &on("a"), AT);
        let first = locations.changes().next().now_or_never().flatten();
        assert_eq!(first, Some(key()));
    }

    #[test]
    fn the_first_look_has_begun_when_it_began_first() {
        let locations = Locations::default();
        let since = || match locations.get(&key()).unwrap().state {
            DataState::NotScannedYet { since } => Some(since),
            _ => None,
        };
        locations.scanning(&key(), "u", AT);
        locations.scanning(&key(), "u", LATER);
        assert_eq!(since(), Some(AT));
        locations.scanning(&key(), "another", LATER);
        assert_eq!(since(), Some(LATER));
        locations.located(&key(), "another", &on("a"), AT);
        assert_eq!(since(), None);
        locations.scanning(&key(), "another", LATER);
        assert_eq!(since(), Some(LATER));
    }
}
