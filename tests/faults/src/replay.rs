//! Recorded writes, asked of two API servers, whose answers are compared.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, ensure};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use outrigger_api_server::ApiServer;
use serde_json::{Map, Value, json};

/// What each server gives by itself.
const OWN: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];
/// A scheduler that does not exist: no pod runs, and none waits to end.
const NO_SCHEDULER: &str = "nobody";

/// What was asked of an API server, in its order.
pub struct Recording {
    /// What happened.
    pub name: String,
    /// The writes, as [`ApiServer::journal`] has them.
    pub steps: Vec<Value>,
}

impl Recording {
    /// Writes it into a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let steps: Vec<_> = self.steps.iter().map(Value::to_string).collect();
        let name = Value::from(self.name.as_str());
        let text = format!(
            "{{\"name\": {name}, \"steps\": [\n{}\n]}}\n",
            steps.join(",\n")
        );
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Reads all recordings of a directory, by name of the file.
    ///
    /// # Errors
    /// When one cannot be read, or there is none.
    pub fn read_all(directory: &Path) -> anyhow::Result<Vec<Recording>> {
        let place = || directory.display().to_string();
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(directory).with_context(place)? {
            paths.push(entry?.path());
        }
        paths.sort();
        ensure!(!paths.is_empty(), "no recording is in {}", place());
        paths.iter().map(|path| Recording::read(path)).collect()
    }

    fn read(path: &Path) -> anyhow::Result<Recording> {
        let place = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(place)?;
        let mut found: Value = serde_json::from_str(&text).with_context(place)?;
        let steps = found["steps"].take();
        Ok(Recording {
            name: found["name"].as_str().with_context(place)?.to_owned(),
            steps: serde_json::from_value(steps).with_context(place)?,
        })
    }

    /// Paths of the objects that it writes, each once.
    pub fn objects(&self) -> Vec<String> {
        let mut all: Vec<_> = self.steps.iter().map(target).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Asks a fresh API server in memory, and another one, for all steps. How their answers differ: one
/// text for each difference, with the step and both answers.
///
/// The one in memory may leave out fields that a real one fills in, but what it answers must be in
/// the other's answer too.
///
/// # Errors
/// When the other cannot be asked, or a step cannot be understood.
pub async fn replay(recording: &Recording, real: &Client) -> anyhow::Result<Vec<String>> {
    let fake = ApiServer::default().client();
    let (mut fake, mut real) = (Server::new(&fake), Server::new(real));
    let mut differences = Vec::new();
    for (number, step) in recording.steps.iter().enumerate() {
        let told = || format!("{}, step {number}: {step}", recording.name);
        let here = fake.take(step).await.with_context(told)?;
        let there = real.take(step).await.with_context(told)?;
        if let Some(what) = difference(step, &here, &there) {
            let (here, there) = (here.told(), there.told());
            let step = told();
            differences.push(format!(
                "{step}\n{what}\nin memory: {here}\nreal:      {there}"
            ));
        }
    }
    Ok(differences)
}

struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn told(&self) -> String {
        let mut body = self.body.clone();
        let metadata = body["metadata"].as_object_mut();
        metadata.map(|metadata| metadata.remove("managedFields"));
        format!("{} {body}", self.status)
    }
}

fn difference(step: &Value, here: &Answer, there: &Answer) -> Option<String> {
    let recorded = &step["status"];
    if recorded.is_number() && *recorded != here.status {
        return Some(format!("another status than {recorded}, which is recorded"));
    }
    if here.status != there.status {
        return Some("another status".to_owned());
    }
    if !here.is_success() {
        let same = here.body["reason"] == there.body["reason"];
        return (!same).then(|| "another reason".to_owned());
    }
    // What is deleted is answered as it was, or as it ends.
    let is_end = step["method"] == "DELETE" || here.body["kind"] == "Status";
    if is_end || step["method"].is_null() {
        return None;
    }
    let place = missing(&here.body, &there.body)?;
    Some(format!("another {place}"))
}

/// The first place where something is not in the other value.
fn missing(here: &Value, there: &Value) -> Option<String> {
    match (here, there) {
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .filter(|(name, value)| !OWN.contains(&name.as_str()) && !is_empty(value))
            .find_map(|(name, value)| {
                let inner = missing(value, &there[name])?;
                Some(format!(
                    "{name}{}{inner}",
                    if inner.is_empty() { "" } else { "." }
                ))
            }),
        (Value::Array(items), Value::Array(others)) if items.len() <= others.len() => {
            let mut both = items.iter().zip(others).enumerate();
            both.find_map(|(index, (item, other))| {
                missing(item, other).map(|inner| format!("{index}.{inner}"))
            })
        }
        _ => (here != there).then(String::new),
    }
}

/// What JSON of Kubernetes leaves out.
fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
}

/// A server, and the UIDs that it gave.
struct Server<'a> {
    client: &'a Client,
    uids: HashMap<String, String>,
}

impl Server<'_> {
    fn new(client: &Client) -> Server<'_> {
        Server {
            client,
            uids: HashMap::new(),
        }
    }

    async fn take(&mut self, step: &Value) -> anyhow::Result<Answer> {
        let path = target(step);
        let mut body = self.filled(&path, &step["body"]).await?;
        if let Some(uri) = step["uri"].as_str() {
            let method: Method = step["method"].as_str().context("no method")?.parse()?;
            let form = step["contentType"].as_str().unwrap_or_default();
            if method == Method::POST {
                unscheduled(&mut body);
            }
            return self.ask(method, uri, form, &path, &body).await;
        }
        if step["delete"].is_string() {
            return self
                .ask(Method::DELETE, &path, "application/json", &path, &json!({}))
                .await;
        }
        self.put(&path, body).await
    }

    /// Writes an object like somebody else does: as a whole at first, and then what others than the
    /// operator change.
    async fn put(&mut self, path: &str, mut body: Value) -> anyhow::Result<Answer> {
        let merge = "application/merge-patch+json";
        let status = body["status"].take();
        let known = self.get(path).await?;
        let is_pod = path.contains("/pods/");
        let mut answer = if !known.is_success() {
            let (collection, name) = path.rsplit_once('/').context("no name")?;
            body["metadata"]["name"] = name.into();
            unscheduled(&mut body);
            self.ask(Method::POST, collection, "application/json", path, &body)
                .await?
        } else if is_pod {
            known
        } else {
            let change = json!({"metadata": {
                "labels": body["metadata"]["labels"],
                "annotations": body["metadata"]["annotations"],
            }, "spec": body["spec"]});
            self.ask(Method::PATCH, path, merge, path, &change).await?
        };
        if !status.is_null() && answer.is_success() {
            let change = json!({"status": status});
            let uri = format!("{path}/status");
            answer = self.ask(Method::PATCH, &uri, merge, path, &change).await?;
        }
        ensure!(
            answer.is_success(),
            "{path} cannot be written: {}",
            answer.told()
        );
        Ok(answer)
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, "application/json", path, &Value::Null)
            .await
    }

    async fn ask(
        &mut self,
        method: Method,
        uri: &str,
        form: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let bytes = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let form = if form.is_empty() {
            "application/json"
        } else {
            form
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("Content-Type", form)
            .body(Body::from(bytes))?;
        let answer = self.client.send(request).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(uid) = body["metadata"]["uid"].as_str() {
            self.uids.insert(path.to_owned(), uid.to_owned());
        }
        Ok(Answer { status, body })
    }

    /// A body with the UIDs and versions of this server.
    async fn filled(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut version = Value::Null;
        if body.to_string().contains("${version}") {
            let found = self.get(path).await?;
            version = found.body["metadata"]["resourceVersion"].clone();
        }
        Ok(self.resolved(body, &version))
    }

    fn resolved(&self, value: &Value, version: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.resolved(value, version)))
                .collect(),
            Value::Array(items) => items
                .iter()
                .map(|item| self.resolved(item, version))
                .collect(),
            Value::String(text) if text == "${version}" => version.clone(),
            Value::String(text) if text == "${stale}" => "1".into(),
            Value::String(text) => {
                let path = text.strip_prefix("${uid ");
                let path = path.and_then(|rest| rest.strip_suffix('}'));
                let uid = path.and_then(|path| self.uids.get(path));
                uid.unwrap_or(text).as_str().into()
            }
            other => other.clone(),
        }
    }
}

/// Lets a new pod wait for ever, so that no kubelet changes it.
fn unscheduled(object: &mut Value) {
    let is_pod = object["spec"]["containers"].is_array();
    if let Some(spec) = object["spec"].as_object_mut().filter(|_| is_pod) {
        spec.remove("nodeName");
        spec.insert("schedulerName".to_owned(), NO_SCHEDULER.into());
    }
}

/// Path of the object that a step is about.
fn target(step: &Value) -> String {
    let others = step["put"].as_str().or(step["delete"].as_str());
    if let Some(path) = others {
        return path.to_owned();
    }
    let uri = step["uri"].as_str().unwrap_or_default();
    let path = uri.split('?').next().unwrap_or_default();
    if step["method"] == "POST" && !path.ends_with("/eviction") {
        let name = step["body"]["metadata"]["name"].as_str();
        return format!("{path}/{}", name.unwrap_or_default());
    }
    let subresources = ["/status", "/eviction"];
    let mut ends = subresources.iter().filter_map(|end| path.strip_suffix(end));
    ends.next().unwrap_or(path).to_owned()
}
