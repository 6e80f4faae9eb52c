//! Objects that cannot work are refused, or their condition says why, in words that name the
//! object, the field, what was found and what is allowed.

use outrigger_api::conditions::reason;
use serde_json::{Value, json};

use crate::scene::{Scene, Test, remove, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_function_without_its_store_is_refused),
        test!(credentials_that_are_not_two_are_refused),
        test!(an_unknown_sidecar_is_named),
        test!(the_older_of_two_applications_serves_a_pod),
        test!(sidecars_whose_functions_clash_are_named),
        test!(pods_that_cannot_have_their_sidecars_are_refused),
    ]
}

async fn a_function_without_its_store_is_refused(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    scene
        .cluster()
        .apply(&example.of_kinds(&["Namespace"]))
        .await?;
    let sidecar = example.object("IntegrationSidecar")?;
    remove(&mut sidecar["spec"], "store");
    let refusal = scene.refusal(sidecar).await?;
    let expected = "a function of kind idempotency needs store.postgresql";
    assert!(refusal.contains(expected), "{refusal}");
    Ok(())
}

async fn credentials_that_are_not_two_are_refused(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    scene
        .cluster()
        .apply(&example.of_kinds(&["Namespace"]))
        .await?;
    let sidecar = example.object("IntegrationSidecar")?;
    let secret = json!({"secretName": "one"});
    let token = json!({"serviceAccountToken": {"audience": "one"}});
    let both = json!({"secretName": "one", "serviceAccountToken": {"audience": "one"}});
    for (credentials, expected) in [
        (
            json!({}),
            "at least one of credentials.application and credentials.system must be set",
        ),
        (
            json!({"system": {}}),
            "exactly one of secretName and serviceAccountToken must be set",
        ),
        (
            json!({"system": both}),
            "exactly one of secretName and serviceAccountToken must be set",
        ),
        (
            json!({"application": secret, "system": secret}),
            "credentials.application.secretName and credentials.system.secretName must be different Secrets",
        ),
        (
            json!({"application": token, "system": token}),
            "credentials.application.serviceAccountToken.audience and credentials.system.serviceAccountToken.audience must be different",
        ),
    ] {
        sidecar["spec"]["credentials"] = credentials;
        let refusal = scene.refusal(sidecar).await?;
        assert!(refusal.contains(expected), "{refusal}");
    }
    Ok(())
}

async fn an_unknown_sidecar_is_named(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("IntegratedApp")?["spec"]["sidecars"][0]["name"] = json!("order");
    let kinds = ["Namespace", "Secret", "IntegrationSidecar", "IntegratedApp"];
    scene.cluster().apply(&example.of_kinds(&kinds)).await?;
    let message = scene
        .unready_application("checkout", reason::SIDECAR_NOT_FOUND)
        .await?;
    for words in ["sidecars[0].name", "\"order\"", scene.namespace] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    // With its sidecar it is Ready.
    example.object("IntegratedApp")?["spec"]["sidecars"][0]["name"] = json!("orders");
    scene.cluster().apply(&example.of_kinds(&kinds)).await?;
    scene.ready_application("checkout").await
}

async fn the_older_of_two_applications_serves_a_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let shop = scene.open(&example).await?;
    let younger = example.object("IntegratedApp")?;
    younger["metadata"]["name"] = json!("younger");
    scene.cluster().apply_one(younger).await?;
    let message = scene
        .unready_application("younger", reason::POD_ALREADY_ADOPTED)
        .await?;
    assert!(message.contains("checkout"), "{message}");
    // The older one goes on as before.
    shop.application_ready().await?;
    Ok(())
}

async fn sidecars_whose_functions_clash_are_named(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let kinds = ["Namespace", "Secret", "IntegrationSidecar"];
    scene.cluster().apply(&example.of_kinds(&kinds)).await?;
    let other = example.object("IntegrationSidecar")?;
    other["metadata"]["name"] = json!("others");
    scene.cluster().apply_one(other).await?;
    let application = example.object("IntegratedApp")?;
    let sidecar = |name: &str| {
        let parameters = json!({"function": "orders", "idempotency": {"keyFields": ["/orderId"]}});
        json!({"name": name, "parameters": [parameters]})
    };
    application["spec"]["sidecars"] = json!([sidecar("orders"), sidecar("others")]);
    scene.cluster().apply_one(application).await?;
    let message = scene
        .unready_application("checkout", reason::FUNCTION_CONFLICT)
        .await?;
    assert!(message.contains("function \"orders\""), "{message}");

    // Other names, but one port.
    let other = example.object("IntegrationSidecar")?;
    other["spec"]["functions"][0]["name"] = json!("returns");
    scene.cluster().apply_one(other).await?;
    let application = example.object("IntegratedApp")?;
    application["spec"]["sidecars"][1]["parameters"][0]["function"] = json!("returns");
    scene.cluster().apply_one(application).await?;
    let message = scene
        .unready_application("checkout", reason::FUNCTION_CONFLICT)
        .await?;
    assert!(message.contains("on port 15000"), "{message}");

    let other = example.object("IntegrationSidecar")?;
    other["spec"]["functions"][0]["port"] = json!(15001);
    scene.cluster().apply_one(other).await?;
    scene.ready_application("checkout").await
}

async fn pods_that_cannot_have_their_sidecars_are_refused(scene: Scene<'_>) -> anyhow::Result<()> {
    scene.adopt_by_label(&[]).await?;
    // Pod Security would refuse the node's network before we can.
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": scene.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        },
    });
    scene.cluster().apply_one(&namespace).await?;
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 7] = [
        (
            "host-network",
            |pod| pod["spec"]["hostNetwork"] = json!(true),
            &["spec.hostNetwork is true"],
        ),
        (
            "container-name",
            |pod| pod["spec"]["containers"][0]["name"] = json!("orders-b"),
            &["spec.containers has a container \"orders-b\"", "rename"],
        ),
        (
            "init-container-name",
            |pod| {
                let container = pod["spec"]["containers"][0].clone();
                pod["spec"]["initContainers"] = json!([container]);
                pod["spec"]["initContainers"][0]["name"] = json!("orders-a");
            },
            &["spec.initContainers has a container \"orders-a\""],
        ),
        (
            "volume-name",
            |pod| pod["spec"]["volumes"] = json!([{"name": "swap-orders", "emptyDir": {}}]),
            &["spec.volumes has a volume \"swap-orders\""],
        ),
        (
            "function-port",
            |pod| pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 15000}]),
            &["container app has port 15000", "function orders"],
        ),
        (
            "admin-port",
            |pod| pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 15021}]),
            &["container app has port 15021", "orders-b", "15020 to 15021"],
        ),
        (
            "variable",
            |pod| {
                let variable = json!({"name": "OUTRIGGER_ORDERS_URL", "value": "http://elsewhere"});
                pod["spec"]["containers"][0]["env"] = json!([variable]);
            },
            &["container app", "OUTRIGGER_ORDERS_URL", "function orders"],
        ),
    ];
    for (name, change, expected) in cases {
        let mut pod = scene.pod(name);
        change(&mut pod);
        let refusal = scene.refusal(&pod).await?;
        for words in expected.iter().chain(&[name, "IntegratedApp"]) {
            assert!(
                refusal.contains(words),
                "{name}: {words} is not in: {refusal}"
            );
        }
    }
    Ok(())
}
