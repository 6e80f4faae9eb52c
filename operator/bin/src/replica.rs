use std::io;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use outrigger_controllers::HdfsAccess;
use outrigger_lookup::{Lookup, Reflectors};
use outrigger_runtime::{
    Backoff, ClientMetrics, ConnectError, ElectionMetrics, Elector, EssentialTasks, Readiness,
    ReadyHandle, TaskError, TelemetryError, Timing, VersionError, api_server_hosts, connect,
    init_telemetry, listen, on_signal, registry, require_version, serve_admin,
};
use outrigger_webhook::{Certificates, Injector, ServeOptions, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::arguments::RunArguments;
use crate::identity::{IdentityError, username};
use crate::leader::Leader;

/// Pauses between questions to an API server that does not answer at the start.
const START: Backoff = Backoff {
    first: Duration::from_secs(1),
    limit: Duration::from_secs(15),
};

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("signals cannot be handled: {0}")]
    Signals(io::Error),
    #[error("port {port} cannot be listened on: {error}")]
    Listen { port: u16, error: io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Runs a replica until SIGTERM or SIGINT, or until something essential fails.
pub(crate) async fn run(arguments: RunArguments) -> Result<(), RunError> {
    init_telemetry(arguments.log_format)?;
    let stop = on_signal().map_err(RunError::Signals)?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, pod = arguments.pod_name, "operator starting");

    let mut registry = registry();
    let client_metrics = ClientMetrics::register(&mut registry);
    let election_metrics = ElectionMetrics::register(&mut registry);
    let webhook_metrics = outrigger_webhook::Metrics::register(&mut registry);
    let controller_metrics = outrigger_controllers::Metrics::register(&mut registry);

    let readiness = Readiness::default();
    let server_known = readiness.condition("API server answered");
    let stores_synced =
        readiness.condition("IntegratedApps, IntegrationSidecars and Datasets read");
    let certificate_loaded = readiness.condition("serving certificate loaded");

    let webhook_listener = bind(arguments.webhook_port).await?;
    let admin_listener = bind(arguments.http_port).await?;
    let client = connect(client_metrics).await?;
    let hdfs = HdfsAccess {
        api_server: api_server_hosts().await?.into_iter().collect(),
        allowed: arguments.hdfs_allowed_addresses.clone(),
    };
    let mut tasks = EssentialTasks::new();
    // What the webhook needs goes on until it has answered its last request.
    let served = CancellationToken::new();
    tasks.spawn_fallible(
        "the admin server",
        serve_admin(admin_listener, readiness, registry, served.clone()),
    );
    match stop.run_until_cancelled(supported(&client)).await {
        None => return Ok(()),
        Some(supported) => supported?,
    }
    server_known.set(true);
    let user = username(&client).await?;

    let (lookup, reflectors) = Lookup::new(client.clone());
    let certificates = Certificates::new();
    tasks.spawn("the reflectors", follow(reflectors, served.clone()));
    let (follower, namespace) = (Arc::clone(&certificates), arguments.place.namespace.clone());
    let (follower_client, follower_stop) = (client.clone(), served.clone());
    tasks.spawn("the certificate's follower", async move {
        follower
            .follow(follower_client, &namespace, follower_stop)
            .await;
    });
    let webhook = Webhook {
        listener: webhook_listener,
        certificates: Arc::clone(&certificates),
        lookup: Arc::clone(&lookup),
        injector: Injector::new(Arc::clone(&lookup), arguments.slots(), user),
        metrics: webhook_metrics,
        stores_synced,
        certificate_loaded,
    };
    tasks.spawn_fallible("the webhook", webhook.run(stop.clone(), served));

    let elector = Elector::new(
        client.clone(),
        &arguments.place.namespace,
        &arguments.pod_name,
        Timing::default(),
        election_metrics,
    );
    let leader = Leader {
        client,
        certificates,
        lookup,
        metrics: controller_metrics,
        hdfs,
        arguments,
    };
    let election_stop = stop.clone();
    tasks.spawn_fallible("the election", async move {
        let work = |term| leader.clone().run(term);
        elector.run(work, election_stop).await
    });
    tasks.run(&stop).await?;
    tracing::info!("operator stopped");
    Ok(())
}

async fn bind(port: u16) -> Result<TcpListener, RunError> {
    listen(port)
        .await
        .map_err(|error| RunError::Listen { port, error })
}

/// Waits until the API server answers; an error means that it is too old.
async fn supported(client: &Client) -> Result<(), VersionError> {
    let mut failures = 0;
    loop {
        match require_version(client).await {
            Ok(version) => {
                tracing::info!(%version, "API server answered");
                return Ok(());
            }
            Err(VersionError::Unreadable(error)) => {
                failures += 1;
                tracing::warn!(%error, "API server did not answer; trying again");
                tokio::time::sleep(START.pause(failures, 0.0)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn follow(reflectors: Reflectors, stop: CancellationToken) {
    reflectors.run(stop).await;
}

/// The admission webhook of one replica.
struct Webhook {
    listener: TcpListener,
    certificates: Arc<Certificates>,
    lookup: Arc<Lookup>,
    injector: Arc<Injector<Arc<Lookup>>>,
    metrics: outrigger_webhook::Metrics,
    stores_synced: ReadyHandle,
    certificate_loaded: ReadyHandle,
}

impl Webhook {
    /// Serves from when it can answer rightly, until `stop` and a while longer, and says then that
    /// it has `served`.
    async fn run(self, stop: CancellationToken, served: CancellationToken) -> io::Result<()> {
        let _end = served.drop_guard();
        let prepared = async {
            let stores = async {
                if self.lookup.synced().await {
                    self.stores_synced.set(true);
                }
            };
            let certificate = async {
                self.certificates.loaded().await;
                self.certificate_loaded.set(true);
            };
            tokio::join!(stores, certificate);
        };
        if stop.run_until_cancelled(prepared).await.is_none() {
            return Ok(());
        }
        tracing::info!("webhook serving");
        let options = ServeOptions::default();
        let (listener, certificates) = (self.listener, self.certificates);
        serve(
            listener,
            certificates,
            self.injector,
            self.metrics,
            options,
            stop,
        )
        .await
    }
}
