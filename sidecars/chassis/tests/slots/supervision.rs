//! What a supervisor does for a worker that cannot run.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use outrigger_control::{Role, Slot};

use crate::client::{Connection, get};
use crate::pod::Pod;

crate::trials![
    a_worker_that_cannot_run_does_not_end_its_container_and_connects_wait,
    a_slot_whose_worker_dies_again_and_again_says_so_until_it_is_cured,
    a_slot_whose_worker_cannot_run_ends_when_it_is_told_to,
    a_slot_with_a_wrong_environment_waits_for_its_end,
];

async fn a_worker_that_cannot_run_does_not_end_its_container_and_connects_wait() {
    let mut pod = Pod::create();
    let state = pod.shared().join("state");
    DirBuilder::new().mode(0o700).create(&state).unwrap();
    // Others could write to it, so no worker trusts it.
    set_permissions(&state, Permissions::from_mode(0o770)).unwrap();
    pod.start(Slot::A);
    pod.logged(Slot::A, "with mode 770").await;
    pod.until(Slot::A, "failed and restarted", |report| {
        let reason = report.not_warm.as_deref().unwrap_or_default();
        report.role == Role::Failed
            && reason.contains("cannot run")
            && reason.contains("with mode 770")
            && report.worker_restarts >= 2
    })
    .await;
    assert!(pod.is_running(Slot::A));
    let mut waiting = Connection::open(pod.port).await.unwrap();
    waiting.send(get("/", "waiting")).await.unwrap();
    set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    waiting.answer("waiting").await.unwrap();
    let report = pod.until_active(Slot::A).await;
    assert!(report.worker_restarts >= 2);
}

async fn a_slot_whose_worker_dies_again_and_again_says_so_until_it_is_cured() {
    let mut pod = Pod::create();
    pod.configure("abort", "always");
    pod.order(1, Slot::A);
    pod.start(Slot::A);
    // From then on its supervisor waits for seconds before each new worker.
    let report = pod
        .until(Slot::A, "failed several times", |report| {
            report.role == Role::Failed && report.worker_restarts >= 11
        })
        .await;
    assert_eq!((report.warm, report.drained), (false, true));
    assert_eq!(
        report.not_warm.unwrap(),
        "its worker cannot run: it ended with signal 6"
    );
    // Callers that say nothing, or leave, keep nobody else out.
    let silent = pod.call_admin(Slot::A).await.unwrap();
    drop(pod.call_admin(Slot::A).await.unwrap());
    let (head, body) = pod.admin(Slot::A, "HEAD /status").await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.is_empty(),
        "{head}"
    );
    drop(silent);
    let (head, body) = pod.admin(Slot::A, "GET /stats").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(body.contains("allowed are /status"), "{body}");

    let mut waiting = Connection::open(pod.port).await.unwrap();
    waiting.send(get("/", "waiting")).await.unwrap();
    pod.configure("echo", "again");
    pod.order(2, Slot::A);
    waiting.answer("waiting").await.unwrap();
    let report = pod.until_active(Slot::A).await;
    assert!(report.worker_restarts >= 11);
}

async fn a_slot_whose_worker_cannot_run_ends_when_it_is_told_to() {
    let mut pod = Pod::create();
    std::fs::write(pod.shared().join("state"), "not a directory").unwrap();
    pod.start(Slot::A);
    pod.until(Slot::A, "failed", |report| report.role == Role::Failed)
        .await;
    pod.terminate(Slot::A);
    assert!(pod.ended(Slot::A).await.success());
}

async fn a_slot_with_a_wrong_environment_waits_for_its_end() {
    let mut pod = Pod::create();
    pod.start_listening(Slot::A, "echo=none");
    pod.logged(Slot::A, "environment variable OUTRIGGER_LISTEN is")
        .await;
    assert!(pod.is_running(Slot::A));
    pod.terminate(Slot::A);
    assert!(pod.ended(Slot::A).await.success());
}
