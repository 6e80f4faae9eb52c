//! Who is to be active: decisions without effects.

use outrigger_control::{MAX_TERM_STEP, Order, Pair, Slot};

use crate::handover::{Hello, PROTOCOL, Ready};
use crate::limits::OWN_FILES;
use crate::ownership::Record;

/// What an order means for a pod with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It acted before, or never will.
    History,
    /// It is to act.
    Obey,
    /// It is too far ahead.
    Refuse(String),
}

/// Judges a term: an order acts once, when its term is higher than the recorded one, and not by
/// too much. A pod without a record has no history.
pub(crate) fn judge(term: u64, record: Option<Record>) -> Verdict {
    let Some(record) = record else {
        return Verdict::Obey;
    };
    let recorded = record.pair.term;
    if term <= recorded {
        Verdict::History
    } else if term - recorded > MAX_TERM_STEP {
        Verdict::Refuse(format!(
            "order has term {term}; the recorded term is {recorded}, and a step is at most {MAX_TERM_STEP}"
        ))
    } else {
        Verdict::Obey
    }
}

/// The order's term, if it is to act.
fn acting(order: Option<&Order>, record: Option<Record>) -> Option<&Order> {
    order.filter(|order| judge(order.term, record) == Verdict::Obey)
}

/// Whether a slot is the one that should own the listeners while nobody does. The other slot
/// leaves it some time.
pub(crate) fn is_first_choice(order: Option<&Order>, record: Option<Record>, slot: Slot) -> bool {
    let first = match (acting(order, record), record) {
        (Some(order), _) => order.active,
        (None, Some(record)) => record.active,
        (None, None) => Slot::A,
    };
    first == slot
}

/// The record of a slot that takes the free owner lock.
pub(crate) fn claimed(order: Option<&Order>, record: Option<Record>, slot: Slot) -> Record {
    match acting(order, record) {
        Some(order) if order.active == slot => Record::ordered(order.term, slot),
        _ => Record::taken_over(record, slot),
    }
}

/// The new record of an owner that an order confirms.
pub(crate) fn confirmed(order: Option<&Order>, record: Record, slot: Slot) -> Option<Record> {
    let order = acting(order, Some(record))?;
    (order.active == slot).then(|| Record::ordered(order.term, slot))
}

/// The order by which a standby is to become active, if there is one and the standby has what
/// the order gives it to use.
pub(crate) fn calls<'a>(
    order: Option<&'a Order>,
    record: Option<Record>,
    slot: Slot,
    configuration: Option<&str>,
) -> Option<&'a Order> {
    let order = acting(order, record)?;
    let configured = configuration == Some(order.config.of(slot).as_str());
    (order.active == slot && configured).then_some(order)
}

/// Whether an owner may admit a standby; otherwise why not.
pub(crate) fn may_follow(hello: &Hello, slot: Slot) -> Result<(), String> {
    if hello.protocol != PROTOCOL {
        return Err(format!(
            "slot {} speaks protocol {}; allowed is {PROTOCOL}",
            hello.slot, hello.protocol
        ));
    }
    if hello.slot == slot {
        return Err(format!(
            "a standby says that it is slot {slot}, as its owner is"
        ));
    }
    Ok(())
}

/// The record after a handover that a standby asks for, or why there is to be none.
pub(crate) fn may_give(
    ready: &Ready,
    record: Record,
    leaving: bool,
    connections: u64,
) -> Result<(), String> {
    match ready.term.map(|term| (term, judge(term, Some(record)))) {
        Some((_, Verdict::Obey)) => {}
        Some((term, Verdict::History)) => {
            return Err(format!(
                "term {term} acted before; the recorded pair is {}",
                record.pair
            ));
        }
        Some((_, Verdict::Refuse(reason))) => return Err(reason),
        None if leaving => {}
        None => return Err("the owner does not leave, and there is no order".to_owned()),
    }
    let needed = connections.saturating_add(OWN_FILES);
    if needed > ready.files {
        return Err(format!(
            "{connections} connections need {needed} descriptors; the other slot may open {}",
            ready.files
        ));
    }
    Ok(())
}

/// The record of a standby whose request was granted.
pub(crate) fn granted(ready: &Ready, record: Option<Record>, slot: Slot) -> Record {
    match ready.term {
        Some(term) => Record::ordered(term, slot),
        None => Record::taken_over(record, slot),
    }
}

/// Shows that a pair is that of a pod without an owner yet.
pub(crate) fn pair(record: Option<Record>) -> Pair {
    record.map(|record| record.pair).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use outrigger_control::{PerSlot, Phase};

    use super::*;

    fn order(term: u64, active: Slot) -> Order {
        Order {
            v: Order::VERSION,
            term,
            active,
            config: PerSlot {
                a: "aa".into(),
                b: "bb".into(),
            },
            revision: PerSlot::both("orders-1".into()),
            admin: PerSlot { a: 15020, b: 15021 },
            phase: Phase::Rest,
            since: "2026-01-01T00:00:00Z".into(),
            single: false,
            replaced: None,
            notes: Default::default(),
        }
    }

    fn record(term: u64, takeover: u64, active: Slot) -> Record {
        Record {
            pair: Pair { term, takeover },
            active,
        }
    }

    fn ready(term: Option<u64>) -> Ready {
        Ready {
            term,
            files: OWN_FILES + 10,
        }
    }

    #[test]
    fn an_order_acts_once_and_not_from_too_far_ahead() {
        let recorded = Some(record(3, 2, Slot::A));
        assert_eq!(judge(2, recorded), Verdict::History);
        assert_eq!(judge(3, recorded), Verdict::History);
        assert_eq!(judge(4, recorded), Verdict::Obey);
        assert_eq!(judge(1_003, recorded), Verdict::Obey);
        assert_eq!(
            judge(1_004, recorded),
            Verdict::Refuse(
                "order has term 1004; the recorded term is 3, and a step is at most 1000".into()
            )
        );
        assert_eq!(judge(5_000, None), Verdict::Obey);
    }

    #[test]
    fn the_slot_that_an_unfulfilled_order_names_has_the_first_choice() {
        let first = |order: Option<&Order>, record, slot| is_first_choice(order, record, slot);
        assert!(first(None, None, Slot::A));
        assert!(!first(None, None, Slot::B));
        assert!(first(Some(&order(1, Slot::B)), None, Slot::B));
        // The order acted, and the pod rescued itself since.
        let rescued = Some(record(1, 1, Slot::B));
        assert!(first(Some(&order(1, Slot::A)), rescued, Slot::B));
        assert!(!first(Some(&order(1, Slot::A)), rescued, Slot::A));
        assert!(first(Some(&order(2, Slot::A)), rescued, Slot::A));
    }

    #[test]
    fn a_rescuer_keeps_the_term_and_the_restarted_slot_does_not_take_back() {
        let order = order(4, Slot::A);
        let rescued = claimed(Some(&order), Some(record(4, 0, Slot::A)), Slot::B);
        assert_eq!(rescued, record(4, 1, Slot::B));
        assert_eq!(
            calls(Some(&order), Some(rescued), Slot::A, Some("aa")),
            None
        );
    }

    #[test]
    fn a_slot_that_takes_a_free_lock_fulfils_the_order_that_names_it() {
        let before = Some(record(4, 3, Slot::A));
        assert_eq!(
            claimed(Some(&order(5, Slot::B)), before, Slot::B),
            record(5, 0, Slot::B)
        );
        // The order for the other slot still stands.
        let rescued = claimed(Some(&order(5, Slot::A)), before, Slot::B);
        assert_eq!(rescued, record(4, 4, Slot::B));
        assert!(calls(Some(&order(5, Slot::A)), Some(rescued), Slot::A, Some("aa")).is_some());
        assert_eq!(claimed(None, None, Slot::A), record(0, 0, Slot::A));
        assert_eq!(
            claimed(Some(&order(1, Slot::A)), None, Slot::A),
            record(1, 0, Slot::A)
        );
    }

    #[test]
    fn a_standby_is_called_only_with_the_configuration_that_the_order_gives_it() {
        let order = order(2, Slot::B);
        let recorded = Some(record(1, 0, Slot::A));
        assert!(calls(Some(&order), recorded, Slot::B, Some("bb")).is_some());
        assert_eq!(calls(Some(&order), recorded, Slot::B, Some("aa")), None);
        assert_eq!(calls(Some(&order), recorded, Slot::B, None), None);
        assert_eq!(calls(Some(&order), recorded, Slot::A, Some("aa")), None);
    }

    #[test]
    fn an_owner_that_an_order_names_records_its_term() {
        let recorded = record(1, 2, Slot::B);
        assert_eq!(
            confirmed(Some(&order(2, Slot::B)), recorded, Slot::B),
            Some(record(2, 0, Slot::B))
        );
        assert_eq!(confirmed(Some(&order(2, Slot::A)), recorded, Slot::B), None);
        assert_eq!(confirmed(Some(&order(1, Slot::B)), recorded, Slot::B), None);
        assert_eq!(confirmed(None, recorded, Slot::B), None);
    }

    #[test]
    fn an_owner_gives_by_a_newer_term_or_when_it_leaves() {
        let recorded = record(2, 0, Slot::A);
        let give = |term, leaving| may_give(&ready(term), recorded, leaving, 0);
        assert!(give(Some(3), false).is_ok());
        assert!(give(Some(2), true).unwrap_err().contains("acted before"));
        assert!(give(Some(2_000), false).unwrap_err().contains("at most"));
        assert!(give(None, true).is_ok());
        assert!(give(None, false).is_err());
        assert_eq!(
            granted(&ready(Some(3)), Some(recorded), Slot::B),
            record(3, 0, Slot::B)
        );
        assert_eq!(
            granted(&ready(None), Some(recorded), Slot::B),
            record(2, 1, Slot::B)
        );
    }

    #[test]
    fn a_handover_that_would_exceed_the_limit_of_open_files_is_refused() {
        let recorded = record(2, 0, Slot::A);
        assert!(may_give(&ready(Some(3)), recorded, false, 10).is_ok());
        assert_eq!(
            may_give(&ready(Some(3)), recorded, false, 11).unwrap_err(),
            "11 connections need 139 descriptors; the other slot may open 138"
        );
    }

    #[test]
    fn only_the_other_slot_may_follow_in_the_same_protocol() {
        let hello = |protocol, slot| Hello {
            protocol,
            slot,
            version: "1".into(),
            sockets: true,
            states: true,
        };
        assert!(may_follow(&hello(PROTOCOL, Slot::B), Slot::A).is_ok());
        assert!(may_follow(&hello(PROTOCOL, Slot::A), Slot::A).is_err());
        assert_eq!(
            may_follow(&hello(9, Slot::B), Slot::A).unwrap_err(),
            "slot b speaks protocol 9; allowed is 1"
        );
    }
}
