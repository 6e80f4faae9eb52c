use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use outrigger_hdfs::{
    AddressPolicy, ScanError, Scanner, ServerError, Settings, Source, SourceError,
};

use crate::name_node::{NameNode, Reply, here, scanner, settings};
use crate::namespace::{MIB, Namespace};

/// What becomes of a scan of a server under a policy.
async fn scan(name_node: &str, policy: AddressPolicy) -> ServerError {
    let source = Source {
        name_nodes: vec![name_node.to_owned()],
        ..Source::default()
    };
    let mut scanner = Scanner::new(&source, Arc::new(policy), settings()).unwrap();
    match scanner.scan(&["/".to_owned()]).await {
        Err(ScanError::NoNameNode(mut failures)) => failures.remove(0).1,
        told => panic!("{told:?}"),
    }
}

#[tokio::test]
async fn a_loopback_literal_is_refused() {
    let (server, _) = Namespace::with(1).serve().await;
    let refused = scan(&server.url(), AddressPolicy::default()).await;
    assert!(matches!(refused, ServerError::Refused { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("127.0.0.1 is a loopback address"),
        "{refused}"
    );
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused() {
    let (server, _) = Namespace::with(1).serve().await;
    let url = format!("http://localhost:{}", server.address.port());
    let refused = scan(&url, AddressPolicy::default()).await;
    assert!(matches!(refused, ServerError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("\"localhost\""), "{refused}");
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn link_local_literals_are_refused() {
    for url in [
        "http://169.254.169.254:80",
        "http://[fe80::1]:9870",
        "http://[::ffff:169.254.169.254]:80",
        "http://[64:ff9b::a9fe:a9fe]:80",
    ] {
        let refused = scan(url, AddressPolicy::default()).await;
        assert!(
            matches!(refused, ServerError::Refused { .. }),
            "{url}: {refused}"
        );
        assert!(
            refused.to_string().contains("is a link-local address"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn the_address_of_the_api_server_is_refused() {
    let policy = AddressPolicy::new([], ["203.0.113.7".parse().unwrap()]);
    let refused = scan("http://203.0.113.7:9870", policy).await;
    assert!(
        refused
            .to_string()
            .contains("203.0.113.7 is an address of the API server"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_allow_list_comes_first() {
    let (server, _) = Namespace::with(1).file("/f", &[(5, &[1])]).serve().await;
    let policy = AddressPolicy::new(
        ["127.0.0.1".parse().unwrap()],
        ["127.0.0.1".parse().unwrap()],
    );
    let source = Source {
        name_nodes: vec![server.url()],
        ..Source::default()
    };
    let mut scanner = Scanner::new(&source, Arc::new(policy), settings()).unwrap();
    let scan = scanner.scan(&["/f".to_owned()]).await.unwrap();
    assert_eq!(scan.paths[0].bytes, 5);
}

#[tokio::test]
async fn nothing_is_asked_but_gets_below_webhdfs_and_jmx() {
    let (server, _) = Namespace::with(3)
        .file("/d/../x", &[(MIB, &[1])])
        .file("/d/x y", &[(MIB + 1, &[1, 2])])
        .file("/d/e/f", &[(7, &[3])])
        .serve()
        .await;
    let paths = [
        "/d/e",
        "/d/x y",
        "/gone",
        "/d/../x",
        "//jmx",
        "/?op=DELETE#",
    ];
    let paths = paths.map(str::to_owned);
    scanner(&[&server]).scan(&paths).await.unwrap();
    let asked = server.asked();
    assert!(asked.len() > 6);
    for ask in asked {
        assert_eq!(ask.method, "GET");
        let below = ask.resource.starts_with("/webhdfs/v1/");
        assert!(below || ask.resource == "/jmx", "{ask:?}");
        assert!(!ask.resource.contains(".."), "{ask:?}");
        let reads = [
            "JMX",
            "GETCONTENTSUMMARY",
            "LISTSTATUS_BATCH",
            "GETFILEBLOCKLOCATIONS",
            "GET_BLOCK_LOCATIONS",
        ];
        assert!(reads.contains(&ask.operation.as_str()), "{ask:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, _) = Namespace::with(1).serve().await;
    let to = format!("{}/webhdfs/v1/", elsewhere.url());
    let redirecting = NameNode::start(move |_| {
        let response = Response::builder().status(307).header("location", &to);
        Reply::Raw(response.body(Full::new(Bytes::new())).unwrap())
    })
    .await;
    let paths = ["/".to_owned()];
    let error = scanner(&[&redirecting]).scan(&paths).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("redirects to \"http://127.0.0.1"), "{told}");
    assert!(told.contains("redirects are not followed"), "{told}");
    assert_eq!(elsewhere.asked(), []);
}

#[tokio::test]
async fn the_user_is_told_and_one_that_hdfs_refuses_is_not() {
    let (server, _) = Namespace::with(1).serve().await;
    let mut source = Source {
        name_nodes: vec![server.url()],
        user: Some("svc_risk-1.x$".to_owned()),
        ..Source::default()
    };
    let mut scanner = Scanner::new(&source, here(), settings()).unwrap();
    scanner.scan(&["/".to_owned()]).await.unwrap();
    let asked = server.asked();
    let files = asked.iter().filter(|ask| ask.operation != "JMX");
    assert!(files.clone().count() > 0);
    for ask in files {
        assert_eq!(ask.query["user.name"], "svc_risk-1.x$");
    }
    for user in ["", "$", "1st", "a b", "a&op=DELETE", "a$b", "jürgen", "-x"] {
        source.user = Some(user.to_owned());
        let refused = Scanner::new(&source, here(), Settings::new(1, 1)).unwrap_err();
        assert_eq!(refused, SourceError::User(user.to_owned()));
    }
}

#[tokio::test]
async fn of_an_error_no_more_than_exception_and_message_is_told() {
    let secret = "x".repeat(300) + "SECRET";
    let (server, _) = Namespace::with(1)
        .file("/f", &[(5, &[1])])
        .serve_with(move |ask| {
            let message = format!("line one\nline two {secret}");
            (ask.operation == "GETCONTENTSUMMARY").then(|| {
                let body = serde_json::json!({"RemoteException": {
                    "exception": "IOException", "message": message, "stackTrace": "SECRET",
                }, "token": "SECRET"});
                Reply::Json(403, body.to_string())
            })
        })
        .await;
    let scan = scanner(&[&server]).scan(&["/f".to_owned()]).await.unwrap();
    let told = scan.problems[0].1.to_string();
    assert!(
        told.starts_with("path /f: IOException: line one line two xxx"),
        "{told}"
    );
    assert!(!told.contains("SECRET"), "{told}");
    assert!(told.len() < 300, "{told}");
}
