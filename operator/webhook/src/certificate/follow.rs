use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{CERTIFICATE_SECRET, CertificateError, Material};

/// What is known of the Secret.
#[derive(Clone, Default)]
pub(crate) enum Observed {
    /// It has not been read yet.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// It was read.
    Present(Arc<Secret>),
}

/// The certificate in use by this replica. New connections get the newest; open ones go on.
#[derive(Default)]
pub struct Certificates {
    serving: ArcSwapOption<CertifiedKey>,
    observed: watch::Sender<Observed>,
    authorities: watch::Sender<Option<String>>,
}

impl Certificates {
    /// None yet.
    pub fn new() -> Arc<Certificates> {
        Arc::default()
    }

    /// Takes over each change of the Secret in a namespace, until `stop`.
    pub async fn follow(&self, client: Client, namespace: &str, stop: CancellationToken) {
        let secrets = Api::<Secret>::namespaced(client, namespace);
        let mut changes =
            std::pin::pin!(watcher::watch_object(secrets, CERTIFICATE_SECRET).default_backoff());
        while let Some(Some(change)) = stop.run_until_cancelled(changes.next()).await {
            match change {
                Ok(secret) => self.observe(secret),
                Err(error) => {
                    tracing::warn!(%error, "Secret {CERTIFICATE_SECRET} cannot be watched; going on");
                }
            }
        }
    }

    /// Whether there is a certificate to serve with.
    pub fn is_loaded(&self) -> bool {
        self.serving.load().is_some()
    }

    /// Waits until there is a certificate to serve with.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`, so that the wait cannot fail.
        let _ = self.authorities().wait_for(Option::is_some).await;
    }

    /// The authorities that the API server is to trust, in PEM, and their changes.
    pub(crate) fn authorities(&self) -> watch::Receiver<Option<String>> {
        self.authorities.subscribe()
    }

    /// The Secret and its changes.
    pub(crate) fn observed(&self) -> watch::Receiver<Observed> {
        self.observed.subscribe()
    }

    /// Takes over the Secret as it is now. One that cannot be used leaves the former in use.
    pub(crate) fn observe(&self, secret: Option<Secret>) {
        match &secret {
            None => tracing::info!("Secret {CERTIFICATE_SECRET} does not exist yet"),
            Some(secret) => match self.load(secret) {
                Ok(()) => tracing::info!("serving certificate loaded"),
                Err(error) => tracing::warn!(%error, "serving certificate not loaded"),
            },
        }
        self.observed.send_replace(match secret {
            None => Observed::Absent,
            Some(secret) => Observed::Present(Arc::new(secret)),
        });
    }

    fn load(&self, secret: &Secret) -> Result<(), CertificateError> {
        let material = Material::from_secret(secret)?;
        material.authority_ders()?;
        let certified = material.certified_key()?;
        self.serving.store(Some(Arc::new(certified)));
        self.authorities.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&material.authorities);
            *known = Some(material.authorities);
            changed
        });
        Ok(())
    }

    /// How to serve TLS with the certificate in use.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(InUse(Arc::clone(self))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

struct InUse(Arc<Certificates>);

/// Without the keys.
impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InUse").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.serving.load_full()
    }
}
