use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

/// What was asked of an API server, in its order.
pub struct Recording {
    /// What happened.
    pub name: String,
    /// Writes, as [`journal`](outrigger_api_server::ApiServer::journal) has them, and reads: `method`,
    /// `uri` and `status`. A watch also has `events`, the types of those that it is answered with,
    /// and `meanwhile`, a step that is taken when it has begun.
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
        let writes = self.steps.iter().filter(|step| step["method"] != "GET");
        let mut all: Vec<_> = writes.map(target).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Path of the object that a step is about.
pub(crate) fn target(step: &Value) -> String {
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
