//! A store that cannot be used: `preflight`, status and clients are told which, and why.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use crate::server::Database;
use crate::sidecar::{Configuration, Sidecar};

crate::trials![
    an_unreachable_host_is_named,
    a_host_without_an_address_is_named,
    a_host_that_gives_no_answer_is_named,
    a_wrong_password_is_named_without_being_shown,
    a_missing_database_is_named,
    a_server_without_tls_is_refused_unless_it_is_disabled,
    a_missing_right_is_named,
    tables_of_a_newer_kind_are_refused,
    a_read_only_database_is_told_and_used_again_when_it_takes_writes,
];

/// What preflight shows, which is what clients are told too.
async fn reason(database: &Database, configuration: &Configuration, kind: &str) -> String {
    let sidecar = Sidecar::start(database, configuration).await;
    let reason = sidecar.warm().await.unwrap_err();
    let answer = sidecar.post(r#"{"orderId": 1}"#).await;
    let detail = answer.problem(503, &format!("store-{kind}"));
    assert!(answer.retry_after() > 0);
    assert_eq!(detail, format!("{reason}. The document was not stored."));
    reason
}

/// The server's description in messages.
fn at(database: &Database, host: &str, port: u16) -> String {
    let (name, user) = (&database.name, &database.user);
    format!("PostgreSQL at {host}:{port} (database {name}, user {user})")
}

async fn an_unreachable_host_is_named(database: Database) {
    let free = Ipv4Addr::new(127, 0, 0, 1);
    let configuration = Configuration::new(&database)
        .store("host", free.to_string())
        .store("port", 1);
    assert_eq!(
        reason(&database, &configuration, "unreachable").await,
        format!(
            "{} cannot be reached: Connection refused (os error 111)",
            at(&database, "127.0.0.1", 1)
        )
    );
}

async fn a_host_without_an_address_is_named(database: Database) {
    let host = "db.shop.svc.invalid";
    let configuration = Configuration::new(&database).store("host", host);
    let reason = reason(&database, &configuration, "unreachable").await;
    let begin = format!(
        "{} cannot be reached: failed to lookup address",
        at(&database, host, 5432)
    );
    assert!(reason.starts_with(&begin), "{reason}");
}

async fn a_host_that_gives_no_answer_is_named(database: Database) {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let configuration = Configuration::new(&database)
        .store("host", "127.0.0.1")
        .store("port", port);
    let sidecar = Sidecar::start(&database, &configuration).await;
    assert_eq!(
        sidecar.warm().await.unwrap_err(),
        format!(
            "{} gave no answer within 1500 ms",
            at(&database, "127.0.0.1", port)
        )
    );
    let detail = sidecar
        .post(r#"{"orderId": 1}"#)
        .await
        .problem(503, "store-unreachable");
    assert_eq!(
        detail,
        format!(
            "{} cannot be reached: no connection within 3 s. The document was not stored.",
            at(&database, "127.0.0.1", port)
        )
    );
}

async fn a_wrong_password_is_named_without_being_shown(mut database: Database) {
    database.password = "not this one".to_owned();
    let configuration = Configuration::new(&database);
    let host = database.server.address.to_string();
    assert_eq!(
        reason(&database, &configuration, "authentication").await,
        format!(
            "{} refused the connection: password authentication failed for user \"{}\" (SQLSTATE 28P01)",
            at(&database, &host, 5432),
            database.user
        )
    );
}

async fn a_missing_database_is_named(database: Database) {
    let configuration = Configuration::new(&database).store("database", "nothing");
    let reason = reason(&database, &configuration, "database-missing").await;
    let end = "refused the connection: database \"nothing\" does not exist (SQLSTATE 3D000)";
    assert!(reason.ends_with(end), "{reason}");
}

async fn a_server_without_tls_is_refused_unless_it_is_disabled(database: Database) {
    let configuration = Configuration::new(&database).store("sslMode", "VerifyFull");
    let reason = reason(&database, &configuration, "tls").await;
    let end = "TLS failed: server does not support TLS";
    assert!(reason.ends_with(end), "{reason}");
}

async fn a_missing_right_is_named(database: Database) {
    Sidecar::new(&database).await.warm().await.unwrap();
    database
        .execute("REASSIGN OWNED BY {user} TO postgres")
        .await;
    database
        .execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
        .await;
    let configuration = Configuration::new(&database);
    let reason = reason(&database, &configuration, "permission").await;
    let end = "does not grant the user INSERT, UPDATE, DELETE on the table outrigger_entries; needed are SELECT, INSERT, UPDATE and DELETE";
    assert!(reason.ends_with(end), "{reason}");

    database
        .execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}")
        .await;
    Sidecar::new(&database)
        .await
        .post(r#"{"orderId": 1}"#)
        .await
        .stored();
}

async fn tables_of_a_newer_kind_are_refused(database: Database) {
    Sidecar::new(&database).await.warm().await.unwrap();
    // A newer program that this one can live beside, and one that it cannot.
    database
        .execute("UPDATE outrigger_schema SET version = 2")
        .await;
    Sidecar::new(&database).await.warm().await.unwrap();
    database
        .execute("UPDATE outrigger_schema SET version = 3, compatible = 2")
        .await;
    let configuration = Configuration::new(&database);
    let reason = reason(&database, &configuration, "schema").await;
    let end = "has tables of version 3, which programs before version 2 must not use; this one is of version 1";
    assert!(reason.ends_with(end), "{reason}");
}

async fn a_read_only_database_is_told_and_used_again_when_it_takes_writes(database: Database) {
    let running = Sidecar::new(&database).await;
    let first = running.post(r#"{"orderId": 1}"#).await.stored();

    let set = "ALTER DATABASE {db} SET default_transaction_read_only";
    database.execute(&format!("{set} = on")).await;
    database.end_connections().await;
    // At start.
    let configuration = Configuration::new(&database);
    let reason = reason(&database, &configuration, "read-only").await;
    let end = "takes no writes: it is a standby server or set to read-only";
    assert!(reason.ends_with(end), "{reason}");
    // In the middle.
    let answer = running.post(r#"{"orderId": 2}"#).await;
    let detail = answer.problem(503, "store-read-only");
    let end = "set to read-only. The document was not stored.";
    assert!(detail.ends_with(end), "{detail}");
    assert_eq!(answer.retry_after(), 5);
    // Reading goes on.
    assert_eq!(running.get(first).await.index(), first);

    database.execute(&format!("{set} = off")).await;
    // A connection learns of it when it is made.
    let answer = running.post(r#"{"orderId": 2}"#).await;
    if answer.status == 503 {
        running.post(r#"{"orderId": 2}"#).await.stored();
    } else {
        answer.stored();
    }
    assert_eq!(database.entries().await, 2);
}
