//! The admin port.

use outrigger_control::Slot;

use crate::client::Connection;
use crate::pod::Pod;

crate::trials![
    metrics_tell_what_a_slot_does,
    a_wrong_call_of_the_admin_port_is_told_what_is_allowed,
];

async fn metrics_tell_what_a_slot_does() {
    let pod = Pod::at_rest().await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    connection.get("/", "counted").await.unwrap();
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    let (head, former) = pod.admin(Slot::A, "GET /metrics").await.unwrap();
    assert!(head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "outrigger_sidecar_active 0",
        "outrigger_sidecar_requests_total{function=\"echo\",class=\"2xx\"} 1",
        "outrigger_sidecar_handovers_total{result=\"completed\"} 1",
        "outrigger_sidecar_handovers_total{result=\"aborted\"} 0",
        "outrigger_sidecar_worker_restarts_total 0",
    ] {
        assert!(
            former.lines().any(|found| found == line),
            "no {line} in\n{former}"
        );
    }
    let (_, present) = pod.admin(Slot::B, "GET /metrics").await.unwrap();
    for line in [
        "outrigger_sidecar_active 1",
        "outrigger_sidecar_connections 1",
    ] {
        assert!(
            present.lines().any(|found| found == line),
            "no {line} in\n{present}"
        );
    }
    let (head, _) = pod.admin(Slot::A, "GET /livez").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

async fn a_wrong_call_of_the_admin_port_is_told_what_is_allowed() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let (head, body) = pod.admin(Slot::A, "GET /stats").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(
        body,
        "path is \"/stats\"; allowed are /status, /metrics and /livez\n"
    );
    let (head, body) = pod.admin(Slot::A, "POST /status").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert_eq!(body, "method is POST; allowed are GET and HEAD\n");
}
