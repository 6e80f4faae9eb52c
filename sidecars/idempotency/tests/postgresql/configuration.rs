//! What changes of configuration and of Secrets do, and what must not be mixed.

use serde_json::json;

use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    two_applications_with_different_key_fields_share_one_table,
    other_key_fields_begin_a_new_space_of_keys,
    a_refused_configuration_leaves_the_former_one_in_use,
    a_change_of_parameters_keeps_the_connection,
    a_password_rotated_in_the_mounted_secret_is_used,
    metrics_hold_no_keys_values_or_paths,
];

async fn two_applications_with_different_key_fields_share_one_table(database: Database) {
    let configuration = Configuration::new(&database);
    let orders = Sidecar::start(&database, &configuration).await;
    let configuration = configuration
        .application("billing")
        .key_fields(&["/customer", "/day"]);
    let bills = Sidecar::start(&database, &configuration).await;

    let document = json!({ "orderId": 1, "customer": "c", "day": 24 });
    let order = orders.post(document.to_string()).await.stored();
    let bill = bills.post(document.to_string()).await.stored();
    assert_ne!(order, bill);

    // One key for the one, another key for the other.
    let second = json!({ "orderId": 2, "customer": "c", "day": 24 });
    orders.post(second.to_string()).await.stored();
    assert_eq!(
        bills.post(second.to_string()).await.known(),
        (bill, document.clone())
    );
    let third = json!({ "orderId": 1, "customer": "c", "day": 25 });
    assert_eq!(
        orders.post(third.to_string()).await.known(),
        (order, document)
    );
    bills.post(third.to_string()).await.stored();
    assert_eq!(database.entries().await, 4);

    orders.get(bill).await.problem(404, "no-entry");
    bills.get(order).await.problem(404, "no-entry");
}

async fn other_key_fields_begin_a_new_space_of_keys(database: Database) {
    let by_order = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &by_order).await;
    let document = json!({ "orderId": 1, "number": 1 }).to_string();
    let first = sidecar.post(document.clone()).await.stored();

    sidecar
        .configure(&by_order.clone().key_fields(&["/number"]))
        .unwrap();
    let second = sidecar.post(document.clone()).await.stored();
    assert_ne!(first, second);
    assert_eq!(sidecar.post(document.clone()).await.known().0, second);
    // What was stored under the former fields is still there to be read.
    assert_eq!(sidecar.get(first).await.index(), first);

    sidecar.configure(&by_order).unwrap();
    assert_eq!(sidecar.post(document).await.known().0, first);
}

async fn a_refused_configuration_leaves_the_former_one_in_use(database: Database) {
    let good = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &good).await;
    for (bad, message) in [
        (
            good.clone().key_fields(&["orderId"]),
            "function entries: IntegrationSidecar orders functions[0].idempotency: keyFields is [\"orderId\"]; allowed is a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]",
        ),
        (
            good.clone().store("maxConnections", 101),
            "IntegrationSidecar orders: store.postgresql.maxConnections is 101; allowed is a number from 1 to 100",
        ),
        (
            good.clone()
                .store("credentials", json!({ "secretName": "other" })),
            "IntegrationSidecar orders: store.postgresql.credentials: Secret other cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(sidecar.configure(&bad).unwrap_err().to_string(), message);
        assert!(sidecar.post(r#"{"orderId": 1}"#).await.status != 503);
    }
    let without_store = Configuration {
        postgresql: json!(null),
        ..good
    };
    assert_eq!(
        sidecar.configure(&without_store).unwrap_err().to_string(),
        "IntegrationSidecar orders: store.postgresql is missing; idempotency functions need it"
    );
}

async fn a_change_of_parameters_keeps_the_connection(database: Database) {
    let configuration = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &configuration).await;
    sidecar.post(r#"{"orderId": 1}"#).await.stored();
    let connection = "SELECT sum(pid)::bigint FROM pg_stat_activity WHERE usename LIKE current_database() || '%'";
    let before = database.number(connection).await;
    sidecar
        .configure(&configuration.parameter("maxDocumentBytes", 100))
        .unwrap();
    sidecar.post(r#"{"orderId": 2}"#).await.stored();
    assert_eq!(database.number(connection).await, before);
}

async fn a_password_rotated_in_the_mounted_secret_is_used(database: Database) {
    let configuration = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &configuration).await;
    let first = sidecar.post(r#"{"orderId": 1}"#).await.stored();

    // The database is first. Connections that are open go on, new ones do not.
    database
        .execute("ALTER ROLE {user} PASSWORD 'second'")
        .await;
    sidecar.post(r#"{"orderId": 2}"#).await.stored();
    database.end_connections().await;
    let answer = sidecar.post(r#"{"orderId": 3}"#).await;
    let detail = answer.problem(503, "store-authentication");
    let reason = format!(
        "password authentication failed for user \"{}\"",
        database.user
    );
    assert!(detail.contains(&reason), "{detail}");
    assert!(!detail.contains("first"), "{detail}");
    answer.retry_after();

    sidecar.rotate(&database.user, "second");
    sidecar.configure(&configuration).unwrap();
    sidecar.warm().await.unwrap();
    sidecar.post(r#"{"orderId": 3}"#).await.stored();
    assert_eq!(sidecar.post(r#"{"orderId": 1}"#).await.known().0, first);
}

async fn metrics_hold_no_keys_values_or_paths(database: Database) {
    let sidecar = Sidecar::new(&database).await;
    let document = r#"{"orderId": "key-4711", "note": "value-4711"}"#;
    sidecar.post(document).await.stored();
    sidecar.post(document).await.known();
    sidecar
        .post(r#"{"name-4711": 1}"#)
        .await
        .problem(422, "missing-key-field");
    sidecar.get(4711).await.problem(404, "no-entry");
    let metrics = sidecar.metrics();
    assert!(metrics.contains("result=\"stored\"} 1"), "{metrics}");
    assert!(
        metrics.contains("idempotency_store_connections_limit 4"),
        "{metrics}"
    );
    assert!(!metrics.contains("4711"), "{metrics}");
    assert!(!metrics.contains("/v1"), "{metrics}");
}
