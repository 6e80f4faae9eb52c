//! The certificate and its authority change under an API server's requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use outrigger_webhook::{Decision, Material, ServeOptions, decide};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::requests::{Connection, SERVER_NAME, shop_pod};
use crate::serving::{Replica, SECRET};
use crate::store::Store;

/// A clock that stands still until it is set.
#[derive(Clone, Debug)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn advance_hours(&self, hours: i64) {
        self.0.fetch_add(hours * 3600, Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.load(Ordering::SeqCst)).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn field(secret: &Value, name: &str) -> Value {
    secret["data"][name].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_certificates_and_authorities_follow_each_other() {
    let clock = Clock(Arc::new(AtomicI64::new(Timestamp::now().as_second())));
    let operators = clock.clone();
    let replica = Replica::start(Store::shop(), ServeOptions::default(), move || {
        operators.now()
    })
    .await;
    let replica = Arc::new(replica);
    let stop = CancellationToken::new();
    let answered = Arc::new(AtomicU64::new(0));

    // One connection that is never closed, and new ones all the time that trust what was trusted
    // when the last step began.
    let trusted = Arc::new(parking_lot::Mutex::new(replica.authorities()));
    let mut kept = Connection::open(replica.address, &replica.authorities(), clock.clone())
        .await
        .unwrap();
    let requests = {
        let (replica, trusted, clock) = (Arc::clone(&replica), Arc::clone(&trusted), clock.clone());
        let (stop, answered) = (stop.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                kept.admit(&shop_pod()).await.unwrap();
                let authorities = trusted.lock().clone();
                let mut fresh = Connection::open(replica.address, &authorities, clock.clone())
                    .await
                    .unwrap();
                fresh.admit(&shop_pod()).await.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
            }
        })
    };

    let (mut certificates, mut authorities) = (0, 0);
    // Two years and a half: the certificate is renewed every 60 days, the authority once.
    for step in 0..(365 * 5) {
        clock.advance_hours(12);
        let before = replica.api.get(SECRET).unwrap();
        // The operator looks at the clock at least once in an hour; here, when the Secret is touched.
        let mut touched = before.clone();
        touched["metadata"]["annotations"]["touched"] = step.to_string().into();
        replica.api.put(SECRET, touched);
        let material = Material::from_secret(&serde_json::from_value(before.clone()).unwrap());
        let decision = decide(clock.now(), material.ok().as_ref(), SERVER_NAME);
        if matches!(decision, Decision::Keep { .. }) {
            continue;
        }
        let changed = |now: Option<&Value>| now.is_some_and(|now| now["data"] != before["data"]);
        replica.api.until(SECRET, changed).await;
        let after = replica.api.get(SECRET).unwrap();
        certificates += i32::from(field(&before, "tls.crt") != field(&after, "tls.crt"));
        authorities += i32::from(field(&before, "ca.key") != field(&after, "ca.key"));
        // Requests before, during and after the change.
        let seen = answered.load(Ordering::SeqCst);
        while answered.load(Ordering::SeqCst) < seen + 3 && !requests.is_finished() {
            tokio::task::yield_now().await;
        }
        *trusted.lock() = replica.authorities();
    }
    assert_eq!(authorities, 1, "a new authority");
    assert!(certificates >= 14, "{certificates} renewals");
    stop.cancel();
    requests.await.unwrap();
}
