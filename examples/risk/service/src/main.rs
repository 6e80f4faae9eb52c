//! A small HTTP service that adds up amounts: market data in HDFS, or positions in its own volume.
//! It tells how much of them it read from its own node, and knows nothing of Outrigger.

mod amounts;
mod market;
mod positions;
mod service;
mod webhdfs;

use std::env;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::market::Market;
use crate::positions::Positions;
use crate::service::{Risk, Source};
use crate::webhdfs::WebHdfs;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    let node = env::var("NODE_NAME")
        .context("NODE_NAME must be the name of the pod's node, from spec.nodeName")?;
    let source = source(&node)?;
    let address = env::var("LISTEN").unwrap_or_else(|_| "0.0.0.0:8080".to_owned());

    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("LISTEN is {address}: cannot listen there"))?;
    let mut terminated = signal(SignalKind::terminate())?;
    tracing::info!(address, node, "Started");
    let risk = Risk::new(node, source);
    tokio::spawn(first_look(risk.clone()));
    axum::serve(listener, service::router(risk))
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
        .context("cannot serve")
}

/// Says in the log what a request would answer now.
async fn first_look(risk: Risk) {
    match risk.exposure().await {
        Ok(exposure) => tracing::info!(?exposure, "The data can be read"),
        Err(error) => {
            let causes = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(error = causes, "The data cannot be read yet");
        }
    }
}

/// What is to be added up, by the environment.
fn source(node: &str) -> anyhow::Result<Source> {
    match (env::var("NAME_NODE_URL"), env::var("POSITIONS_DIR")) {
        (Ok(url), Err(_)) => {
            let path = env::var("DATA_PATH")
                .context("DATA_PATH must be a file or directory in HDFS, such as /market")?;
            let hdfs = WebHdfs::at(&url).with_context(|| {
                format!("NAME_NODE_URL is {url}: it must be like http://namenode.hdfs.svc:9870")
            })?;
            Ok(Source::Market(Market::new(hdfs, path, node)))
        }
        (Err(_), Ok(directory)) => Ok(Source::Positions(Positions::in_directory(directory))),
        (Ok(_), Ok(_)) => bail!("only one of NAME_NODE_URL and POSITIONS_DIR may be set"),
        (Err(_), Err(_)) => bail!("one of NAME_NODE_URL and POSITIONS_DIR must be set"),
    }
}
