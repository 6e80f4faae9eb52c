//! TCP connections that are counted when they open, and when the sidecar ends them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower::Service;

use crate::metrics::Metrics;

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<Counted>, tower::BoxError>> + Send>>;

/// Opens counted connections.
#[derive(Clone, Debug)]
pub(crate) struct CountingConnector {
    inner: HttpConnector,
    metrics: Arc<Metrics>,
}

impl CountingConnector {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let mut inner = HttpConnector::new();
        inner.set_nodelay(true);
        CountingConnector { inner, metrics }
    }
}

impl Service<Uri> for CountingConnector {
    type Response = TokioIo<Counted>;
    type Error = tower::BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            let stream = connecting.await?.into_inner();
            metrics.opened.inc();
            let end = End {
                counted: Arc::default(),
                metrics,
            };
            Ok(TokioIo::new(Counted { stream, end }))
        })
    }
}

/// The end of a connection by the sidecar, which is counted once. Each answer has that of its
/// connection among its extensions.
#[derive(Clone, Debug)]
pub(crate) struct End {
    counted: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl End {
    /// Counts the end, unless it was counted before.
    pub(crate) fn count(&self) {
        if !self.counted.swap(true, Ordering::Relaxed) {
            self.metrics.closed.inc();
        }
    }

    fn count_if_failed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|_| self.count())
    }
}

/// A connection whose end is counted when it is read or when something cannot be sent. A drop is
/// not counted: the client's pool drops a connection that it has no use for, such as a new one
/// that opens when its request has got another.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    end: End,
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.end.clone())
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if before > 0 && buffer.remaining() == before {
            self.end.count();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.end.count_if_failed(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.end.count_if_failed(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a counted connection, and the counters.
    async fn connection() -> (TokioIo<Counted>, TcpStream, Arc<Metrics>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let metrics = Arc::new(Metrics::default());
        let mut connector = CountingConnector::new(Arc::clone(&metrics));
        let client = connector.call(uri.parse().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!((metrics.opened.get(), metrics.closed.get()), (1, 0));
        (client, server, metrics)
    }

    #[tokio::test]
    async fn an_end_that_is_read_is_counted_once() {
        let (client, mut server, metrics) = connection().await;
        let mut client = client.into_inner();
        server.write_all(b"bye").await.unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), metrics.closed.get()), ("bye", 1));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        assert_eq!(metrics.closed.get(), 1);
    }

    #[tokio::test]
    async fn a_reset_is_counted_whether_reading_or_writing_meets_it() {
        for writes in [false, true] {
            let (client, server, metrics) = connection().await;
            let mut client = client.into_inner();
            server.set_zero_linger().unwrap();
            drop(server);
            let failed = match writes {
                false => client.read(&mut [0]).await.is_err(),
                true => client.write(b"order").await.is_err(),
            };
            assert!(failed);
            assert_eq!(metrics.closed.get(), 1);
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_client_drops_is_not_counted() {
        let (client, mut server, metrics) = connection().await;
        drop(client);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(metrics.closed.get(), 0);
    }
}
