//! A small HTTP service whose orders are stored once: it posts them to the function `orders` of its
//! integration sidecar, and knows nothing else of Outrigger.

mod connections;
mod metrics;
mod orders;
mod service;

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::metrics::Metrics;
use crate::orders::Orders;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_ansi(false).init();
    // Outrigger sets this in the pod's containers.
    let url = std::env::var("OUTRIGGER_ORDERS_URL").context(
        "OUTRIGGER_ORDERS_URL must be the address of the function `orders`, such as http://127.0.0.1:15000",
    )?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "0.0.0.0:8080".to_owned());

    let metrics = Arc::new(Metrics::default());
    let orders = Orders::at(&url, Arc::clone(&metrics))?;
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("LISTEN is {address}: cannot listen there"))?;
    let mut terminated = signal(SignalKind::terminate())?;
    tracing::info!(address, orders = url, "Started");
    axum::serve(listener, service::router(orders, metrics))
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
        .context("cannot serve")
}
