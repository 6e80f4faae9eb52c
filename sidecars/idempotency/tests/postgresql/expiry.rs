//! Entries that expire, by the database's clock.

use futures::future::join_all;
use serde_json::json;

use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    an_entry_expires_after_the_time_given,
    an_expired_entry_is_absent_and_its_key_is_free_again,
    exactly_one_of_many_replaces_an_expired_entry,
    expired_entries_are_deleted_and_others_stay,
];

const EXPIRE: &str = "UPDATE outrigger_entries SET expires_at = now() WHERE expires_at IS NOT NULL";

async fn sidecar(database: &Database) -> Sidecar {
    let configuration = Configuration::new(database).parameter("expireAfterSeconds", 3600);
    Sidecar::start(database, &configuration).await
}

async fn an_entry_expires_after_the_time_given(database: Database) {
    sidecar(&database)
        .await
        .post(r#"{"orderId": 1}"#)
        .await
        .stored();
    let seconds =
        "SELECT extract(epoch FROM expires_at - stored_at)::bigint FROM outrigger_entries";
    assert_eq!(database.number(seconds).await, 3600);
}

async fn an_expired_entry_is_absent_and_its_key_is_free_again(database: Database) {
    let sidecar = sidecar(&database).await;
    let first = json!({ "orderId": 1, "total": 1 });
    let second = json!({ "orderId": 1, "total": 2 });
    let index = sidecar.post(first.to_string()).await.stored();
    assert_eq!(
        sidecar.post(second.to_string()).await.known(),
        (index, first)
    );

    database.execute(EXPIRE).await;
    sidecar.get(index).await.problem(404, "no-entry");
    let new = sidecar.post(second.to_string()).await.stored();
    assert_ne!(new, index);
    assert_eq!(
        sidecar.post(second.to_string()).await.known(),
        (new, second)
    );
    sidecar.get(index).await.problem(404, "no-entry");
    assert_eq!(database.entries().await, 1);
}

async fn exactly_one_of_many_replaces_an_expired_entry(database: Database) {
    let slots = [sidecar(&database).await, sidecar(&database).await];
    let document = r#"{"orderId": 1}"#;
    slots[0].post(document).await.stored();
    for _ in 0..20 {
        database.execute(EXPIRE).await;
        let answers = join_all((0..16).map(|at| slots[at % 2].post(document))).await;
        let stored = answers.iter().filter(|answer| answer.status == 201);
        assert_eq!(stored.count(), 1);
        let index = answers[0].index();
        assert!(answers.iter().all(|answer| answer.index() == index));
    }
    assert_eq!(database.entries().await, 1);
}

async fn expired_entries_are_deleted_and_others_stay(database: Database) {
    let forever = Sidecar::new(&database).await;
    forever.post(r#"{"orderId": "for ever"}"#).await.stored();
    database
        .execute(
            "INSERT INTO outrigger_entries
                (namespace, application, function, key_digest, key, entry, request, expires_at)
            SELECT 'shop', 'gone', 'entries', sha256(n::text::bytea), n::text, '{}',
                gen_random_uuid(), now() FROM generate_series(1, 1200) AS n",
        )
        .await;
    sidecar(&database)
        .await
        .post(r#"{"orderId": "an hour"}"#)
        .await
        .stored();
    // Deleted beside the request, in batches; the suite's own limit ends a vain wait.
    while database.entries().await > 2 {}
    assert_eq!(forever.post(r#"{"orderId": "for ever"}"#).await.status, 409);
    assert_eq!(forever.post(r#"{"orderId": "an hour"}"#).await.status, 409);
}
