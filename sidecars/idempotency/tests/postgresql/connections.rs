//! How many connections a slot holds.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    a_standby_holds_one_connection_however_often_it_is_asked,
    a_busy_time_leaves_one_connection,
    a_slot_never_opens_more_connections_than_allowed,
    requests_that_clients_gave_up_cost_no_connection,
    a_store_that_no_function_uses_is_closed,
    applications_that_share_a_slot_share_its_connections_and_leave_each_other_some,
];

async fn a_standby_holds_one_connection_however_often_it_is_asked(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    assert_eq!(database.connections().await, 0);
    for _ in 0..10 {
        sidecar.warm().await.unwrap();
    }
    assert_eq!(database.connections().await, 1);
}

async fn a_busy_time_leaves_one_connection(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let posts = (0..64).map(|key| sidecar.post(json!({ "orderId": key }).to_string()));
    for answer in join_all(posts).await {
        answer.stored();
    }
    assert!(database.connections().await > 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(100)).await;
    tokio::time::resume();
    while database.connections().await > 1 {}
    assert_eq!(database.connections().await, 1);
}

async fn a_slot_never_opens_more_connections_than_allowed(database: Database) {
    // The server itself would refuse a third.
    database
        .execute("ALTER ROLE {user} CONNECTION LIMIT 2")
        .await;
    let configuration = Configuration::new(&database).store("maxConnections", 2);
    let sidecar = Sidecar::start(&database, &configuration).await;
    let posts = (0..64).map(|key| sidecar.post(json!({ "orderId": key }).to_string()));
    for answer in join_all(posts).await {
        answer.stored();
    }
    assert_eq!(database.connections().await, 2);
    assert!(
        sidecar
            .metrics()
            .contains("idempotency_store_connections_limit 2")
    );
}

async fn requests_that_clients_gave_up_cost_no_connection(database: Database) {
    let configuration = Configuration::new(&database).store("maxConnections", 1);
    let sidecar = Sidecar::start(&database, &configuration).await;
    sidecar.warm().await.unwrap();
    let busy = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for key in 0..3 {
        database
            .execute("BEGIN; LOCK TABLE outrigger_entries IN EXCLUSIVE MODE")
            .await;
        {
            let post = std::pin::pin!(sidecar.post(json!({ "orderId": key }).to_string()));
            let waits = std::pin::pin!(async { while database.number(busy).await == 0 {} });
            let first = futures::future::select(post, waits).await;
            assert!(matches!(first, futures::future::Either::Right(_)));
        }
        // The client is gone; its statement ends with the lock.
        database.execute("ROLLBACK").await;
        sidecar
            .post(json!({ "orderId": key, "again": true }).to_string())
            .await;
    }
    assert_eq!(database.entries().await, 3);
    while database.connections().await > 1 {}
}

async fn a_store_that_no_function_uses_is_closed(database: Database) {
    let configuration = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &configuration).await;
    sidecar.warm().await.unwrap();
    sidecar
        .configure(&configuration.store("maxConnections", 3))
        .unwrap();
    while database.connections().await > 0 {}
    sidecar.post(r#"{"orderId": 1}"#).await.stored();
    assert_eq!(database.connections().await, 1);
}

async fn applications_that_share_a_slot_share_its_connections_and_leave_each_other_some(
    database: Database,
) {
    const MOST: i64 = 2;
    let configuration = Configuration::new(&database).store("maxConnections", MOST);
    let greedy = Sidecar::start(&database, &configuration).await;
    let other = greedy.neighbour(&configuration.application("other")).await;
    greedy.warm().await.unwrap();
    other.warm().await.unwrap();
    assert_eq!(database.connections().await, 1);
    // Writes wait, and reads do not.
    database
        .execute("BEGIN; LOCK TABLE outrigger_entries IN EXCLUSIVE MODE")
        .await;
    let posts = (0..8).map(|key| greedy.post(json!({ "orderId": key }).to_string()));
    let posts = join_all(posts);
    let reads = async {
        let busy = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while database.number(busy).await == 0 {}
        for _ in 0..10 {
            other.get(1).await.problem(404, "no-entry");
        }
        assert!(database.connections().await <= MOST);
        database.execute("ROLLBACK").await;
    };
    let (stored, ()) = futures::join!(posts, reads);
    for answer in stored {
        answer.stored();
    }
}
