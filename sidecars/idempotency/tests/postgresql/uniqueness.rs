//! One key, one entry: whoever asks, however many at once, with whatever content.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    of_two_concurrent_posts_of_one_key_exactly_one_is_stored,
    many_concurrent_posts_in_two_slots_store_each_key_once,
    equal_content_is_answered_with_the_first_entry,
    different_content_is_answered_with_the_first_entry_and_changes_nothing,
    different_keys_never_conflict,
    a_connection_lost_after_the_commit_is_answered_as_what_it_was,
    an_outcome_that_nobody_knows_is_told_and_found_out_by_repeating,
    a_post_waits_for_the_outcome_of_another_transaction_on_its_key,
];

async fn of_two_concurrent_posts_of_one_key_exactly_one_is_stored(database: Database) {
    let slots = [Sidecar::new(&database).await, Sidecar::new(&database).await];
    for key in 0..200 {
        let post = |slot: usize| {
            let document = json!({ "orderId": key, "slot": slot }).to_string();
            slots[slot].post(document)
        };
        let (one, other) = futures::join!(post(0), post(1));
        let (winner, stored, refused) = match one.status.as_u16() {
            201 => (0, one, other),
            _ => (1, other, one),
        };
        let (index, entry) = refused.known();
        assert_eq!(index, stored.stored());
        assert_eq!(entry, json!({ "orderId": key, "slot": winner }));
    }
    assert_eq!(database.entries().await, 200);
}

async fn many_concurrent_posts_in_two_slots_store_each_key_once(database: Database) {
    let slots = [Sidecar::new(&database).await, Sidecar::new(&database).await];
    let mut clients = Vec::new();
    for at in 0..32 {
        clients.push(slots[at % 2].client().await);
    }
    for key in 0..20 {
        let document = json!({ "orderId": key }).to_string();
        let posts = clients
            .iter_mut()
            .map(|client| client.post(document.clone()));
        let answers = join_all(posts).await;
        let stored = answers.iter().filter(|answer| answer.status == 201);
        assert_eq!(stored.count(), 1);
        let index = answers[0].index();
        for answer in &answers {
            match answer.status.as_u16() {
                201 => assert_eq!(answer.stored(), index),
                _ => assert_eq!(answer.known(), (index, json!({ "orderId": key }))),
            }
        }
    }
    assert_eq!(database.entries().await, 20);
}

async fn equal_content_is_answered_with_the_first_entry(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let first = r#"{"orderId": 7, "total": 12.50, "lines": ["é"]}"#;
    let index = sidecar.post(first).await.stored();
    for equal in [
        first,
        r#"{"lines":["\u00e9"],"total":1250e-2,"orderId":7.0}"#,
    ] {
        let answer = sidecar.post(equal).await;
        assert_eq!(answer.headers["location"], format!("/v1/entries/{index}"));
        let (known, entry) = answer.known();
        assert_eq!(known, index);
        assert_eq!(entry, serde_json::from_str::<Value>(first).unwrap());
    }
    assert_eq!(result(&sidecar, "repeated"), 2);
    assert_eq!(result(&sidecar, "conflicting"), 0);
}

async fn different_content_is_answered_with_the_first_entry_and_changes_nothing(
    database: Database,
) {
    let sidecar = Sidecar::new(&database).await;
    let first = json!({ "orderId": "7", "total": 1 });
    let index = sidecar.post(first.to_string()).await.stored();
    for other in [
        json!({ "orderId": "7", "total": 2 }),
        json!({ "orderId": "7", "total": "1" }),
        json!({ "orderId": "7" }),
    ] {
        let answer = sidecar.post(other.to_string()).await;
        assert_eq!(answer.known(), (index, first.clone()));
    }
    assert_eq!(sidecar.get(index).await.json()["entry"], first);
    assert_eq!(database.entries().await, 1);
    assert_eq!(result(&sidecar, "repeated"), 0);
    assert_eq!(result(&sidecar, "conflicting"), 3);
}

/// The count of requests with a result.
fn result(sidecar: &Sidecar, result: &str) -> u64 {
    let begin = format!("idempotency_requests_total{{function=\"entries\",result=\"{result}\"}} ");
    let metrics = sidecar.metrics();
    let count = metrics.lines().find_map(|line| line.strip_prefix(&begin));
    count.map_or(0, |count| count.parse().unwrap())
}

async fn different_keys_never_conflict(database: Database) {
    let configuration = Configuration::new(&database).key_fields(&["/a", "/b"]);
    let sidecar = Sidecar::start(&database, &configuration).await;
    let values = [
        json!(1),
        json!("1"),
        json!(true),
        json!("true"),
        json!(""),
        json!("null"),
        json!("1,2"),
        json!(12_345_678_901_234_567_890_u64),
        json!(12_345_678_901_234_567_891_u64),
    ];
    for a in &values {
        for b in &values {
            sidecar
                .post(json!({ "a": a, "b": b }).to_string())
                .await
                .stored();
        }
    }
    assert_eq!(database.entries().await, 81);
}

async fn a_post_waits_for_the_outcome_of_another_transaction_on_its_key(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let model = sidecar.post(r#"{"orderId": 0}"#).await.stored();
    for (outcome, key) in [("ROLLBACK", 1), ("COMMIT", 2)] {
        // Another writer holds the key and has not made up its mind.
        let other = database.server.connect(&database.name).await;
        let text = format!("{{\"/orderId\":{key}}}");
        let held = format!(
            "BEGIN; INSERT INTO outrigger_entries
                (namespace, application, function, key_digest, key, entry, request)
            SELECT namespace, application, function, sha256('{text}'), '{text}',
                '{{\"orderId\": {key}, \"by\": \"the other\"}}', gen_random_uuid()
            FROM outrigger_entries WHERE id = {model}"
        );
        other.batch_execute(&held).await.unwrap();
        let decide = async {
            // Only when the post waits for it.
            let waiting = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while database.number(waiting).await == 0 {}
            other.batch_execute(outcome).await.unwrap();
        };
        let (answer, ()) = futures::join!(sidecar.post(format!("{{\"orderId\": {key}}}")), decide);
        match outcome {
            "COMMIT" => assert_eq!(answer.known().1["by"], "the other"),
            _ => drop(answer.stored()),
        }
    }
}

/// A slot whose connections can be cut, with one that is open and ready.
async fn through_proxy(database: &Database) -> (Proxy, Sidecar) {
    let proxy = Proxy::to((database.server.address, 5432).into()).await;
    let configuration = Configuration::new(database)
        .store("host", "127.0.0.1")
        .store("port", proxy.port);
    let sidecar = Sidecar::start(database, &configuration).await;
    sidecar.warm().await.unwrap();
    (proxy, sidecar)
}

async fn a_connection_lost_after_the_commit_is_answered_as_what_it_was(database: Database) {
    let (proxy, sidecar) = through_proxy(&database).await;
    let document = r#"{"orderId": 1, "total": 1}"#;
    proxy.cut(1);
    let index = sidecar.post(document).await.stored();
    assert_eq!(sidecar.post(document).await.known().0, index);

    // Of a document whose key was taken before.
    proxy.cut(1);
    let answer = sidecar.post(r#"{"orderId": 1, "total": 2}"#).await;
    assert_eq!(answer.known(), (index, json!({ "orderId": 1, "total": 1 })));
    assert_eq!(database.entries().await, 1);
}

async fn an_outcome_that_nobody_knows_is_told_and_found_out_by_repeating(database: Database) {
    let (proxy, sidecar) = through_proxy(&database).await;
    let document = r#"{"orderId": 1}"#;
    // The answer, and every attempt to connect again.
    proxy.cut(usize::MAX);
    let answer = sidecar.post(document).await;
    let detail = answer.problem(504, "outcome-unknown");
    assert!(detail.contains("may or may not be stored"), "{detail}");
    answer.retry_after();
    proxy.cut(0);
    let (_, entry) = sidecar.post(document).await.known();
    assert_eq!(entry, json!({ "orderId": 1 }));
    assert_eq!(database.entries().await, 1);
}
