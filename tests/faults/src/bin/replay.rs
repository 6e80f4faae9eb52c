//! Asks the API server in memory and the real one of `KUBECONFIG` for the same writes, and compares
//! their answers. Without `KUBECONFIG`, a second one in memory is asked.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use outrigger_api_server::ApiServer;
use outrigger_faults::{Recording, replay};
use serde_json::{Value, json};

/// Namespace of all recordings.
const NAMESPACE: &str = "store";
const NAMESPACES: &str = "/api/v1/namespaces";
/// What admission needs before a pod can be created.
const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/store/serviceaccounts/default";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const PAUSE: Duration = Duration::from_millis(200);
/// Looks at what the cluster does by itself, before it is given up.
const LOOKS: usize = 300;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let recordings = Recording::read_all(&recordings)?;
    let differences = match std::env::var_os("KUBECONFIG") {
        Some(_) => against_real(&recordings).await?,
        None => {
            say("KUBECONFIG is not set: the API server in memory is compared with itself")?;
            let mut all = 0;
            for recording in &recordings {
                all += told(recording, &ApiServer::default().client()).await?;
            }
            all
        }
    };
    ensure!(differences == 0, "{differences} answers differ");
    Ok(())
}

async fn against_real(recordings: &[Recording]) -> anyhow::Result<usize> {
    let client = Client::try_default().await?;
    let (_, webhooks) = ask(&client, Method::GET, WEBHOOKS, &Value::Null).await?;
    let mut names = webhooks["items"].as_array().into_iter().flatten();
    let is_ours = |found: &Value| found["metadata"]["name"].to_string().contains("outrigger");
    ensure!(
        !names.any(is_ours),
        "an operator is installed in the cluster, which would write too; uninstall it first"
    );
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let (status, answer) = ask(&client, Method::POST, NAMESPACES, &namespace).await?;
    ensure!(
        status == 201,
        "namespace {NAMESPACE} cannot be created, delete one that is left: {answer}"
    );
    let work = async {
        until(&client, SERVICE_ACCOUNT, 200).await?;
        let mut differences = 0;
        for recording in recordings {
            differences += told(recording, &client).await?;
            clear(&client, recording).await?;
        }
        anyhow::Ok(differences)
    };
    let differences = work.await;
    let path = format!("{NAMESPACES}/{NAMESPACE}");
    ask(&client, Method::DELETE, &path, &json!({})).await?;
    until(&client, &path, 404).await?;
    differences
}

/// Replays a recording, and tells of the differences. How many there are.
async fn told(recording: &Recording, real: &Client) -> anyhow::Result<usize> {
    let differences = replay(recording, real).await?;
    for difference in &differences {
        say(difference)?;
    }
    let (name, steps) = (&recording.name, recording.steps.len());
    say(&format!(
        "{name}: {steps} steps, {} answers differ",
        differences.len()
    ))?;
    Ok(differences.len())
}

/// Deletes what a recording has left.
async fn clear(client: &Client, recording: &Recording) -> anyhow::Result<()> {
    for path in recording.objects() {
        let now = json!({"gracePeriodSeconds": 0});
        ask(client, Method::DELETE, &path, &now).await?;
        until(client, &path, 404).await?;
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
