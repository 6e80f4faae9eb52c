use outrigger_injection::{
    NamespaceRules, Resident, Settings, Trial, preflight_name, preflight_pod,
};
use outrigger_plan::ApplicationPlan;
use serde_json::{Value, json};

use crate::fixtures::{orders, orders_with, plan_of, pod, sidecar};

const TRIAL: Trial<'static> = Trial {
    image: "registry/sidecar:2",
    revision: "orders-00ff00ff00",
    node: Some("node-1"),
    like: None,
};

const OPERATOR: &str = "registry/operator:1";

fn resident(plan: &ApplicationPlan) -> Resident<'_> {
    Resident::of(plan, &plan.sidecars[0]).unwrap()
}

fn preflight(plan: &ApplicationPlan, trial: &Trial<'_>, rules: &NamespaceRules) -> Value {
    let pod = preflight_pod(
        &resident(plan),
        trial,
        OPERATOR,
        &Settings::default(),
        rules,
    );
    let pod = pod.unwrap();
    serde_json::to_value(pod).unwrap()
}

fn spec(plan: &ApplicationPlan, trial: &Trial<'_>) -> Value {
    preflight(plan, trial, &NamespaceRules::default())["spec"].clone()
}

#[test]
fn a_preflight_tries_the_image_with_the_document_and_nothing_of_the_api() {
    let plan = orders();
    let pod = preflight(&plan, &TRIAL, &NamespaceRules::default());
    let hash = plan.sidecars[0].document_hash();
    let name = preflight_name(&resident(&plan), &TRIAL);
    assert_eq!(
        pod["metadata"],
        json!({
            "name": name,
            "namespace": "store",
            "labels": {"outrigger.dev/preflight": "orders-00ff00ff00"},
        })
    );
    let spec = &pod["spec"];
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(spec["activeDeadlineSeconds"], 300);
    assert_eq!(spec["automountServiceAccountToken"], false);
    let container = &spec["containers"][0];
    assert_eq!(container["image"], "registry/sidecar:2");
    assert_eq!(container["args"], json!(["preflight"]));
    let document = json!({"name": "OUTRIGGER_DOCUMENT", "value": hash});
    assert!(container["env"].as_array().unwrap().contains(&document));
    let paths: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["/etc/outrigger/control", "/etc/outrigger/secrets/db"]
    );
    let sources = &spec["volumes"][0]["projected"]["sources"];
    assert_eq!(
        *sources,
        json!([{"configMap": {"name": "outrigger.shop.orders"}}])
    );
}

#[test]
fn a_preflight_keeps_to_the_restricted_pod_security_standard() {
    assert_eq!(
        spec(&orders(), &TRIAL)["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsGroup": 65532,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
}

#[test]
fn a_preflight_fits_onto_a_full_and_tainted_node_by_the_scheduler() {
    let spec = spec(&orders(), &TRIAL);
    assert_eq!(spec["nodeName"], Value::Null);
    assert_eq!(spec["tolerations"], json!([{"operator": "Exists"}]));
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    assert_eq!(
        spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"],
        json!([{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["node-1"]},
        ]}])
    );
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({"requests": {"cpu": "0", "memory": "0"}, "limits": {"memory": "128Mi"}})
    );
}

#[test]
fn a_preflight_requests_what_the_namespace_insists_on() {
    let range = json!({"spec": {"limits": [{
        "type": "Container",
        "min": {"memory": "48Mi"},
        "max": {"cpu": "300m"},
        "maxLimitRequestRatio": {"cpu": "10"},
    }]}});
    let rules = NamespaceRules::new([], [&serde_json::from_value(range).unwrap()]);
    assert_eq!(
        preflight(&orders(), &TRIAL, &rules)["spec"]["containers"][0]["resources"],
        json!({
            "requests": {"cpu": "30m", "memory": "48Mi"},
            "limits": {"cpu": "300m", "memory": "128Mi"},
        })
    );
}

#[test]
fn a_preflight_is_pulled_started_and_connected_like_the_pods_of_the_application() {
    let like = pod(&json!({"spec": {
        "containers": [{"name": "web"}],
        "imagePullSecrets": [{"name": "theirs"}],
        "serviceAccountName": "shop",
        "securityContext": {"fsGroup": 1000},
        "runtimeClassName": "sandboxed",
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.1"]},
        "hostAliases": [{"ip": "10.0.0.2", "hostnames": ["db"]}],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
    }}));
    let plan = orders_with(json!({"imagePullSecrets": [{"name": "mine"}]}), json!({}));
    let trial = Trial {
        like: Some(&like),
        node: None,
        ..TRIAL
    };
    let found = spec(&plan, &trial);
    for (field, expected) in [
        (
            "imagePullSecrets",
            json!([{"name": "theirs"}, {"name": "mine"}]),
        ),
        ("serviceAccountName", json!("shop")),
        ("securityContext", json!({"fsGroup": 1000})),
        ("runtimeClassName", json!("sandboxed")),
        ("dnsPolicy", json!("None")),
        ("dnsConfig", json!({"nameservers": ["10.0.0.1"]})),
        (
            "hostAliases",
            json!([{"ip": "10.0.0.2", "hostnames": ["db"]}]),
        ),
        ("tolerations", json!([{"key": "gpu", "operator": "Exists"}])),
        ("nodeSelector", json!({"kubernetes.io/arch": "arm64"})),
    ] {
        assert_eq!(found[field], expected, "{field}");
    }
    let pinned = spec(
        &plan,
        &Trial {
            node: Some("node-1"),
            ..trial
        },
    );
    assert_eq!(pinned["nodeSelector"], Value::Null);
}

#[test]
fn one_trial_has_one_name_and_another_has_another() {
    let plan = orders();
    let name = |trial: &Trial<'_>| preflight_name(&resident(&plan), trial);
    assert_eq!(name(&TRIAL), name(&TRIAL));
    for other in [
        Trial {
            node: None,
            ..TRIAL
        },
        Trial {
            image: "registry/sidecar:3",
            ..TRIAL
        },
        Trial {
            revision: "orders-1",
            ..TRIAL
        },
    ] {
        assert_ne!(name(&TRIAL), name(&other), "{other:?}");
    }
}

#[test]
fn the_name_of_a_preflight_is_a_label_however_long_the_sidecars() {
    let long = "o".repeat(58);
    let plan = plan_of(
        json!([{"name": long}]),
        &[sidecar(&long, "once", 15000, json!({}))],
    );
    assert!(preflight_name(&resident(&plan), &TRIAL).len() <= 63);
}
