//! The documentation says what the code says: reasons, fields, examples, statements, figures,
//! events, values and links.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_api::{Dataset, IntegratedApp, IntegrationSidecar, manifests};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The project's pages, by their path from its root.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::from([("README.md".to_owned(), read("README.md"))]);
    let mut directories = vec!["docs".to_owned(), "examples".to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.ends_with(".md") {
                pages.insert(path.clone(), read(&path));
            }
        }
    }
    pages
}

/// The content of all fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut current: Option<(bool, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), current.take()) {
            (Some(found), None) => current = Some((found == language, String::new())),
            (Some(_), Some((wanted, block))) => blocks.extend(wanted.then_some(block)),
            (None, Some((wanted, block))) => current = Some((wanted, format!("{block}{line}\n"))),
            (None, None) => {}
        }
    }
    assert!(current.is_none(), "a fenced block does not end");
    blocks
}

fn prose(page: &str) -> String {
    let mut fenced = false;
    let lines = page.lines().filter(|line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names of the headings of one level below a heading of the level above.
fn headings_below<'p>(page: &'p str, parent: &str, level: &str) -> Vec<&'p str> {
    let above = &level[1..];
    page.lines()
        .skip_while(|line| *line != format!("{above} {parent}"))
        .skip(1)
        .take_while(|line| !line.starts_with(&format!("{above} ")))
        .filter_map(|line| line.strip_prefix(level)?.strip_prefix(' '))
        .collect()
}

#[test]
fn every_reason_has_its_section_in_order() {
    let source = read("crds/src/conditions.rs");
    let (_, reasons) = source.split_once("pub mod reason").unwrap();
    let reasons: Vec<_> = reasons
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const "))
        .map(|constant| constant.split('"').nth(1).unwrap())
        .collect();
    assert!(reasons.len() > 10, "{reasons:?}");
    let page = read("docs/troubleshooting.md");
    assert_eq!(headings_below(&page, "Reasons", "###"), reasons);
}

/// What of a value is not in another; `None` if all of it is.
fn missing(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match found.get(key) {
                Some(found) => missing(value, found, &path),
                None => Some(path),
            }
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(index, (wanted, found))| {
                missing(wanted, found, &format!("{path}[{index}]"))
            }),
        _ => (wanted != found).then(|| path.to_owned()),
    }
}

/// Reads an object of a kind without losing anything of it.
fn read_strictly<K: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: K = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    missing(object, &written, "").map_or(Ok(()), |path| Err(format!("{path} is no field")))
}

#[test]
fn every_example_of_a_kind_is_one() {
    let mut examples = 0;
    for (path, page) in pages() {
        for block in blocks(&page, "yaml") {
            let documents: Vec<Value> = serde_saphyr::from_multiple(&block)
                .unwrap_or_else(|error| panic!("{path}: no YAML: {error}\n{block}"));
            for document in documents {
                let kind = document["kind"].as_str().unwrap_or_default();
                let result = match kind {
                    "Dataset" => read_strictly::<Dataset>(&document),
                    "IntegratedApp" => read_strictly::<IntegratedApp>(&document),
                    "IntegrationSidecar" => read_strictly::<IntegrationSidecar>(&document),
                    _ => continue,
                };
                assert_eq!(document["apiVersion"], "outrigger.dev/v1alpha1", "{path}");
                result.unwrap_or_else(|error| panic!("{path}: {kind}: {error}\n{block}"));
                examples += 1;
            }
        }
    }
    assert!(examples >= 4, "{examples} examples");
}

#[test]
fn a_field_that_does_not_exist_is_noticed() {
    let object = serde_json::json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {"name": "shop"},
        "spec": {"sidecars": [{"name": "orders", "function": ["orders"]}]},
    });
    let error = read_strictly::<IntegratedApp>(&object).unwrap_err();
    assert_eq!(error, ".spec.sidecars[0].function is no field");
}

/// Kubernetes' own types, which its documentation describes.
const FOREIGN: [&str; 2] = ["selector", "conditions"];

/// Paths of all fields below a schema.
fn fields(schema: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        if !FOREIGN.contains(&name.as_str()) {
            fields(property, &format!("{path}."), found);
            fields(&property["items"], &format!("{path}[]."), found);
        }
        found.insert(path);
    }
}

/// What stands in code spans in the first column of the tables about fields.
fn described(page: &str) -> BTreeSet<String> {
    let mut in_table = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        in_table = line.starts_with("| field |") || (in_table && line.starts_with('|'));
        let first = line.split('|').nth(1).unwrap_or_default();
        if in_table {
            found.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_field_has_its_row_and_no_other() {
    for (manifest, page) in
        manifests()
            .iter()
            .zip(["dataset", "integratedapp", "integrationsidecar"])
    {
        assert!(manifest.file_name.starts_with(page));
        let definition = serde_json::to_value(&manifest.definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut expected = BTreeSet::new();
        for part in ["spec", "status"] {
            fields(&schema["properties"][part], "", &mut expected);
        }
        let described = described(&read(&format!("docs/{page}.md")));
        let differing: Vec<_> = expected.symmetric_difference(&described).collect();
        assert!(differing.is_empty(), "docs/{page}.md: {differing:?}");
    }
}

#[test]
fn the_statements_for_a_database_are_those_that_a_slot_runs() {
    let statements = read("sidecars/idempotency/src/store/schema.sql");
    let (_, statements) = statements.split_once('\n').unwrap();
    let page = read("docs/idempotency.md");
    assert!(blocks(&page, "sql").iter().any(|block| block == statements));
}

/// The string literals of a source file that satisfy a test.
fn literals(path: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let source = read(path);
    let found = source.split('"').skip(1).step_by(2);
    found
        .filter(|text| wanted(text))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_figure_and_every_event_is_listed() {
    let pages = [read("docs/operations.md"), read("docs/idempotency.md")].concat();
    let is_figure = |text: &str| {
        let ours = ["outrigger_", "idempotency_"].iter();
        ours.copied().any(|prefix| text.starts_with(prefix))
    };
    let is_event = |text: &str| {
        let capitals = text.bytes().filter(u8::is_ascii_uppercase).count();
        capitals > 1 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let mut told = literals("operator/controllers/src/sidecar/story.rs", is_event);
    assert!(told.len() > 8, "{told:?}");
    told.extend(literals(
        "operator/controllers/src/placement/story.rs",
        is_event,
    ));
    assert!(told.contains(&"PodPlaced".to_owned()), "{told:?}");
    for path in [
        "operator/runtime/src/metrics.rs",
        "operator/webhook/src/metrics.rs",
        "operator/controllers/src/eviction.rs",
        "operator/controllers/src/metrics.rs",
        "operator/controllers/src/dataset/metrics.rs",
        "operator/controllers/src/placement/metrics.rs",
        "operator/controllers/src/sidecar/metrics.rs",
        "sidecars/idempotency/src/metrics.rs",
    ] {
        let figures = literals(path, is_figure);
        assert!(!figures.is_empty(), "{path}");
        // Those that are made up of two parts begin alike.
        told.extend(
            figures
                .iter()
                .map(|name| name.trim_end_matches("{name}").to_owned()),
        );
    }
    told.retain(|name| !pages.contains(&format!("`{name}")));
    assert!(told.is_empty(), "{told:?}");
}

/// Paths of all values, but for what is Kubernetes' own below them.
fn values(value: &Value, prefix: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        match value.as_object() {
            Some(inner) if !inner.is_empty() && name != "resources" => {
                values(value, &format!("{path}."), found);
            }
            _ => found.push(path),
        }
    }
}

#[test]
fn every_value_of_the_chart_is_listed() {
    let page = read("docs/operations.md");
    let chart: Value = serde_saphyr::from_str(&read("charts/outrigger/values.yaml")).unwrap();
    let mut paths = Vec::new();
    values(&chart, "", &mut paths);
    assert!(paths.len() > 10, "{paths:?}");
    paths.retain(|path| !page.contains(&format!("`{path}`")));
    assert!(paths.is_empty(), "{paths:?}");
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<_, BTreeSet<_>> = pages
        .iter()
        .map(|(path, page)| {
            let headings = prose(page);
            let headings = headings.lines().filter(|line| line.starts_with('#'));
            (path.as_str(), headings.map(anchor).collect())
        })
        .collect();
    let mut dead = Vec::new();
    for (path, page) in &pages {
        let text = prose(page);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() {
                path.clone()
            } else {
                normal(Path::new(path).parent().unwrap().join(file))
            };
            let leads = root().join(&linked).exists()
                && (fragment.is_empty()
                    || anchors
                        .get(linked.as_str())
                        .is_some_and(|anchors| anchors.contains(fragment)));
            if !leads {
                dead.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// A relative path without `..`.
fn normal(path: PathBuf) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
