//! Asks the API server in memory and the lab's for the same, and compares their answers.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use futures::FutureExt;
use http::Method;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use outrigger_faults::{Answer, JSON, Recording, ask, replay};
use outrigger_lab::{Component, Lab};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    // From now on no signal ends it before the lab is as it was.
    let mut signals = Signals::listen()?;
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let recordings = Recording::read_all(&recordings)?;
    let lab = Lab::open().context("the lab is not up; `make lab-up` brings it up")?;
    let config = Kubeconfig::read_from(lab.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;

    signals.or(check(&client)).await?;
    let compared = signals.or(compared(&recordings, &client, &lab)).await;
    let removed = remove(&client).await;
    let removed = removed.with_context(|| format!("namespace {NAMESPACE} is left"));
    let differences = match (compared, removed) {
        (Err(first), Err(second)) => return Err(first.context(format!("{second:#}"))),
        (compared, removed) => removed.and(compared)?,
    };
    ensure!(differences == 0, "{differences} answers differ");
    Ok(())
}

/// Looks for who would be disturbed, or would disturb.
async fn check(client: &Client) -> anyhow::Result<()> {
    let webhooks = get(client, WEBHOOKS).await?.body;
    let mut names = webhooks["items"].as_array().into_iter().flatten();
    let is_ours = |found: &Value| found["metadata"]["name"].to_string().contains("outrigger");
    ensure!(
        !names.any(is_ours),
        "an operator is installed in the lab, which would write too; uninstall it first"
    );
    let found = get(client, &format!("{NAMESPACES}/{NAMESPACE}")).await?;
    ensure!(
        found.status == 404,
        "namespace {NAMESPACE} must not be there, delete one that is left: {}",
        found.body
    );
    Ok(())
}

/// Replays all recordings, and tells of the differences. How many there are.
async fn compared(recordings: &[Recording], client: &Client, lab: &Lab) -> anyhow::Result<usize> {
    // One that has just begun has forgotten all that was before.
    let api_server = lab.component(API_SERVER)?;
    block_in_place(|| api_server.kill().and_then(|()| api_server.start()))?;
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let answer = ask(client, Method::POST, NAMESPACES, JSON, &namespace).await?;
    ensure!(
        answer.is_success(),
        "namespace {NAMESPACE} cannot be created: {}",
        answer.body
    );
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

/// Deletes the namespace, if there is one, and waits until it is gone.
async fn remove(client: &Client) -> anyhow::Result<()> {
    let path = format!("{NAMESPACES}/{NAMESPACE}");
    ask(client, Method::DELETE, &path, JSON, &json!({})).await?;
    until(client, &path, 404).await
}

/// The signals that ask it to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// What some work comes to, unless one of them comes first. A panic is an error too.
    async fn or<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Err(anyhow!("interrupted")),
            _ = self.terminate.recv() => Err(anyhow!("terminated")),
            _ = self.hangup.recv() => Err(anyhow!("hung up")),
            done = AssertUnwindSafe(work).catch_unwind() => {
                done.unwrap_or_else(|_| Err(anyhow!("panicked")))
            }
        }
    }
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
        ask(client, Method::DELETE, collection, JSON, &now).await?;
        let left = get(client, collection).await?.body;
        let is_empty = left["items"].as_array().is_some_and(Vec::is_empty);
        ensure!(is_empty, "{collection} cannot be emptied: {left}");
    }
    Ok(())
}

/// Waits until an object is answered with a status.
async fn until(client: &Client, path: &str, wanted: u16) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        if get(client, path).await?.status == wanted {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{path} is not answered with {wanted}")
}

async fn get(client: &Client, path: &str) -> anyhow::Result<Answer> {
    ask(client, Method::GET, path, JSON, &Value::Null).await
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
