//! A server that answers as a NameNode does, or as a test wants it to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger_hdfs::{AddressPolicy, Scanner, Settings, Source};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server at a port of its own. It ends with the test.
pub(crate) struct NameNode {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
    task: JoinHandle<()>,
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// `GET` and the like.
    pub(crate) method: String,
    /// As it was sent, up to the query.
    pub(crate) resource: String,
    /// Decoded, without `/webhdfs/v1`.
    pub(crate) path: String,
    /// `JMX`, or the operation.
    pub(crate) operation: String,
    /// Decoded.
    pub(crate) query: BTreeMap<String, String>,
}

/// What is answered.
pub(crate) enum Reply {
    /// A status and a body in JSON.
    Json(u16, String),
    /// Anything.
    Raw(Response<Full<Bytes>>),
    /// Nothing, for ever.
    Never,
}

impl NameNode {
    pub(crate) async fn start(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> NameNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, Arc::new(answer), asked.clone()));
        NameNode {
            address,
            asked,
            task,
        }
    }

    /// As a Dataset names it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Ask> {
        std::mem::take(&mut self.asked.lock())
    }

    /// How often it was asked for each operation since the last time.
    pub(crate) fn operations(&self) -> BTreeMap<String, usize> {
        let mut operations = BTreeMap::new();
        for ask in self.asked() {
            *operations.entry(ask.operation).or_default() += 1;
        }
        operations
    }
}

impl Drop for NameNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reply {
    /// What Hadoop answers when it cannot.
    pub(crate) fn exception(status: u16, exception: &str, message: &str) -> Reply {
        let body = serde_json::json!({"RemoteException": {
            "exception": exception,
            "javaClassName": format!("org.apache.hadoop.{exception}"),
            "message": message,
        }});
        Reply::Json(status, body.to_string())
    }
}

async fn serve(
    listener: TcpListener,
    answer: Arc<dyn Fn(&Ask) -> Reply + Send + Sync>,
    asked: Arc<Mutex<Vec<Ask>>>,
) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, asked) = (answer.clone(), asked.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let ask = Ask::of(&request);
            let reply = answer(&ask);
            asked.lock().push(ask);
            respond(reply)
        });
        connections.spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(reply: Reply) -> Result<Response<Full<Bytes>>, Infallible> {
    match reply {
        Reply::Json(status, body) => Ok(Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap()),
        Reply::Raw(response) => Ok(response),
        Reply::Never => std::future::pending().await,
    }
}

impl Ask {
    fn of(request: &Request<Incoming>) -> Ask {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let uri = request.uri();
        let pairs = uri.query().unwrap_or_default().split('&');
        let query: BTreeMap<_, _> = pairs
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        let path = uri.path().strip_prefix("/webhdfs/v1");
        let operation = match uri.path() {
            "/jmx" => "JMX".to_owned(),
            _ => query.get("op").cloned().unwrap_or_default(),
        };
        Ask {
            method: request.method().to_string(),
            resource: uri.path().to_owned(),
            path: path.map(decode).unwrap_or_default(),
            operation,
            query,
        }
    }
}

/// Settings under which a test does not wait.
pub(crate) fn settings() -> Settings {
    Settings::new(500_000, 100_000)
}

/// The machine itself is allowed: the servers of the tests are there.
pub(crate) fn here() -> Arc<AddressPolicy> {
    let loopback = ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    Arc::new(AddressPolicy::new(loopback, []))
}

/// A scanner of some servers.
pub(crate) fn scanner(servers: &[&NameNode]) -> Scanner {
    scanner_with(servers, settings())
}

pub(crate) fn scanner_with(servers: &[&NameNode], settings: Settings) -> Scanner {
    let source = Source {
        name_nodes: servers.iter().map(|server| server.url()).collect(),
        ..Source::default()
    };
    Scanner::new(&source, here(), settings).unwrap()
}
