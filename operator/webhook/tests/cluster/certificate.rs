//! The Secret, kept by the leader.

use std::sync::Arc;

use jiff::Timestamp;
use outrigger_api_server::ApiServer;
use outrigger_webhook::{Certificates, Material, ServeOptions, keep_certificate};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::requests::shop_pod;
use crate::serving::{Replica, SECRET};
use crate::store::Store;

fn material(secret: &Value) -> Option<Material> {
    Material::from_secret(&serde_json::from_value(secret.clone()).unwrap()).ok()
}

async fn replica() -> Replica {
    Replica::start(Store::shop(), ServeOptions::default(), Timestamp::now).await
}

#[tokio::test]
async fn a_deleted_secret_is_made_anew_and_requests_go_on() {
    let replica = replica().await;
    let mut open = replica.connect().await;
    replica.api.delete(SECRET);
    open.admit(&shop_pod()).await.unwrap();
    replica.api.until(SECRET, |found| found.is_some()).await;
    assert!(material(&replica.api.get(SECRET).unwrap()).is_some());
}

#[tokio::test]
async fn a_secret_that_somebody_broke_is_mended_and_the_last_good_certificate_serves() {
    let replica = replica().await;
    let authorities = replica.authorities();
    let mut broken = replica.api.get(SECRET).unwrap();
    broken["data"]["tls.key"] = "bm9uc2Vuc2U=".into();
    replica.api.fail(1);
    replica.api.put(SECRET, broken.clone());
    let mended = |found: Option<&Value>| found.is_some_and(|found| found["data"] != broken["data"]);
    let address = replica.address;
    let connection =
        crate::requests::Connection::open(address, &authorities, crate::requests::RealTime);
    let mut connection = connection.await.unwrap();
    connection.admit(&shop_pod()).await.unwrap();
    replica.api.until(SECRET, mended).await;
}

#[tokio::test]
async fn of_two_leaders_one_writes() {
    let api = ApiServer::default();
    let stop = CancellationToken::new();
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let certificates = Certificates::new();
        replicas.push(Arc::clone(&certificates));
        let (follower, client, end) = (Arc::clone(&certificates), api.client(), stop.clone());
        tokio::spawn(async move { follower.follow(client, "outrigger-system", end).await });
        let (client, end) = (api.client(), stop.clone());
        tokio::spawn(async move {
            let (namespace, service) = ("outrigger-system", "outrigger");
            let clock = Timestamp::now;
            keep_certificate(client, &certificates, namespace, service, clock, end).await;
        });
    }
    for certificates in &replicas {
        certificates.loaded().await;
    }
    let first = api.get(SECRET).unwrap();
    // Both look again at a touched Secret, and leave it.
    let mut touched = first.clone();
    touched["metadata"]["annotations"]["touched"] = "yes".into();
    api.put(SECRET, touched);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.get(SECRET).unwrap()["data"], first["data"]);
    stop.cancel();
}
