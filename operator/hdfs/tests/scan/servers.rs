use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use outrigger_hdfs::{PathError, ScanError, ServerError, Settings};
use tokio::net::TcpListener;

use crate::name_node::{NameNode, Reply, scanner, scanner_with, settings};
use crate::namespace::Namespace;

fn root() -> [String; 1] {
    ["/".to_owned()]
}

fn one_file() -> Namespace {
    Namespace::with(1).file("/f", &[(5, &[1])])
}

/// A server that is not there.
async fn away() -> NameNode {
    let mut server = NameNode::start(|_| Reply::Never).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    server.address = listener.local_addr().unwrap();
    server
}

/// A server that answers everything with a response.
async fn raw(response: fn() -> Response<Full<Bytes>>) -> NameNode {
    NameNode::start(move |_| Reply::Raw(response())).await
}

/// What becomes of a scan of one server.
async fn failure(server: &NameNode, settings: Settings) -> ServerError {
    match scanner_with(&[server], settings).scan(&root()).await {
        Err(ScanError::NoNameNode(mut failures)) => failures.remove(0).1,
        told => panic!("{told:?}"),
    }
}

#[tokio::test]
async fn a_name_node_that_is_away_is_said() {
    let away = away().await;
    let error = scanner(&[&away]).scan(&root()).await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with("no NameNode answers: http://127.0.0.1:"),
        "{told}"
    );
    assert!(told.contains("cannot be reached"), "{told}");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_said() {
    let mut source = outrigger_hdfs::Source::default();
    source
        .name_nodes
        .push("http://namenode.invalid:9870".to_owned());
    let policy = crate::name_node::here();
    let mut scanner = outrigger_hdfs::Scanner::new(&source, policy, settings()).unwrap();
    let told = scanner.scan(&root()).await.unwrap_err().to_string();
    assert!(told.contains("its name is not known"), "{told}");
}

#[tokio::test]
async fn the_next_name_node_is_asked_if_one_is_away_or_standby() {
    let (mut standby, active) = (one_file(), one_file());
    standby.state = "standby".to_owned();
    let (standby, _) = standby.serve().await;
    let (active, _) = active.serve().await;
    let away = away().await;
    let mut scanner = scanner(&[&away, &standby, &active]);
    let first = scanner.scan(&root()).await.unwrap();
    assert_eq!(first.paths[0].bytes, 5);
    standby.asked();
    let second = scanner.scan(&root()).await.unwrap();
    assert_eq!(second, first);
    assert_eq!(standby.asked(), [], "the active one is remembered");
}

#[tokio::test]
async fn a_failover_in_the_middle_of_a_scan_is_followed() {
    let failed = Arc::new(AtomicBool::new(false));
    let at = failed.clone();
    let (first, _) = one_file()
        .serve_with(move |ask| {
            if ask.operation.starts_with("LISTSTATUS") {
                at.store(true, SeqCst);
            }
            let standby = || Reply::Json(403, include_str!("../answers/standby.json").to_owned());
            at.load(SeqCst).then(standby)
        })
        .await;
    let (second, _) = one_file().serve().await;
    let scan = scanner(&[&first, &second]).scan(&root()).await.unwrap();
    assert_eq!(scan.paths[0].bytes, 5);
    assert!(failed.load(SeqCst));
    assert!(!second.asked().is_empty());
}

#[tokio::test]
async fn two_standby_name_nodes_are_both_named() {
    let mut namespace = one_file();
    namespace.state = "standby".to_owned();
    let (one, _) = namespace.clone().serve().await;
    let (other, _) = namespace.clone().serve().await;
    let told = scanner(&[&one, &other])
        .scan(&root())
        .await
        .unwrap_err()
        .to_string();
    for server in [&one, &other] {
        let said = format!("{} is not active: it says standby", server.url());
        assert!(told.contains(&said), "{told}");
    }
    // Without JMX, by the exception.
    namespace.jmx = false;
    let (one, _) = namespace.clone().serve().await;
    let (other, _) = namespace.serve().await;
    let told = scanner(&[&one, &other])
        .scan(&root())
        .await
        .unwrap_err()
        .to_string();
    for server in [&one, &other] {
        let said = format!(
            "{} is not active: StandbyException: Operation category READ",
            server.url()
        );
        assert!(told.contains(&said), "{told}");
    }
}

#[tokio::test]
async fn a_retriable_exception_leads_to_the_next_name_node() {
    let retry = |_: &_| Some(Reply::exception(403, "RetriableException", "starting up"));
    let (starting, _) = one_file().serve_with(retry).await;
    let (active, _) = one_file().serve().await;
    let scan = scanner(&[&starting, &active]).scan(&root()).await.unwrap();
    assert_eq!(scan.paths[0].bytes, 5);
}

#[tokio::test]
async fn access_denied_is_no_reason_to_ask_the_next_name_node() {
    let denied = |ask: &crate::name_node::Ask| {
        let message = "Permission denied: user=dr.who, access=READ_EXECUTE, inode=\"/f\"";
        let denied = || Reply::exception(403, "AccessControlException", message);
        (ask.operation == "GETCONTENTSUMMARY").then(denied)
    };
    let (first, _) = one_file().serve_with(denied).await;
    let (second, _) = one_file().serve().await;
    let scan = scanner(&[&first, &second]).scan(&root()).await.unwrap();
    assert!(matches!(&scan.problems[0].1, PathError::Denied { .. }));
    assert_eq!(second.asked(), []);
}

#[tokio::test]
async fn safe_mode_is_said_and_concerns_the_paths_whose_blocks_are_unknown() {
    let mut namespace = one_file().file("/g", &[(7, &[1])]);
    namespace.safe_mode = "Safe mode is ON. The reported blocks 0 needs 12 more".to_owned();
    let (server, _) = namespace
        .serve_with(|ask| {
            let unknown = ask.path == "/g" && ask.operation.contains("BLOCK");
            let safe_mode = || include_str!("../answers/safe-mode.json").to_owned();
            unknown.then(|| Reply::Json(403, safe_mode()))
        })
        .await;
    let paths = ["/f".to_owned(), "/g".to_owned()];
    let scan = scanner(&[&server]).scan(&paths).await.unwrap();
    assert!(scan.safe_mode.unwrap().starts_with("Safe mode is ON"));
    assert_eq!(scan.paths[0].bytes, 5);
    let (path, error) = &scan.problems[0];
    assert_eq!(path, "/g");
    assert!(matches!(error, PathError::SafeMode { .. }), "{error}");
}

#[tokio::test]
async fn html_is_said_to_be_no_answer_of_a_name_node() {
    let html = || {
        Response::builder()
            .header("content-type", "text/html;charset=utf-8")
            .body(Full::from("<html>Welcome to the router</html>"))
            .unwrap()
    };
    let told = failure(&raw(html).await, settings()).await.to_string();
    assert!(
        told.contains("answered 200 with text/html;charset=utf-8 instead of JSON"),
        "{told}"
    );
    let failed = || {
        Response::builder()
            .status(500)
            .header("content-type", "text/html")
            .body(Full::from(include_str!("../answers/failed.html")))
            .unwrap()
    };
    let told = failure(&raw(failed).await, settings()).await.to_string();
    assert!(
        told.contains("answered 500 with text/html instead of JSON"),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_that_wants_kerberos_is_said_to() {
    let negotiate = || {
        Response::builder()
            .status(401)
            .header("www-authenticate", "Negotiate")
            .header("content-type", "text/html")
            .body(Full::default())
            .unwrap()
    };
    let told = failure(&raw(negotiate).await, settings()).await.to_string();
    assert_eq!(
        told,
        "asks for authentication (Negotiate); only simple authentication is supported"
    );
}

#[tokio::test]
async fn a_slow_name_node_is_given_up_and_the_next_one_asked() {
    let short = Settings {
        request_timeout: Duration::from_millis(50),
        ..settings()
    };
    let silent = NameNode::start(|_| Reply::Never).await;
    let error = failure(&silent, short).await;
    assert_eq!(error, ServerError::Slow(short.request_timeout));
    assert_eq!(error.to_string(), "did not answer within 0.05 s");
    let (active, _) = one_file().serve().await;
    let generous = Settings {
        request_timeout: Duration::from_secs(1),
        ..settings()
    };
    let scan = scanner_with(&[&silent, &active], generous)
        .scan(&root())
        .await
        .unwrap();
    assert_eq!(scan.paths[0].bytes, 5);
}

#[tokio::test]
async fn an_answer_of_ten_megabytes_is_not_read() {
    let (server, _) = one_file()
        .serve_with(|ask| {
            let large = || Reply::Json(200, " ".repeat(10_000_000));
            ask.operation.starts_with("LISTSTATUS").then(large)
        })
        .await;
    let scan = scanner(&[&server]).scan(&root()).await.unwrap();
    assert_eq!(
        scan.problems[0].1.to_string(),
        "path /: an answer is larger than 4194304 bytes, which is the limit"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_announce_its_length_is_bounded_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = NameNode::start(|_| Reply::Never).await;
    server.address = listener.local_addr().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let jmx = String::from_utf8_lossy(&request[..length]).contains("/jmx");
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            if jmx {
                stream.write_all(b"{\"beans\":[]}").await.unwrap();
                continue;
            }
            while stream.write_all(&[b' '; 65536]).await.is_ok() {
                count.fetch_add(65536, SeqCst);
            }
        }
    });
    let small = Settings {
        answer_bytes: 1 << 20,
        ..settings()
    };
    let scan = scanner_with(&[&server], small).scan(&root()).await.unwrap();
    assert!(matches!(
        &scan.problems[0].1,
        PathError::TooLarge {
            allowed: 1_048_576,
            ..
        }
    ));
    serving.abort();
    assert!(written.load(SeqCst) < 64 << 20, "nobody reads on");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_once_more() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = NameNode::start(|_| Reply::Never).await;
    server.address = listener.local_addr().unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let once = dropped.clone();
    // Reads the first request about a file, and hangs up instead of answering.
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let body = match request.split(' ').nth(1).unwrap() {
                jmx if jmx.starts_with("/jmx") => r#"{"beans":[]}"#.to_owned(),
                _ if !once.swap(true, SeqCst) => continue,
                summary if summary.contains("GETCONTENTSUMMARY") => {
                    r#"{"ContentSummary":{"directoryCount":1,"fileCount":0}}"#.to_owned()
                }
                _ => r#"{"DirectoryListing":{"partialListing":{"FileStatuses":{"FileStatus":[]}},"remainingEntries":0}}"#.to_owned(),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    let scan = scanner(&[&server]).scan(&root()).await.unwrap();
    serving.abort();
    assert!(dropped.load(SeqCst));
    assert_eq!(scan.problems, []);
}
