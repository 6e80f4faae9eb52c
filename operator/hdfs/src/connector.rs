use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::error::{ServerError, SourceError};
use crate::policy::{AddressPolicy, Refused};

/// Connects to addresses that a policy allows. A name is resolved here and nowhere else, and the
/// connection goes to the very address that was checked: a name that resolves differently the next
/// time gains nothing.
#[derive(Clone)]
pub(crate) struct Connector {
    policy: Arc<AddressPolicy>,
    tls: TlsConnector,
    timeout: Duration,
}

/// A connection, plain or with TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Connector {
    pub(crate) fn new(
        policy: Arc<AddressPolicy>,
        authorities: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Connector, SourceError> {
        let unusable = |error: &dyn std::fmt::Display| SourceError::Authorities(error.to_string());
        let roots = match authorities {
            Some(pem) => roots(pem)?,
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector {
            policy,
            tls: TlsConnector::from(Arc::new(config)),
            timeout,
        })
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Box<dyn Io>>, ServerError> {
        let within = self.timeout;
        timeout(within, self.connect_at_leisure(uri))
            .await
            .unwrap_or_else(|_| {
                Err(ServerError::Connect(format!(
                    "no connection within {within:?}"
                )))
            })
    }

    async fn connect_at_leisure(self, uri: Uri) -> Result<TokioIo<Box<dyn Io>>, ServerError> {
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = self.reach(host, port).await?;
        let failed = |error: &dyn std::fmt::Display| ServerError::Connect(error.to_string());
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        if !secure {
            return Ok(TokioIo::new(Box::new(stream)));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| ServerError::Connect(format!("TLS: {error}")))?;
        Ok(TokioIo::new(Box::new(stream)))
    }

    /// Connects to the first address of a host that is allowed and listens.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ServerError> {
        let resolved = lookup_host((host, port)).await;
        let resolved = resolved
            .map_err(|error| ServerError::Connect(format!("its name is not known: {error}")))?;
        let (mut allowed, mut refused) = (Vec::<SocketAddr>::new(), Vec::<Refused>::new());
        for address in resolved {
            match self.policy.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(refusal) => refused.push(refusal),
            }
        }
        if allowed.is_empty() && !refused.is_empty() {
            let host = host.to_owned();
            return Err(ServerError::Refused {
                host,
                addresses: refused,
            });
        }
        // One address that swallows everything leaves time for the others.
        let each = self.timeout / u32::try_from(allowed.len().max(1)).unwrap_or(u32::MAX);
        let mut last = "its name has no address".to_owned();
        for address in allowed {
            let connected = timeout(each, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(ServerError::Connect(last))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = ServerError;
    type Future = BoxFuture<'static, Result<Self::Response, ServerError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ServerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.clone().connect(uri).boxed()
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, SourceError> {
    let unusable = |error: &dyn std::fmt::Display| SourceError::Authorities(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    match roots.is_empty() {
        true => Err(unusable(&"they hold no certificate")),
        false => Ok(roots),
    }
}
