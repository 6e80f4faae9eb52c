//! PostgreSQL away, killed, stopped and full: clients are told, nothing is lost, nothing is stored
//! twice, and it goes on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::server::{Database, Server};
use crate::sidecar::{Configuration, Sidecar};

pub(crate) fn trials(_: Option<&Arc<Server>>) -> Vec<Trial> {
    crate::alone![
        a_server_away_at_start_is_told_and_found_when_it_comes,
        a_server_killed_under_load_loses_nothing_and_stores_nothing_twice,
        a_server_stopped_under_load_loses_nothing_and_stores_nothing_twice,
        a_full_disk_is_told_and_used_again_when_there_is_space,
    ]
}

async fn a_server_away_at_start_is_told_and_found_when_it_comes() {
    let database = Database::create(Arc::new(Server::start())).await;
    database.server.stop();
    let sidecar = Sidecar::new(&database).await;
    let server = format!(
        "PostgreSQL at {}:5432 (database {}, user {})",
        database.server.address, database.name, database.user
    );
    let reason = format!("{server} cannot be reached: Connection refused (os error 111)");
    assert_eq!(sidecar.warm().await.unwrap_err(), reason);
    let answer = sidecar.post(r#"{"orderId": 1}"#).await;
    assert_eq!(
        answer.problem(503, "store-unreachable"),
        format!("{reason}. The document was not stored.")
    );
    assert_eq!(answer.retry_after(), 1);
    let answer = sidecar.get(1).await;
    assert_eq!(
        answer.problem(503, "store-unreachable"),
        format!("{reason}. The entry was not read.")
    );

    database.server.run();
    sidecar.post(r#"{"orderId": 1}"#).await.stored();
    sidecar.warm().await.unwrap();
}

async fn a_server_killed_under_load_loses_nothing_and_stores_nothing_twice() {
    outage_under_load(Server::kill).await;
}

async fn a_server_stopped_under_load_loses_nothing_and_stores_nothing_twice() {
    outage_under_load(Server::stop).await;
}

const CLIENTS: usize = 8;
const DOCUMENTS: usize = 300;
/// When the server goes: after this many answers of the first client.
const OUTAGES: [usize; 3] = [40, 110, 190];

/// Several clients store documents, their own and shared ones, through three outages.
async fn outage_under_load(end: fn(&Server)) {
    let database = Database::create(Arc::new(Server::start())).await;
    let slots = [Sidecar::new(&database).await, Sidecar::new(&database).await];
    let (answered, mut answers) = watch::channel(0_usize);
    let (away, is_away) = watch::channel(0_usize);
    let (back, is_back) = watch::channel(0_usize);
    let clients = (0..CLIENTS).map(|client| {
        let (slot, answered) = (&slots[client % 2], &answered);
        let (mut is_away, mut is_back) = (is_away.clone(), is_back.clone());
        async move {
            let mut told = Told::default();
            for at in 0..DOCUMENTS {
                if client == 0 {
                    answered.send_replace(at);
                }
                // Every fifth document is one that all clients send.
                let own = if at % 5 == 0 { None } else { Some(client) };
                let key = format!("{at} of {own:?}");
                loop {
                    let body = json!({ "orderId": key, "by": client });
                    let answer = slot.post(body.to_string()).await;
                    match answer.status.as_u16() {
                        201 => told.stored(key, answer.stored()),
                        409 => told.known(key, answer.known()),
                        status => {
                            told.failed(status);
                            assert!(answer.retry_after() > 0);
                            // What a client does after Retry-After, without the waiting.
                            let outage = *is_away.borrow_and_update();
                            is_back.wait_for(|back| *back >= outage).await.unwrap();
                            continue;
                        }
                    }
                    break;
                }
            }
            told
        }
    });
    let outages = async {
        for (number, after) in OUTAGES.into_iter().enumerate() {
            answers.wait_for(|answers| *answers >= after).await.unwrap();
            away.send_replace(number + 1);
            end(&database.server);
            // The outage is seen before it ends.
            let answer = slots[0].post(r#"{"orderId": "during the outage"}"#).await;
            assert!([503, 504].contains(&answer.status.as_u16()), "{answer:?}");
            database.server.run();
            back.send_replace(number + 1);
        }
    };
    let (told, ()) = futures::join!(join_all(clients), outages);
    compare(&database, told).await;
}

/// What a client was told.
#[derive(Default)]
struct Told {
    entries: BTreeMap<String, (i64, Option<Value>)>,
    created: Vec<String>,
    failures: BTreeMap<u16, usize>,
}

impl Told {
    fn stored(&mut self, key: String, index: i64) {
        self.created.push(key.clone());
        self.entries.insert(key, (index, None));
    }

    fn known(&mut self, key: String, (index, entry): (i64, Value)) {
        self.entries.insert(key, (index, Some(entry)));
    }

    fn failed(&mut self, status: u16) {
        assert!([503, 504].contains(&status), "{status}");
        *self.failures.entry(status).or_default() += 1;
    }
}

/// Compares what clients were told with what the database holds.
async fn compare(database: &Database, told: Vec<Told>) {
    let admin = database.server.connect(&database.name).await;
    let rows = admin
        .query("SELECT id, entry::text FROM outrigger_entries", &[])
        .await
        .unwrap();
    let mut stored: BTreeMap<String, (i64, Value)> = BTreeMap::new();
    for row in rows {
        let entry: Value = serde_json::from_str(row.get(1)).unwrap();
        let key = entry["orderId"].as_str().unwrap().to_owned();
        let twice = stored.insert(key.clone(), (row.get(0), entry));
        assert_eq!(twice, None, "{key} is stored twice");
    }
    stored.remove("during the outage");
    let shared = DOCUMENTS.div_ceil(5);
    assert_eq!(stored.len(), shared + CLIENTS * (DOCUMENTS - shared));

    let mut created: BTreeMap<&String, usize> = BTreeMap::new();
    for (client, told) in told.iter().enumerate() {
        assert_eq!(told.entries.len(), DOCUMENTS);
        for (key, (index, copy)) in &told.entries {
            let (id, entry) = &stored[key];
            assert_eq!(index, id, "index of {key}");
            match copy {
                Some(copy) => assert_eq!(copy, entry, "copy of {key}"),
                None => assert_eq!(entry["by"], client, "{key} was stored by another client"),
            }
        }
        for key in &told.created {
            *created.entry(key).or_default() += 1;
        }
    }
    assert!(created.values().all(|times| *times == 1), "{created:?}");
    let failed: usize = told.iter().flat_map(|told| told.failures.values()).sum();
    assert!(failed > 0, "the outages met no request");
}

async fn a_full_disk_is_told_and_used_again_when_there_is_space() {
    let server = Arc::new(Server::with_small_disk(16 << 20));
    let postgres = server.connect("postgres").await;
    let tablespace = format!(
        "CREATE TABLESPACE small LOCATION '{}'",
        server.small_disk().display()
    );
    postgres.batch_execute(&tablespace).await.unwrap();
    let database = Database::create_with(server, "TABLESPACE small").await;
    // Space to be given back later: 2 MiB that do not compress.
    database
        .execute(
            "CREATE TABLE ballast AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b
            FROM generate_series(1, 30000)",
        )
        .await;
    let configuration = Configuration::new(&database);
    let sidecar = Sidecar::start(&database, &configuration).await;

    let mut stored = Vec::new();
    let refused = loop {
        let document = document(stored.len());
        let answer = sidecar.post(document).await;
        if answer.status != 201 {
            break answer;
        }
        stored.push(answer.stored());
    };
    let detail = refused.problem(503, "store-disk-full");
    assert!(detail.contains("No space left on device"), "{detail}");
    assert!(detail.contains("SQLSTATE 53100"), "{detail}");
    assert!(detail.ends_with("The document was not stored."), "{detail}");
    assert_eq!(refused.retry_after(), 5);
    assert!(!stored.is_empty());
    assert_eq!(
        database.entries().await,
        i64::try_from(stored.len()).unwrap()
    );
    // What is stored can still be found.
    for (number, index) in stored.iter().enumerate() {
        let (known, entry) = sidecar.post(document(number)).await.known();
        assert_eq!(
            (known, entry["orderId"].as_u64()),
            (*index, Some(number as u64))
        );
    }

    database.execute("DROP TABLE ballast").await;
    sidecar.post(document(stored.len())).await.stored();
}

/// A document of about 100 KiB that does not compress.
fn document(number: usize) -> String {
    let note: String = (0..3200)
        .map(|_| uuid::Uuid::new_v4().simple().to_string())
        .collect();
    json!({ "orderId": number, "note": note }).to_string()
}
