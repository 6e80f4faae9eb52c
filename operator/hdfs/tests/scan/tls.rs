use std::sync::Arc;

use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger_hdfs::{Scan, ScanError, Scanner, Source, SourceError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::name_node::{here, settings};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The port of an empty HDFS whose certificate names `localhost`.
async fn serve(authority: &Authority) -> u16 {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let query = request.uri().query().unwrap();
                let body = match query {
                    query if query.contains("GETCONTENTSUMMARY") => {
                        r#"{"ContentSummary":{"fileCount":0}}"#
                    }
                    query if query.contains("LISTSTATUS_BATCH") => {
                        r#"{"DirectoryListing":{"partialListing":{"FileStatuses":{"FileStatus":[]}},"remainingEntries":0}}"#
                    }
                    _ => r#"{"beans":[]}"#,
                };
                let response = Response::builder().header("content-type", "application/json");
                response.body(Full::new(bytes::Bytes::from(body)))
            });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

async fn scan(host: &str, port: u16, authorities: Option<String>) -> Result<Scan, ScanError> {
    let source = Source {
        name_nodes: vec![format!("https://{host}:{port}")],
        user: None,
        authorities: authorities.map(String::into_bytes),
    };
    let mut scanner = Scanner::new(&source, here(), settings()).unwrap();
    scanner.scan(&["/".to_owned()]).await
}

#[tokio::test]
async fn a_name_node_is_verified_by_the_given_authorities() {
    let authority = authority();
    let port = serve(&authority).await;
    let scan = scan("localhost", port, Some(authority.pem()))
        .await
        .unwrap();
    assert_eq!(scan.problems, []);
    assert_eq!(scan.paths.len(), 1);
}

#[tokio::test]
async fn a_name_node_that_cannot_be_verified_is_not_asked() {
    let ours = authority();
    let port = serve(&ours).await;
    let strangers = authority().pem();
    for (host, authorities) in [
        ("localhost", None),
        ("localhost", Some(strangers)),
        ("127.0.0.1", Some(ours.pem())),
    ] {
        let told = scan(host, port, authorities).await.unwrap_err().to_string();
        assert!(
            told.contains("cannot be reached: TLS: invalid peer certificate"),
            "{told}"
        );
    }
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let source = Source {
            name_nodes: vec!["https://namenode:9871".to_owned()],
            user: None,
            authorities: Some(pem.as_bytes().to_vec()),
        };
        let refused = Scanner::new(&source, here(), settings()).unwrap_err();
        assert!(matches!(refused, SourceError::Authorities(_)), "{refused}");
    }
}
