//! A slot's function behind HTTP on loopback, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger_chassis::{Builder, Function, Functions, InvalidDocument, Secrets};
use outrigger_control::Document;
use outrigger_idempotency::IdempotencyBuilder;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::server::Database;

const SECRET: &str = "orders-database";

/// What the operator would write for an application.
#[derive(Clone)]
pub(crate) struct Configuration {
    pub(crate) application: &'static str,
    pub(crate) parameters: Value,
    pub(crate) postgresql: Value,
}

impl Configuration {
    pub(crate) fn new(database: &Database) -> Configuration {
        Configuration {
            application: "checkout",
            parameters: json!({ "keyFields": ["/orderId"] }),
            postgresql: json!({
                "host": database.server.address.to_string(),
                "database": database.name,
                "credentials": { "secretName": SECRET },
                "sslMode": "Disable",
            }),
        }
    }

    pub(crate) fn key_fields(mut self, pointers: &[&str]) -> Configuration {
        self.parameters["keyFields"] = json!(pointers);
        self
    }

    pub(crate) fn parameter(mut self, name: &str, value: impl Into<Value>) -> Configuration {
        self.parameters[name] = value.into();
        self
    }

    pub(crate) fn store(mut self, field: &str, value: impl Into<Value>) -> Configuration {
        self.postgresql[field] = value.into();
        self
    }

    pub(crate) fn application(mut self, name: &'static str) -> Configuration {
        self.application = name;
        self
    }

    fn document(&self) -> Document {
        serde_json::from_value(json!({
            "v": 1,
            "application": { "namespace": "shop", "name": self.application },
            "sidecar": "orders",
            "functions": [{
                "name": "entries",
                "port": 15100,
                "kind": { "idempotency": [{
                    "source": "IntegrationSidecar orders functions[0].idempotency",
                    "values": { "parameters": self.parameters },
                }] },
            }],
            "postgresql": self.postgresql,
        }))
        .unwrap()
    }
}

/// One slot.
pub(crate) struct Sidecar {
    builder: Arc<IdempotencyBuilder>,
    registry: Registry,
    secrets: Arc<TempDir>,
    function: Arc<Mutex<Arc<dyn Function>>>,
    address: SocketAddr,
}

impl Sidecar {
    /// A slot for the database, with the usual parameters.
    pub(crate) async fn new(database: &Database) -> Sidecar {
        Sidecar::start(database, &Configuration::new(database)).await
    }

    pub(crate) async fn start(database: &Database, configuration: &Configuration) -> Sidecar {
        let secrets = Arc::new(mount(database));
        Sidecar::with(Arc::default(), secrets, configuration).await
    }

    /// Another application that shares the slot.
    pub(crate) async fn neighbour(&self, configuration: &Configuration) -> Sidecar {
        let secrets = Arc::clone(&self.secrets);
        Sidecar::with(Arc::clone(&self.builder), secrets, configuration).await
    }

    async fn with(
        builder: Arc<IdempotencyBuilder>,
        secrets: Arc<TempDir>,
        configuration: &Configuration,
    ) -> Sidecar {
        let mut registry = Registry::default();
        builder.register(&mut registry);
        let function = build(&builder, &secrets, configuration).unwrap();
        let function = Arc::new(Mutex::new(function));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::clone(&function)));
        Sidecar {
            builder,
            registry,
            secrets,
            function,
            address,
        }
    }

    /// Takes another configuration, or refuses it and goes on.
    pub(crate) fn configure(&self, configuration: &Configuration) -> Result<(), InvalidDocument> {
        *self.function.lock() = build(&self.builder, &self.secrets, configuration)?;
        Ok(())
    }

    /// Changes the mounted Secret as kubelet does: all keys at one moment.
    pub(crate) fn rotate(&self, username: &str, password: &str) {
        write(&self.secrets, "..next", username, password);
        let folder = self.secrets.path().join(SECRET);
        let link = folder.join("..data_tmp");
        std::os::unix::fs::symlink("..next", &link).unwrap();
        std::fs::rename(link, folder.join("..data")).unwrap();
    }

    /// Whether the function could answer at once, or what preflight and status say.
    pub(crate) async fn warm(&self) -> Result<(), String> {
        let function = Arc::clone(&self.function.lock());
        function.warm().await.map_err(|reason| reason.to_string())
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// A plain connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Connection {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Connection(sender)
    }

    /// Posts a document on a connection of its own.
    pub(crate) async fn post(&self, document: impl Into<Bytes>) -> Answer {
        self.client().await.post(document).await
    }

    /// Reads an entry.
    pub(crate) async fn get(&self, index: i64) -> Answer {
        let request = Request::get(format!("/v1/entries/{index}"));
        let request = request.body(Full::default()).unwrap();
        self.client().await.send(request).await
    }
}

fn build(
    builder: &IdempotencyBuilder,
    secrets: &TempDir,
    configuration: &Configuration,
) -> Result<Arc<dyn Function>, InvalidDocument> {
    let secrets = Secrets::new(secrets.path());
    let functions: Functions = builder.build(&configuration.document(), &secrets)?;
    Ok(functions.into_values().next().unwrap())
}

/// A Secret as kubelet mounts it: keys are links through a folder that is replaced in one step.
fn mount(database: &Database) -> TempDir {
    let secrets = tempfile::tempdir().unwrap();
    write(&secrets, "..first", &database.user, &database.password);
    let folder = secrets.path().join(SECRET);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
    link("..first", "..data");
    link("..data/username", "username");
    link("..data/password", "password");
    if let Some(authority) = &database.authority {
        std::fs::write(folder.join("..first/ca.crt"), authority).unwrap();
        link("..data/ca.crt", "ca.crt");
    }
    secrets
}

fn write(secrets: &TempDir, version: &str, username: &str, password: &str) {
    let folder = secrets.path().join(SECRET).join(version);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("username"), username).unwrap();
    std::fs::write(folder.join("password"), password).unwrap();
}

async fn serve(listener: TcpListener, function: Arc<Mutex<Arc<dyn Function>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let function = Arc::clone(&function);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            let answer = Arc::clone(&function.lock()).call(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        // A client that breaks off is no failure of the server.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// A kept connection.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn post(&mut self, document: impl Into<Bytes>) -> Answer {
        let request = Request::post("/v1/entries").header("content-type", "application/json");
        let body = Full::new(document.into());
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Answer {
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert("host", host);
        self.0.ready().await.unwrap();
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn index(&self) -> i64 {
        self.json()["index"].as_i64().unwrap()
    }

    /// The index of a document that was stored now.
    #[track_caller]
    pub(crate) fn stored(&self) -> i64 {
        assert_eq!(self.status, StatusCode::CREATED, "{self:?}");
        let index = self.index();
        assert_eq!(self.json(), json!({ "index": index }));
        assert_eq!(self.headers["location"], format!("/v1/entries/{index}"));
        index
    }

    /// The index of the entry that holds the key, and its copy.
    #[track_caller]
    pub(crate) fn known(&self) -> (i64, Value) {
        assert_eq!(self.status, StatusCode::CONFLICT, "{self:?}");
        (self.index(), self.json()["entry"].clone())
    }

    /// The detail of a problem of a kind.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:outrigger:problem:{kind}"));
        assert_eq!(problem["status"], status);
        let detail = problem["detail"].as_str().unwrap();
        detail.to_owned()
    }

    /// When to try again, in seconds.
    #[track_caller]
    pub(crate) fn retry_after(&self) -> u32 {
        self.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }
}
