//! What an API server sends, over TLS as it does.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) const SERVER_NAME: &str = "outrigger.outrigger-system.svc";

/// A review of a pod that is being created in namespace `store`.
pub(crate) fn review(pod: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "0c9a8d74",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "store",
            "operation": "CREATE",
            "userInfo": {"username": "someone"},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// A pod of IntegratedApp `shop` as a ReplicaSet makes it: with a prefix, and no namespace.
pub(crate) fn shop_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "shop-5d8-", "labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "web", "image": "web:1", "resources": {}}]},
    })
}

/// An API server's side of a connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects, trusting the authorities in PEM at a time.
    pub(crate) async fn open(
        address: SocketAddr,
        authorities: &str,
        clock: impl TimeProvider + 'static,
    ) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(authority?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(clock))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (sender, connection) = handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, hyper::Error> {
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a review and reads the response in the answer.
    pub(crate) async fn admit(&mut self, pod: &Value) -> Result<Value, String> {
        let request = post(review(pod).to_string());
        let answer = self
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        if answer.status() != 200 {
            return Err(format!("{}: {text}", answer.status()));
        }
        let review: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(review["response"].clone())
    }
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/inject")
        .header("host", SERVER_NAME)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The time as it is.
#[derive(Debug)]
pub(crate) struct RealTime;

impl TimeProvider for RealTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::now())
    }
}
