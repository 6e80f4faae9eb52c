use std::collections::BTreeSet;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::InferConfigError;
use kube::{Client, Config};

use crate::{ClientMetrics, Deadline};

/// Connecting may take this long.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer may take this long: more than a large list needs, less than a person's patience.
const ANSWER: Duration = Duration::from_secs(15);

/// There is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a service account nor a kubeconfig was found.
    #[error(
        "no way to the API server: {0}; run in a pod with a service account, or set KUBECONFIG"
    )]
    Configuration(#[from] InferConfigError),
    /// What was found cannot be used.
    #[error("the way to the API server cannot be used: {0}")]
    Client(#[from] kube::Error),
}

/// A client with the pod's service account or, outside of a cluster, the kubeconfig. It connects
/// when it is used first.
///
/// Nothing is tried again inside a call: whoever calls knows better when, and with what.
pub async fn connect(metrics: ClientMetrics) -> Result<Client, ConnectError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    let name = concat!("outrigger-operator/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(name)));
    let deadline = Deadline {
        patience: ANSWER,
        metrics,
    };
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&deadline)
        .build())
}

/// Names and addresses of the API server: the one that [`connect`] connects to and, in a pod, the
/// one of its Service.
pub async fn api_server_hosts() -> Result<BTreeSet<String>, ConnectError> {
    let config = Config::infer().await?;
    let url = config.cluster_url.host().map(str::to_owned);
    let service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    Ok(url.into_iter().chain(service).collect())
}
