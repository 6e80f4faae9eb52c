//! The preflight of an image with a document.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Output;

use outrigger_control::{Limits, layout};

use crate::pod::Pod;

crate::trials![
    a_preflight_of_a_good_document_succeeds_and_listens_on_nothing,
    a_preflight_ends_with_the_reason_as_its_last_line,
    a_preflight_of_a_common_document_fails_when_no_part_is_good,
];

fn preflight(pod: &Pod, document: &str) -> Output {
    pod.command(layout::PREFLIGHT_COMMAND)
        .env(layout::ENV_DOCUMENT, document)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().last(), Some(reason));
}

async fn a_preflight_of_a_good_document_succeeds_and_listens_on_nothing() {
    let pod = Pod::create();
    // Another pod of the same node's network may hold the ports.
    let _taken = [pod.port, pod.second_port]
        .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let output = preflight(&pod, &pod.config);
    assert!(output.status.success(), "{output:?}");
    assert!(!pod.shared().join("state").exists());
}

async fn a_preflight_ends_with_the_reason_as_its_last_line() {
    let mut pod = Pod::create();
    let missing = preflight(&pod, "0123456789abcdef");
    let reason = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        reason.starts_with("document 0123456789abcdef is not in /"),
        "{reason}"
    );
    pod.configure("refuse", "keyFields is [];\nallowed is a field at least");
    assert_refused(
        &preflight(&pod, &pod.config),
        "keyFields is []; allowed is a field at least",
    );
    pod.configure("fail", "on purpose");
    assert_refused(
        &preflight(&pod, &pod.config),
        "the program failed on this document; its log has the place",
    );
    let output = pod.command(layout::PREFLIGHT_COMMAND).output().unwrap();
    assert_refused(
        &output,
        "environment variable OUTRIGGER_DOCUMENT is not set; it must be the hash of the document to try",
    );
}

async fn a_preflight_of_a_common_document_fails_when_no_part_is_good() {
    let limits = Limits {
        max_body_bytes: None,
        max_concurrent_requests: 1,
        requests_per_second: None,
    };
    let mut pod = Pod::shared_by(&[("bank", limits.clone()), ("shop", limits)]).await;
    pod.configure_tenant("bank", "refuse", "keyFields is []");
    let output = preflight(&pod, &pod.config);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.lines().last(),
        Some("application bank: keyFields is []")
    );
    pod.configure_tenant("shop", "refuse", "keyFields is {}");
    let output = preflight(&pod, &pod.config);
    assert_refused(&output, "application bank: keyFields is []");
}
