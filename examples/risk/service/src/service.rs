//! The service's own HTTP.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;

use crate::amounts::Amounts;
use crate::market::{self, Market};
use crate::positions::{self, Positions};

/// Most bytes of positions that are stored under one name.
const MAX_POSITIONS_BYTES: usize = 16 << 20;

/// What is added up.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Files in HDFS.
    Market(Market),
    /// Files in a volume.
    Positions(Positions),
}

/// What was added up, and where it was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exposure {
    /// The node that the pod is on.
    node: String,
    pub(crate) files: u64,
    /// Blocks of the files, in HDFS only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocks: Option<u64>,
    pub(crate) total_bytes: u64,
    /// Bytes that the DataNode on the pod's own node holds, and that were read from it, in HDFS only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local_bytes: Option<u64>,
    #[serde(flatten)]
    pub(crate) amounts: Amounts,
}

impl Exposure {
    /// Nothing yet, in a pod on `node`.
    pub(crate) fn on(node: &str) -> Self {
        Exposure {
            node: node.to_owned(),
            files: 0,
            blocks: None,
            total_bytes: 0,
            local_bytes: None,
            amounts: Amounts::default(),
        }
    }
}

/// Nothing was added up, or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The market data cannot be had.
    #[error("the market data cannot be read")]
    Market(#[from] market::Problem),
    /// The volume cannot be used.
    #[error("the positions cannot be used")]
    Positions(#[from] positions::Problem),
    /// There is no volume.
    #[error("this service has no positions: it reads market data")]
    NoPositions,
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Risk {
    node: String,
    source: Source,
    /// Held while the data are read: they are large, so one request reads them at a time.
    reading: Arc<Mutex<()>>,
}

impl Risk {
    /// A service on `node`.
    pub(crate) fn new(node: String, source: Source) -> Self {
        Risk {
            node,
            source,
            reading: Arc::default(),
        }
    }

    /// Reads all data and adds them up.
    pub(crate) async fn exposure(&self) -> Result<Exposure, Problem> {
        let _reading = self.reading.lock().await;
        Ok(match &self.source {
            Source::Market(market) => market.exposure().await?,
            Source::Positions(positions) => positions.exposure(&self.node).await?,
        })
    }

    async fn store(&self, name: &str, amounts: &[u8]) -> Result<(), Problem> {
        match &self.source {
            Source::Market(_) => Err(Problem::NoPositions),
            Source::Positions(positions) => Ok(positions.store(name, amounts).await?),
        }
    }
}

/// `GET /exposure`, `PUT /positions/NAME`, `GET /healthz`.
pub(crate) fn router(risk: Risk) -> Router {
    Router::new()
        .route("/exposure", get(show_exposure))
        .route("/positions/{name}", put(store_positions))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(MAX_POSITIONS_BYTES))
        .with_state(risk)
}

async fn show_exposure(State(risk): State<Risk>) -> Response {
    match risk.exposure().await {
        Ok(exposure) => Json(exposure).into_response(),
        Err(error) => problem(error),
    }
}

async fn store_positions(
    State(risk): State<Risk>,
    Path(name): Path<String>,
    amounts: Bytes,
) -> Response {
    match risk.store(&name, &amounts).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(error),
    }
}

/// An error as RFC 9457 wants it.
fn problem(error: Problem) -> Response {
    let status = match &error {
        Problem::Market(_) => StatusCode::BAD_GATEWAY,
        Problem::Positions(positions::Problem::Name(_)) => StatusCode::BAD_REQUEST,
        Problem::Positions(positions::Problem::File { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
        Problem::NoPositions => StatusCode::NOT_FOUND,
    };
    let causes = format!("{:#}", anyhow::Error::from(error));
    tracing::warn!(error = causes, "A request failed");
    let body = json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": causes,
    });
    (
        status,
        [(CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use http::header::HOST;
    use http::{HeaderMap, Request, Uri};
    use http_body_util::{BodyExt, Full};
    use serde_json::Value;
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;
    use crate::webhdfs::WebHdfs;

    /// Who was asked for bytes: `address offset`, in order.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// An HDFS with the directory `/market`, in it a file of three blocks with an amount each. It
    /// listens on every loopback address: node-1 is 127.0.0.1, node-2 is 127.0.0.2, and node-3,
    /// 127.0.0.3, cannot read its disk.
    async fn hdfs() -> (WebHdfs, Asked) {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Asked::default();
        let router = Router::new()
            .fallback(get(answer_as_hdfs))
            .with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = format!("http://127.0.0.1:{port}");
        (WebHdfs::at(&url).unwrap(), asked)
    }

    async fn answer_as_hdfs(State(asked): State<Asked>, headers: HeaderMap, uri: Uri) -> Response {
        let path = uri.path().strip_prefix("/webhdfs/v1").unwrap();
        let query: Vec<&str> = uri.query().unwrap().split('&').collect();
        let value = |name: &str| query.iter().find_map(|pair| pair.strip_prefix(name));
        let (address, port) = headers[HOST].to_str().unwrap().split_once(':').unwrap();
        let status = |name: &str, kind: &str| json!({"pathSuffix": name, "type": kind});
        let block = |offset: u64, nodes: &[u8]| {
            let hosts: Vec<String> = nodes.iter().map(|node| format!("node-{node}")).collect();
            let names: Vec<String> = nodes
                .iter()
                .map(|node| format!("127.0.0.{node}:9866"))
                .collect();
            json!({"offset": offset, "length": 4, "hosts": hosts, "names": names})
        };
        let one_file = |blocks: Value| json!({"BlockLocations": {"BlockLocation": blocks}});
        let listing = |entries: Value| json!({"FileStatuses": {"FileStatus": entries}});
        let answer = match (value("op=").unwrap(), path) {
            ("LISTSTATUS", "/market") => {
                listing(json!([status("eu", "DIRECTORY"), status("empty", "FILE")]))
            }
            ("LISTSTATUS", "/market/eu") => listing(json!([status("a b", "FILE")])),
            ("LISTSTATUS", "/lost") => listing(json!([status("", "FILE")])),
            ("GETFILEBLOCKLOCATIONS", "/market/empty") => one_file(json!([])),
            ("GETFILEBLOCKLOCATIONS", "/market/eu/a%20b") => one_file(json!([
                block(0, &[2, 1]),
                block(4, &[3, 2]),
                block(8, &[1])
            ])),
            ("GETFILEBLOCKLOCATIONS", "/lost") => one_file(json!([block(0, &[])])),
            ("OPEN", path) if value("noredirect=").is_some() => {
                let (offset, length) = (value("offset=").unwrap(), value("length=").unwrap());
                let query = format!(
                    "op=OPEN&namenoderpcaddress=namenode:8020&offset={offset}&length={length}"
                );
                let location = format!("http://node-9:{port}/webhdfs/v1{path}?{query}");
                json!({ "Location": location })
            }
            ("OPEN", "/market/eu/a%20b") => {
                assert_eq!(value("namenoderpcaddress="), Some("namenode:8020"));
                let offset: i32 = value("offset=").unwrap().parse().unwrap();
                asked.lock().await.push(format!("{address} {offset}"));
                return match address {
                    "127.0.0.3" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    _ => (100 + offset).to_le_bytes().into_response(),
                };
            }
            (_, path) => {
                let message = format!("File {path} does not exist.");
                let body = json!({"RemoteException": {"message": message}});
                return (StatusCode::NOT_FOUND, Json(body)).into_response();
            }
        };
        Json(answer).into_response()
    }

    fn market(hdfs: WebHdfs, path: &str, node: &str) -> Router {
        let market = Market::new(hdfs, path.to_owned(), node);
        router(Risk::new(node.to_owned(), Source::Market(market)))
    }

    fn positions(directory: &std::path::Path) -> Router {
        let source = Source::Positions(Positions::in_directory(directory));
        router(Risk::new("node-1".to_owned(), source))
    }

    async fn answer(router: &Router, request: Request<Full<Bytes>>) -> (StatusCode, Value) {
        let request = request.map(axum::body::Body::new);
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        (status, json)
    }

    async fn exposure(router: &Router) -> (StatusCode, Value) {
        let request = Request::get("/exposure").body(Full::default()).unwrap();
        answer(router, request).await
    }

    async fn store(router: &Router, name: &str, amounts: &[i32]) -> (StatusCode, Value) {
        let bytes: Vec<u8> = amounts.iter().flat_map(|each| each.to_le_bytes()).collect();
        let request = Request::put(format!("/positions/{name}"));
        answer(router, request.body(Full::from(bytes)).unwrap()).await
    }

    #[tokio::test]
    async fn blocks_are_read_from_the_own_node_first() {
        for (node, local_bytes, expected) in [
            ("node-1", 8, ["127.0.0.1 0", "127.0.0.2 4", "127.0.0.1 8"]),
            ("node-2", 8, ["127.0.0.2 0", "127.0.0.2 4", "127.0.0.1 8"]),
        ] {
            let (hdfs, asked) = hdfs().await;
            let (status, found) = exposure(&market(hdfs, "/market/", node)).await;
            let all = json!({
                "node": node, "files": 2, "blocks": 3, "totalBytes": 12, "localBytes": local_bytes,
                "amounts": 3, "sum": 312, "smallest": 100, "largest": 108,
            });
            assert_eq!((status, found), (StatusCode::OK, all));
            // The copy on node-3 may have been tried in vain.
            let mut asked = asked.lock().await.clone();
            asked.retain(|asked| !asked.starts_with("127.0.0.3"));
            assert_eq!(asked, expected, "on {node}");
        }
    }

    #[tokio::test]
    async fn a_copy_that_cannot_be_read_is_not_the_last_word() {
        let (hdfs, asked) = hdfs().await;
        let (status, found) = exposure(&market(hdfs, "/market", "node-3")).await;
        assert_eq!((status, &found["sum"]), (StatusCode::OK, &json!(312)));
        // Tried on its own node, read from another one: not local.
        assert_eq!(found["localBytes"], 0);
        let asked = asked.lock().await.join(", ");
        assert!(asked.contains("127.0.0.3 4, 127.0.0.2 4"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_market_data_is_told() {
        for (path, expected) in [
            ("/lost", "no DataNode holds the block at 0 of /lost"),
            (
                "/none",
                "it answered 404 Not Found: File /none does not exist.",
            ),
        ] {
            let (hdfs, _) = hdfs().await;
            let (status, problem) = exposure(&market(hdfs, path, "node-1")).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(expected), "{detail}");
        }
    }

    #[tokio::test]
    async fn stored_positions_are_added_up() {
        let directory = tempfile::tempdir().unwrap();
        let positions = positions(directory.path());
        for (name, amounts) in [("fx.1", [1, 2]), ("bonds", [-40, 7]), ("fx.1", [3, 4])] {
            let (status, _) = store(&positions, name, &amounts).await;
            assert_eq!(status, StatusCode::NO_CONTENT);
        }
        std::fs::create_dir(directory.path().join("lost+found")).unwrap();
        std::fs::write(directory.path().join(".half"), [1; 6]).unwrap();
        let expected = json!({
            "node": "node-1", "files": 2, "totalBytes": 16,
            "amounts": 4, "sum": -26, "smallest": -40, "largest": 7,
        });
        assert_eq!(exposure(&positions).await, (StatusCode::OK, expected));
    }

    #[tokio::test]
    async fn positions_are_stored_in_their_directory_only() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("positions");
        std::fs::create_dir(&inside).unwrap();
        for name in ["..%2Foutside", ".hidden", "a%20b", &"a".repeat(65)] {
            let (status, _) = store(&positions(&inside), name, &[1]).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{name}");
        }
        let found = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(found, 1);

        let (hdfs, _) = hdfs().await;
        let (status, _) = store(&market(hdfs, "/market", "node-1"), "fx", &[1]).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_volume_that_is_away_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let away = directory.path().join("away");
        let (status, problem) = exposure(&positions(&away)).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("cannot list {}", away.display())),
            "{detail}"
        );
    }
}
