//! The admin server over TCP.

use std::net::SocketAddr;

use outrigger_runtime::{ElectionMetrics, Readiness, listen, registry, serve_admin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: operator\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_admin_server_tells_life_readiness_and_figures() {
    let listener = listen(0).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
    let readiness = Readiness::default();
    let certificate = readiness.condition("webhook certificate");
    let stores = readiness.condition("stores");
    let mut registry = registry();
    ElectionMetrics::register(&mut registry);
    let stop = CancellationToken::new();
    let server = serve_admin(listener, readiness.clone(), registry, stop.clone());
    let server = tokio::spawn(server);

    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("not ready: webhook certificate, stores\n"));
    stores.set(true);
    assert_eq!(readiness.missing(), ["webhook certificate"]);
    certificate.set(true);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    certificate.set(false);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "));

    let answer = get(address, "/metrics").await;
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(answer.contains("\noutrigger_leader 0\n"), "{answer}");
    assert!(answer.contains(concat!(
        "outrigger_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1"
    )));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));

    stop.cancel();
    server.await.unwrap().unwrap();
}
