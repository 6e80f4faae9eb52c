//! The control port of the load: it starts and ends runs, and tells of them.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::record::{Outcome, Plan, Sample};
use crate::traffic::Traffic;

/// The control port.
pub const PORT: u16 = 8080;

#[derive(Default)]
struct Load {
    running: Mutex<Option<Traffic>>,
    samples: Mutex<Vec<Sample>>,
}

/// Serves the control port until the process is told to stop.
///
/// # Errors
/// When the port cannot be had.
pub fn main() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {PORT}"))?;
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let served = axum::serve(listener, router());
        tokio::select! {
            served = served => served.context("cannot serve"),
            _ = stop.recv() => Ok(()),
        }
    })
}

/// `POST /run` with a [`Plan`], `GET /run`, `DELETE /run` for its [`Outcome`], and `GET /samples` of
/// the last run that ended.
fn router() -> Router {
    let run = post(start).get(progress).delete(stop);
    Router::new()
        .route("/run", run)
        .route("/samples", get(samples))
        .with_state(Arc::new(Load::default()))
}

async fn start(
    State(load): State<Arc<Load>>,
    Json(plan): Json<Plan>,
) -> Result<StatusCode, (StatusCode, String)> {
    let refused = |status, error: String| Err((status, error));
    if load.running.lock().is_some() {
        return refused(StatusCode::CONFLICT, "a run is under way".to_owned());
    }
    match Traffic::start(plan).await {
        Ok(traffic) => {
            *load.running.lock() = Some(traffic);
            Ok(StatusCode::NO_CONTENT)
        }
        Err(error) => refused(StatusCode::BAD_GATEWAY, format!("{error:#}")),
    }
}

async fn progress(State(load): State<Arc<Load>>) -> Result<Json<Outcome>, StatusCode> {
    let running = load.running.lock();
    let running = running.as_ref().ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(running.progress()))
}

async fn stop(State(load): State<Arc<Load>>) -> Result<Json<Outcome>, StatusCode> {
    let running = load.running.lock().take().ok_or(StatusCode::NOT_FOUND)?;
    let (outcome, samples) = running.stop().await;
    *load.samples.lock() = samples;
    Ok(Json(outcome))
}

async fn samples(State(load): State<Arc<Load>>) -> Vec<u8> {
    Sample::encode(&load.samples.lock())
}
