//! One kept HTTP/1.1 connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection with no request under way.
#[derive(Debug)]
pub(super) struct Connection {
    host: String,
    requests: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

/// An answer, read to its end.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) async fn open(target: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let driver = tokio::spawn(async move {
            // Its error is the answer's error as well, or the end of an idle connection.
            let _ = connection.await;
        });
        Ok(Connection {
            host: target.to_string(),
            requests,
            driver,
        })
    }

    /// Waits until the other side closes.
    pub(super) async fn closed(&mut self) {
        let _ = (&mut self.driver).await;
    }

    /// Sends a JSON document and reads the answer. Gives the connection back if it stays open.
    pub(super) async fn post(
        mut self,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(Reply, Option<Connection>)> {
        let request = Request::post(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let exchange = async {
            let response = self.requests.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>((parts, body))
        };
        let (parts, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .with_context(|| format!("no answer within {PATIENCE:?}"))??;
        let closing = parts
            .headers
            .get(CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let reply = Reply {
            status: parts.status,
            body,
        };
        Ok((reply, (!closing).then_some(self)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
