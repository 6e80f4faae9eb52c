use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use outrigger_controllers::{HdfsAccess, Setup};
use outrigger_lookup::Lookup;
use outrigger_runtime::{EssentialTasks, TaskError};
use outrigger_webhook::{Certificates, keep_certificate, keep_configuration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::arguments::RunArguments;

/// How long requests that are under way at the end of a term may take. Less than the election
/// allows, so that a slow API server does not end the process.
const GRACE: Duration = Duration::from_secs(3);

/// What only the leader does.
#[derive(Clone)]
pub(crate) struct Leader {
    pub(crate) client: Client,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) metrics: outrigger_controllers::Metrics,
    pub(crate) hdfs: HdfsAccess,
    pub(crate) arguments: RunArguments,
}

impl Leader {
    /// Works for one term.
    pub(crate) async fn run(self, term: CancellationToken) -> Result<(), TaskError> {
        let mut tasks = EssentialTasks::new();
        let (accepted, covered) = watch::channel(BTreeSet::new());
        let setup = Setup {
            client: self.client.clone(),
            lookup: Arc::clone(&self.lookup),
            settings: self.arguments.slots(),
            holder_image: self.arguments.holder_image.clone(),
            covered,
            hdfs: self.hdfs.clone(),
            instance: self.arguments.pod_name.clone(),
            metrics: self.metrics.clone(),
        };
        tasks.spawn(
            "the controllers",
            outrigger_controllers::run(setup, term.clone()),
        );
        let (leader, end) = (self.clone(), term.clone());
        tasks.spawn("the certificate's keeper", async move {
            let RunArguments {
                place,
                webhook_service,
                ..
            } = &leader.arguments;
            keep_certificate(
                leader.client,
                &leader.certificates,
                &place.namespace,
                webhook_service,
                Timestamp::now,
                end,
            )
            .await;
        });
        let end = term.clone();
        tasks.spawn("the webhook configuration's keeper", async move {
            keep_configuration(
                self.client,
                &self.arguments.configuration(),
                &self.certificates,
                self.lookup.namespaces(),
                accepted,
                end,
            )
            .await;
        });
        let late = async {
            term.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = tasks.run(&term) => return ended,
            () = late => {}
        }
        // What is cut off here is found again by the next leader.
        tracing::info!("work of the term was still under way and is cut off");
        tasks.abort().await;
        Ok(())
    }
}
