//! Documents that come, and documents that are refused.

use outrigger_control::{Pair, Refusal, Report, Role, Slot};

use crate::client::Connection;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    a_new_document_is_taken_under_load,
    a_refused_document_is_reported_and_the_last_good_one_goes_on_through_restarts,
    a_document_on_which_the_program_fails_is_refused,
    a_slot_without_a_document_says_so_and_takes_the_first_that_comes,
    a_standby_does_not_take_over_before_it_has_and_can_use_its_document,
];

fn uses(hash: &str) -> impl Fn(&Report) -> bool {
    move |report| {
        report.configuration.hash.as_deref() == Some(hash) && report.configuration.refused.is_none()
    }
}

async fn a_new_document_is_taken_under_load() {
    let mut pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    for value in ["one", "two", "three"] {
        load.answers(100).await;
        pod.configure("flavour", value);
        pod.order(1, Slot::A);
        for slot in Slot::BOTH {
            pod.until(slot, "using the new document", uses(&pod.config))
                .await;
        }
    }
    load.answers(100).await;
    load.finish().await.assert_lossless();
}

async fn a_refused_document_is_reported_and_the_last_good_one_goes_on_through_restarts() {
    const REASON: &str = "flavour is \"mud\"; allowed are \"one\" and \"two\"";
    let mut pod = Pod::at_rest().await;
    let good = pod.config.clone();
    pod.configure("refuse", REASON);
    pod.order(1, Slot::A);
    let refused = Refusal {
        hash: pod.config.clone(),
        message: REASON.into(),
    };
    let goes_on = |report: &Report| {
        report.configuration.hash.as_ref() == Some(&good)
            && report.configuration.refused.as_ref() == Some(&refused)
            && report.warm
    };
    for slot in Slot::BOTH {
        pod.until(slot, "going on with the last good document", goes_on)
            .await;
    }
    // A new worker of the standby, then a new container of the active slot.
    pod.kill_worker(Slot::B).await;
    pod.until(Slot::B, "restored by its worker", |report| {
        report.worker_restarts == 1 && goes_on(report)
    })
    .await;
    pod.kill(Slot::A);
    pod.until_active(Slot::B).await;
    pod.start(Slot::A);
    pod.until(Slot::A, "restored by its container", goes_on)
        .await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    connection.get("/", "served").await.unwrap();
    // A good one ends it.
    pod.configure("flavour", "two");
    pod.order(1, Slot::A);
    for slot in Slot::BOTH {
        pod.until(slot, "using a good document", uses(&pod.config))
            .await;
    }
}

async fn a_document_on_which_the_program_fails_is_refused() {
    let mut pod = Pod::at_rest().await;
    let good = pod.config.clone();
    pod.configure("fail", "on purpose");
    pod.order(1, Slot::A);
    for slot in Slot::BOTH {
        pod.until(slot, "going on with the last good document", |report| {
            let refused = report.configuration.refused.as_ref();
            report.configuration.hash.as_ref() == Some(&good)
                && refused.is_some_and(|refused| refused.message.contains("the program failed"))
        })
        .await;
    }
    // The next one is heard.
    pod.configure("flavour", "one");
    pod.order(1, Slot::A);
    for slot in Slot::BOTH {
        let report = pod
            .until(slot, "using a good document", uses(&pod.config))
            .await;
        assert_eq!(report.worker_restarts, 0);
    }
}

async fn a_slot_without_a_document_says_so_and_takes_the_first_that_comes() {
    let mut pod = Pod::create();
    pod.withdraw_document();
    pod.start(Slot::A);
    let report = pod.until_active(Slot::A).await;
    assert!(!report.warm);
    let reason = report.not_warm.unwrap();
    assert!(reason.contains("no configuration yet"), "{reason}");
    let mut connection = Connection::open(pod.port).await.unwrap();
    let refused = connection.get("/", "early").await.unwrap_err();
    assert!(refused.contains("503 service unavailable"), "{refused}");
    pod.configure("flavour", "one");
    pod.order(1, Slot::A);
    pod.until(Slot::A, "warm with its first document", |report| {
        uses(&pod.config)(report) && report.warm
    })
    .await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    connection.get("/", "late").await.unwrap();
}

async fn a_standby_does_not_take_over_before_it_has_and_can_use_its_document() {
    let mut pod = Pod::at_rest().await;
    let load = Load::steady(pod.port);
    pod.configure("refuse", "nothing will do");
    pod.order(2, Slot::B);
    pod.until(Slot::B, "refusing", |report| {
        report.configuration.refused.is_some() && report.order_term == Some(2)
    })
    .await;
    pod.configure("cold", "the store is away");
    pod.order(3, Slot::B);
    let report = pod
        .until(Slot::B, "cold", |report| {
            report.configuration.hash.as_ref() == Some(&pod.config)
                && report.order_term == Some(3)
                && report
                    .not_warm
                    .as_deref()
                    .is_some_and(|reason| reason.contains("store"))
        })
        .await;
    assert_eq!(report.not_warm.unwrap(), "function echo: the store is away");
    load.answers(100).await;
    let first = Pair {
        term: 1,
        takeover: 0,
    };
    let report = pod.report(Slot::A).await.unwrap();
    assert_eq!((report.role, report.pair), (Role::Active, first));
    pod.configure("flavour", "one");
    pod.order(4, Slot::B);
    pod.until_swapped(4, Slot::B).await;
    assert_eq!(pod.report(Slot::B).await.unwrap().handover.completed, 1);
    load.finish().await.assert_lossless();
}
