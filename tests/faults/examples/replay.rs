//! Asks the API server in memory and the lab's for the same, and compares their answers.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use futures::FutureExt;
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use outrigger_faults::{Recording, replay};
use outrigger_lab::{Component, Lab};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::block_in_place;

/// Namespace of all recordings.
const NAMESPACE: &str = "store";
const NAMESPACES: &str = "/api/v1/namespaces";
/// What admission needs before a pod can be created.
const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/store/serviceaccounts/default";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
/// Who would write beside the recordings: it makes pods for ReplicaSets, and removes orphans.
const CONTROLLERS: &str = "kube-controller-manager";
const API_SERVER: &str = "kube-apiserver";
const PAUSE: Duration = Duration::from_millis(200);
/// Looks at what the cluster does by itself, before it is given up.
const LOOKS: usize = 300;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let recordings = Recording::read_all(&recordings)?;
    let lab = Lab::open().context("the lab is not up; `make lab-up` brings it up")?;
    // One that has just begun has forgotten all that was before.
    let api_server = lab.component(API_SERVER)?;
    block_in_place(|| api_server.kill().and_then(|()| api_server.start()))?;
    let config = Kubeconfig::read_from(lab.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;

    let (_, webhooks) = ask(&client, Method::GET, WEBHOOKS, &Value::Null).await?;
    let mut names = webhooks["items"].as_array().into_iter().flatten();
    let is_ours = |found: &Value| found["metadata"]["name"].to_string().contains("outrigger");
    ensure!(
        !names.any(is_ours),
        "an operator is installed in the lab, which would write too; uninstall it first"
    );
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let (status, answer) = ask(&client, Method::POST, NAMESPACES, &namespace).await?;
    ensure!(
        status == 201,
        "namespace {NAMESPACE} cannot be created, delete one that is left: {answer}"
    );
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let differences = tokio::select! {
        differences = AssertUnwindSafe(compared(&recordings, &client, &lab)).catch_unwind() => {
            differences.unwrap_or_else(|_| Err(anyhow!("panicked")))
        }
        _ = interrupt.recv() => Err(anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow!("terminated")),
    };
    let path = format!("{NAMESPACES}/{NAMESPACE}");
    ask(&client, Method::DELETE, &path, &json!({})).await?;
    until(&client, &path, 404).await?;
    let differences = differences?;
    ensure!(differences == 0, "{differences} answers differ");
    Ok(())
}

/// Replays all recordings, and tells of the differences. How many there are.
async fn compared(recordings: &[Recording], client: &Client, lab: &Lab) -> anyhow::Result<usize> {
    until(client, SERVICE_ACCOUNT, 200).await?;
    let _away = Away::send(lab.component(CONTROLLERS)?)?;
    let mut differences = 0;
    for recording in recordings {
        let found = replay(recording, client).await?;
        for difference in &found {
            say(difference)?;
        }
        let (name, steps, count) = (&recording.name, recording.steps.len(), found.len());
        say(&format!("{name}: {steps} steps, {count} answers differ"))?;
        differences += count;
        clear(client, recording).await?;
    }
    Ok(differences)
}

/// A component of the lab that does not run for as long as this is kept.
struct Away<'a>(Component<'a>);

impl<'a> Away<'a> {
    fn send(component: Component<'a>) -> anyhow::Result<Away<'a>> {
        let away = Away(component);
        block_in_place(|| away.0.stop())?;
        Ok(away)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if let Err(error) = block_in_place(|| self.0.start()) {
            let name = self.0.name();
            let _ = writeln!(io::stderr(), "{name} does not run again: {error}");
        }
    }
}

/// Deletes what a recording has left.
async fn clear(client: &Client, recording: &Recording) -> anyhow::Result<()> {
    let objects = recording.objects();
    let collections = objects.iter().filter_map(|path| path.rsplit_once('/'));
    let collections: BTreeSet<&str> = collections.map(|(collection, _)| collection).collect();
    for collection in collections {
        let now = json!({"gracePeriodSeconds": 0});
        ask(client, Method::DELETE, collection, &now).await?;
        let (_, left) = ask(client, Method::GET, collection, &Value::Null).await?;
        let is_empty = left["items"].as_array().is_some_and(Vec::is_empty);
        ensure!(is_empty, "{collection} cannot be emptied: {left}");
    }
    Ok(())
}

/// Waits until an object is answered with a status.
async fn until(client: &Client, path: &str, wanted: u16) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        if ask(client, Method::GET, path, &Value::Null).await?.0 == wanted {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{path} is not answered with {wanted}")
}

async fn ask(
    client: &Client,
    method: Method,
    uri: &str,
    body: &Value,
) -> anyhow::Result<(u16, Value)> {
    let bytes = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("Content-Type", "application/json")
        .body(Body::from(bytes))?;
    let answer = client.send(request).await.with_context(|| uri.to_owned())?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
