//! Function pods, which several applications share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use outrigger_control::{Limits, Report, Slot};

use crate::client::{Connection, get};
use crate::pod::Pod;

crate::trials![
    applications_are_told_apart_by_address_and_keep_their_connections_through_swaps,
    a_caller_that_is_named_later_waits_for_it,
    an_application_beyond_its_limits_is_refused_and_no_other,
    callers_that_nobody_named_are_few_and_take_no_place_of_others,
    a_part_of_the_document_that_is_no_good_holds_up_its_application_alone,
    an_application_that_is_not_warm_does_not_keep_the_others_from_a_swap,
];

const SHOP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const BANK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn limits(max_concurrent_requests: u32) -> Limits {
    Limits {
        max_body_bytes: None,
        max_concurrent_requests,
        requests_per_second: None,
    }
}

async fn applications_are_told_apart_by_address_and_keep_their_connections_through_swaps() {
    let pod = Pod::shared_by(&[("bank", limits(10)), ("shop", limits(10))]).await;
    pod.name_tenants(&[("bank", BANK), ("shop", SHOP)]);
    let mut kept = Vec::new();
    for (application, source) in [("shop", SHOP), ("bank", BANK)] {
        for port in [pod.port, pod.second_port] {
            let connection = Connection::open_from(source, port).await.unwrap();
            kept.push((application, connection));
        }
    }
    let mut active = Slot::A;
    for term in 2..7 {
        for (application, connection) in &mut kept {
            let answer = connection.get("/", application).await.unwrap();
            assert_eq!(answer.seen.application, *application);
            assert_eq!(answer.seen.slot, active.to_string());
        }
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
    }
}

async fn a_caller_that_is_named_later_waits_for_it() {
    let pod = Pod::shared_by(&[("bank", limits(10)), ("shop", limits(10))]).await;
    let mut early = Connection::open_from(SHOP, pod.port).await.unwrap();
    early.send(get("/", "early")).await.unwrap();
    // It is there before its name, and nothing of it is read.
    pod.until(Slot::A, "waiting", |report| report.traffic.connections == 1)
        .await;
    assert_eq!(pod.report(Slot::A).await.unwrap().traffic.in_flight, 0);
    pod.name_tenants(&[("shop", SHOP)]);
    let answer = early.answer("early").await.unwrap();
    assert_eq!(answer.seen.application, "shop");
    let mut stranger = Connection::open_from(BANK, pod.port).await.unwrap();
    let refused = stranger.get("/", "stranger").await.unwrap_err();
    assert!(refused.contains("403 forbidden"), "{refused}");
}

async fn an_application_beyond_its_limits_is_refused_and_no_other() {
    let pod = Pod::shared_by(&[("bank", limits(1)), ("shop", limits(1))]).await;
    pod.name_tenants(&[("bank", BANK), ("shop", SHOP)]);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open_from(SHOP, pod.port).await.unwrap();
        connection.send(get("/slow", "crowd")).await.unwrap();
        crowd.push(connection);
    }
    let mut other = Connection::open_from(BANK, pod.port).await.unwrap();
    other.get("/", "other").await.unwrap();
    let mut refused = Vec::new();
    for connection in &mut crowd {
        refused.extend(connection.answer("crowd").await.err());
    }
    // One was answered, one waited.
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("429 too many requests"), "{refused:?}");
    let (_, metrics) = pod.admin(Slot::A, "GET /metrics").await.unwrap();
    for line in [
        "outrigger_sidecar_tenant_requests_total{application=\"shop\"} 3",
        "outrigger_sidecar_tenant_requests_total{application=\"bank\"} 1",
        "outrigger_sidecar_tenant_refusals_total{application=\"shop\",limit=\"concurrency\"} 1",
    ] {
        let is_shown = metrics.lines().any(|found| found == line);
        assert!(is_shown, "{line} is not in\n{metrics}");
    }
}

async fn callers_that_nobody_named_are_few_and_take_no_place_of_others() {
    const FEW: usize = 8;
    let pod = Pod::shared_by(&[("bank", limits(10)), ("shop", limits(10))]).await;
    pod.name_tenants(&[("shop", SHOP)]);
    let mut strangers = Vec::new();
    for _ in 0..FEW {
        strangers.push(Connection::open_from(BANK, pod.port).await.unwrap());
    }
    let waiting = |report: &Report| report.traffic.connections == FEW as u64;
    pod.until(Slot::A, "letting them wait", waiting).await;
    let one_too_many = Connection::open_from(BANK, pod.port).await.unwrap();
    one_too_many.closed().await;
    let mut shop = Connection::open_from(SHOP, pod.port).await.unwrap();
    shop.get("/", "served").await.unwrap();
    // They wait in the other slot too, and are served once they are named.
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    pod.name_tenants(&[("bank", BANK), ("shop", SHOP)]);
    for stranger in &mut strangers {
        let answer = stranger.get("/", "named").await.unwrap();
        assert_eq!(answer.seen.application, "bank");
    }
    let mut another = Connection::open_from(BANK, pod.port).await.unwrap();
    another.get("/", "served").await.unwrap();
}

async fn a_part_of_the_document_that_is_no_good_holds_up_its_application_alone() {
    const REASON: &str = "flavour is \"mud\"; allowed is \"one\"";
    let mut pod = Pod::shared_by(&[("bank", limits(10)), ("shop", limits(10))]).await;
    pod.name_tenants(&[("bank", BANK), ("shop", SHOP)]);
    pod.configure_tenant("shop", "refuse", REASON);
    pod.configure_tenant("bank", "flavour", "two");
    pod.order(1, Slot::A);
    let refused = BTreeMap::from([("shop".to_owned(), REASON.to_owned())]);
    let goes_on = |report: &Report| {
        let configuration = &report.configuration;
        configuration.hash.as_ref() == Some(&pod.config)
            && configuration.refused.is_none()
            && configuration.refused_tenants == refused
            && report.warm
    };
    for slot in Slot::BOTH {
        pod.until(slot, "using what is good", goes_on).await;
    }
    let mut bank = Connection::open_from(BANK, pod.port).await.unwrap();
    assert_eq!(bank.get("/", "bank").await.unwrap().seen.flavour, "two");
    let mut shop = Connection::open_from(SHOP, pod.port).await.unwrap();
    assert_eq!(shop.get("/", "former").await.unwrap().seen.flavour, "");
    // A swap goes on, and a new worker finds the part that was good.
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    shop.get("/", "swapped").await.unwrap();
    pod.kill_worker(Slot::A).await;
    pod.until(Slot::A, "restored", |report| {
        report.worker_restarts == 1 && goes_on(report)
    })
    .await;
    pod.order(3, Slot::A);
    pod.until_swapped(3, Slot::A).await;
    shop.get("/", "restored").await.unwrap();

    // A good part ends it.
    pod.configure_tenant("shop", "flavour", "one");
    pod.order(3, Slot::A);
    pod.until(Slot::A, "using all", |report| {
        report.configuration.hash.as_ref() == Some(&pod.config)
            && report.configuration.refused_tenants.is_empty()
    })
    .await;
    assert_eq!(shop.get("/", "good").await.unwrap().seen.flavour, "one");
}

async fn an_application_that_is_not_warm_does_not_keep_the_others_from_a_swap() {
    let mut pod = Pod::shared_by(&[("bank", limits(10)), ("shop", limits(10))]).await;
    pod.name_tenants(&[("bank", BANK), ("shop", SHOP)]);
    let mut bank = Connection::open_from(BANK, pod.port).await.unwrap();
    bank.get("/", "before").await.unwrap();
    pod.configure_tenant("shop", "cold", "the store is away");
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    let reason = "function echo: the store is away".to_owned();
    let cold = BTreeMap::from([("shop".to_owned(), reason)]);
    for slot in Slot::BOTH {
        let told = |report: &Report| report.cold_tenants == cold && report.warm;
        pod.until(slot, "warm for the others", told).await;
    }
    let answer = bank.get("/", "after").await.unwrap();
    assert_eq!(answer.seen.slot, "b");
    // Without any that is warm there is nothing to swap for.
    pod.configure_tenant("bank", "cold", "the store is away");
    pod.order(2, Slot::B);
    pod.until(Slot::A, "cold", |report| {
        report.cold_tenants.len() == 2
            && report
                .not_warm
                .as_deref()
                .is_some_and(|reason| reason.contains("application bank: function echo"))
    })
    .await;
}
