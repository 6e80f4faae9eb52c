//! Every file below `examples/` does what it says.

use std::path::{Path, PathBuf};

use anyhow::Context;
use outrigger_e2e::example::{Example, documents};
use outrigger_e2e::{fetch, project};
use serde_json::{Value, json};

use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(every_file_of_the_examples_is_taken_by_the_api_server),
        test!(the_checkout_example_stores_an_order_once),
    ]
}

async fn every_file_of_the_examples_is_taken_by_the_api_server(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut files = Vec::new();
    manifests(&project::root().join("examples"), &mut files)?;
    assert!(files.len() >= 5, "{files:?}");
    // The namespace first, and all that is in it afterwards.
    files.sort_by_key(|file| !file.ends_with("namespace.yaml"));
    for file in files {
        for mut object in documents(&file)? {
            let metadata = object["metadata"].as_object_mut().context("no metadata")?;
            let field = match metadata.contains_key("namespace") {
                true => "namespace",
                false => "name",
            };
            metadata.insert(field.to_owned(), scene.namespace.into());
            if object["kind"] == "Deployment" {
                // Its image is not to be had under that name here.
                object["spec"]["replicas"] = json!(0);
            }
            let taken = scene.cluster().apply_one(&object).await;
            taken.with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// The files with Kubernetes objects.
fn manifests(directory: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_manifest = path.extension().is_some_and(|end| end == "yaml")
            && !path.ends_with("kustomization.yaml");
        if path.is_dir() {
            manifests(&path, into)?;
        } else if is_manifest {
            into.push(path);
        }
    }
    Ok(())
}

async fn the_checkout_example_stores_an_order_once(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    // As in the files, but for images and the database.
    let written = Example::read("checkout")?.object("Deployment")?["spec"]["replicas"].clone();
    example.object("Deployment")?["spec"]["replicas"] = written;
    let shop = scene.open(&example).await?;
    let mut first: Option<Value> = None;
    for target in shop.targets().await? {
        let url = format!("http://{target}/orders");
        let tea = json!({"orderId": "7", "items": ["tea"]});
        let answer = fetch::post(&url, tea.to_string()).await?;
        let Some(first) = &first else {
            assert_eq!(answer.status, 201, "{}", answer.text());
            first = Some(answer.json()?);
            continue;
        };
        let milk = json!({"orderId": "7", "items": ["milk"]});
        let answer = fetch::post(&url, milk.to_string()).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found: Value = answer.json()?;
        assert_eq!(found["index"], first["index"]);
        assert_eq!(found["order"], tea);
    }
    // Malformed, truncated and ambiguous documents are refused in the sidecar's own words.
    let url = format!("http://{}/orders", shop.targets().await?[0]);
    for (document, status, word) in [
        (r#"{"orderId": "8", }"#, 400, "malformed-json"),
        (r#"{"orderId": "8""#, 400, "truncated-json"),
        (
            r#"{"orderId": "8", "orderId": "9"}"#,
            400,
            "duplicate-member",
        ),
        (r#"{"items": []}"#, 422, "missing-key-field"),
        (r#"[1]"#, 422, "not-an-object"),
    ] {
        let answer = fetch::post(&url, document).await?;
        let text = answer.text();
        assert_eq!(answer.status, status, "{document}: {text}");
        assert!(text.contains(word), "{document}: {text}");
    }
    let rows = "SELECT count(*) FROM outrigger_entries";
    assert_eq!(scene.database.count(rows).await?, 1);
    Ok(())
}
