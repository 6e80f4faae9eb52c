use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::request::answer;
use crate::{Applications, Certificates, Injector, Metrics};

/// Connections at a time; an API server opens one per concurrent request. Others wait in the backlog.
const MAX_CONNECTIONS: usize = 512;
/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(4);
/// For the head of the next request. API servers close idle connections after 90 s, and are to be
/// the ones who do.
const NEXT_REQUEST: Duration = Duration::from_secs(120);
/// Pause after a failed accept, such as for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How the server ends.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// How long new connections are still taken after `stop`, until API servers have learned that
    /// this replica is going.
    pub linger: Duration,
    /// How long open requests may take after that.
    pub drain: Duration,
}

impl Default for ServeOptions {
    /// 5 s each.
    fn default() -> ServeOptions {
        ServeOptions {
            linger: Duration::from_secs(5),
            drain: Duration::from_secs(5),
        }
    }
}

/// Serves the webhook until `stop`, then lets open requests end.
///
/// Without a certificate connections end in the handshake; see [`Certificates::loaded`]. An error
/// means that TLS cannot be set up at all.
pub async fn serve<A: Applications>(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    injector: Arc<Injector<A>>,
    metrics: Metrics,
    options: ServeOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let config = certificates.server_config().map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(config);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut end = std::pin::pin!(async {
        stop.cancelled().await;
        tokio::time::sleep(options.linger).await;
    });
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut end => break,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let (injector, metrics) = (Arc::clone(&injector), metrics.clone());
        let (acceptor, watcher) = (acceptor.clone(), connections.watcher());
        tokio::spawn(async move {
            let _place = place;
            let Some(tls) = handshake(&acceptor, stream).await else {
                return;
            };
            let service = service_fn(move |request| {
                let answer = answer(Arc::clone(&injector), metrics.clone(), request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(NEXT_REQUEST)
                .serve_connection(TokioIo::new(tls), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if timeout(options.drain, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still open at the end");
    }
    Ok(())
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    // Small answers must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}
