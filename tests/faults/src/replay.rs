//! Recorded requests, asked of two API servers, whose answers are compared.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use futures::future::try_join;
use http::Method;
use kube::Client;
use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::difference::difference;
use crate::recording::{Recording, target};
use crate::request::{Answer, JSON, ask, send, whole};

/// A scheduler that does not exist: no pod runs, and none waits to end.
const NO_SCHEDULER: &str = "nobody";

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
        let both = try_join(fake.take(step), real.take(step));
        let (here, there) = both.await.with_context(told)?;
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

/// A server, and what it gave.
struct Server<'a> {
    client: &'a Client,
    uids: HashMap<String, String>,
    /// Version of the last list.
    listed: String,
    /// Where the next page of the last list begins.
    next: String,
}

impl Server<'_> {
    fn new(client: &Client) -> Server<'_> {
        Server {
            client,
            uids: HashMap::new(),
            listed: String::new(),
            next: String::new(),
        }
    }

    async fn take(&mut self, step: &Value) -> anyhow::Result<Answer> {
        let path = target(step);
        let mut body = self.filled(&path, &step["body"]).await?;
        if let Some(uri) = step["uri"].as_str() {
            let method: Method = step["method"].as_str().context("no method")?.parse()?;
            let content_type = step["contentType"].as_str();
            let content_type = content_type.filter(|given| !given.is_empty());
            let content_type = content_type.unwrap_or(JSON);
            if method == Method::POST {
                unscheduled(&mut body);
            }
            let uri = self.placed(uri);
            if uri.contains("watch=true") {
                return self.watch(&uri, &step["meanwhile"]).await;
            }
            return self.ask(method, &uri, content_type, &path, &body).await;
        }
        if step["delete"].is_string() {
            return self
                .ask(Method::DELETE, &path, JSON, &path, &json!({}))
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
            self.ask(Method::POST, collection, JSON, path, &body)
                .await?
        } else if is_pod {
            known
        } else {
            let mut object = known.body;
            for field in ["labels", "annotations"] {
                object["metadata"][field] = body["metadata"][field].take();
            }
            for (field, value) in body.as_object_mut().into_iter().flatten() {
                if !["metadata", "status"].contains(&field.as_str()) {
                    object[field] = value.take();
                }
            }
            self.ask(Method::PUT, path, JSON, path, &object).await?
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
        self.ask(Method::GET, path, JSON, path, &Value::Null).await
    }

    /// Watches to the end. What happens meanwhile begins when the watch has begun.
    async fn watch(&mut self, uri: &str, meanwhile: &Value) -> anyhow::Result<Answer> {
        let answer = send(self.client, Method::GET, uri, JSON, &Value::Null).await?;
        if meanwhile.is_object() {
            Box::pin(self.take(meanwhile)).await?;
        }
        let status = answer.status();
        if !status.is_success() {
            return whole(answer).await;
        }
        let bytes = answer.into_body().collect_bytes().await?;
        let events = serde_json::Deserializer::from_slice(&bytes).into_iter();
        let mut events: Vec<Value> = events.collect::<Result<_, _>>()?;
        // A real server repeats a bookmark as often as there is time.
        events.dedup_by(|next, event| event["type"] == "BOOKMARK" && next == event);
        Ok(Answer {
            status: status.as_u16(),
            body: events.into(),
        })
    }

    async fn ask(
        &mut self,
        method: Method,
        uri: &str,
        content_type: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let answer = ask(self.client, method, uri, content_type, body).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &answer.body["metadata"];
        if answer.body["items"].is_array() {
            self.listed = text(&metadata["resourceVersion"]);
            self.next = text(&metadata["continue"]);
        }
        if let Some(uid) = metadata["uid"].as_str() {
            self.uids.insert(path.to_owned(), uid.to_owned());
        }
        Ok(answer)
    }

    /// A path with the version and the token of this server.
    fn placed(&self, uri: &str) -> String {
        uri.replace("${listed}", &self.listed)
            .replace("${continue}", &self.next)
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
