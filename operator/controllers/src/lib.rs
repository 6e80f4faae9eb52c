//! Controllers of IntegratedApp, IntegrationSidecar and Dataset.
//!
//! Each reads, validates, decides, applies and reports, a module for each step. A decision is a pure
//! function of what was read; only the first and the last two talk to the API server.

mod application;
mod call;
mod cluster;
mod context;
mod dataset;
mod drive;
mod events;
mod eviction;
mod metrics;
mod placement;
mod published;
mod relations;
mod seen;
mod sharing;
mod sidecar;
mod status;
mod succession;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use context::Setup;
pub use dataset::HdfsAccess;
pub use metrics::Metrics;

/// Runs all controllers until `stop`; only the replica that leads does so. The reflectors of
/// [`Setup::lookup`] have to run beside it.
///
/// Boxed, so that it is compiled here, once, and not in every program that awaits it.
pub fn run(setup: Setup, stop: CancellationToken) -> BoxFuture<'static, ()> {
    let work = async move {
        let access = setup.hdfs.clone();
        let (context, feeds) = context::Context::new(setup);
        tokio::join!(
            feeds.run(
                context.client.clone(),
                Arc::clone(&context.lookup),
                stop.clone()
            ),
            application::run(context.clone(), stop.clone()),
            dataset::run(context.clone(), access, stop.clone()),
            placement::run(context.clone(), stop.clone()),
            sharing::run(context.clone(), stop.clone()),
            sidecar::run(context, stop),
        );
    };
    work.boxed()
}
