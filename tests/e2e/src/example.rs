//! The files below `examples/`, as they are, and as a test changes them.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::project;

/// The objects of an example, in the order in which its kustomization lists them.
#[derive(Clone, Debug)]
pub struct Example {
    objects: Vec<Value>,
}

#[derive(Deserialize)]
struct Kustomization {
    resources: Vec<String>,
}

impl Example {
    /// Reads an example by the name of its directory.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn read(name: &str) -> anyhow::Result<Example> {
        let directory = project::root().join("examples").join(name);
        let kustomization = directory.join("kustomization.yaml");
        let Kustomization { resources } = documents(&kustomization)?
            .into_iter()
            .next()
            .with_context(|| format!("{} is empty", kustomization.display()))
            .and_then(|value| Ok(serde_json::from_value(value)?))?;
        let mut objects = Vec::new();
        for file in resources {
            objects.extend(documents(&directory.join(file))?);
        }
        Ok(Example { objects })
    }

    /// Puts all of it into another namespace.
    ///
    /// # Errors
    /// When an object has no metadata.
    pub fn into_namespace(mut self, namespace: &str) -> anyhow::Result<Example> {
        for object in &mut self.objects {
            let field = match object["kind"].as_str() {
                Some("Namespace") => "name",
                _ => "namespace",
            };
            let metadata = object["metadata"].as_object_mut();
            let metadata = metadata.context("an object has no metadata")?;
            metadata.insert(field.to_owned(), namespace.into());
        }
        Ok(self)
    }

    /// The same application again under another name: its workload, and the IntegratedApp.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn renamed(&self, name: &str) -> anyhow::Result<Example> {
        let mut renamed = self.clone();
        let labels = json!({"app.kubernetes.io/name": name});
        let deployment = renamed.object("Deployment")?;
        deployment["metadata"]["name"] = json!(name);
        deployment["spec"]["selector"]["matchLabels"] = labels.clone();
        deployment["spec"]["template"]["metadata"]["labels"] = labels;
        let application = renamed.object("IntegratedApp")?;
        application["metadata"]["name"] = json!(name);
        application["spec"]["workloadRef"]["name"] = json!(name);
        Ok(renamed)
    }

    /// The object of a kind, to change.
    ///
    /// # Errors
    /// When there is none.
    pub fn object(&mut self, kind: &str) -> anyhow::Result<&mut Value> {
        let mut objects = self.objects.iter_mut();
        let found = objects.find(|object| object["kind"] == kind);
        found.with_context(|| format!("the example has no {kind}"))
    }

    /// The objects of some kinds, in order.
    pub fn of_kinds(&self, kinds: &[&str]) -> Vec<Value> {
        let is_one = |object: &&Value| kinds.iter().any(|kind| object["kind"] == **kind);
        self.objects.iter().filter(is_one).cloned().collect()
    }

    /// The objects, in order.
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }
}

/// The documents of a YAML file.
///
/// # Errors
/// When it cannot be read.
pub fn documents(file: &Path) -> anyhow::Result<Vec<Value>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{name} is no YAML"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn another_namespace_is_that_of_every_object() {
        let example = Example::read("checkout").unwrap();
        let moved = example.into_namespace("elsewhere").unwrap();
        for object in moved.objects() {
            let metadata = &object["metadata"];
            let found = match object["kind"] == "Namespace" {
                true => &metadata["name"],
                false => &metadata["namespace"],
            };
            assert_eq!(found, "elsewhere", "{object}");
        }
    }

    #[test]
    fn the_kustomization_lists_every_file() {
        let directory = project::root().join("examples/checkout");
        let mut count = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let is_yaml = path.extension().is_some_and(|end| end == "yaml");
            if is_yaml && !path.ends_with("kustomization.yaml") {
                count += documents(&path).unwrap().len();
            }
        }
        let example = Example::read("checkout").unwrap();
        assert_eq!(example.objects().len(), count);
    }
}
