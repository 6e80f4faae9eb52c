//! The two credentials of a sidecar reach its own containers and no other.

use std::collections::BTreeSet;

use outrigger_control::layout::SERVICE_ACCOUNT_DIR;
use outrigger_injection::{
    FunctionPod, NamespaceRules, Place, Resident, Settings, Trial, function_pod, preflight_name,
    preflight_pod, requires_recreate,
};
use outrigger_plan::{ApplicationPlan, SharedPlan};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures::{foreign, injected, orders, orders_with, plan_of, pod, sidecar, web};

const APPLICATION: &str = "/outrigger/credentials/application";
const SYSTEM: &str = "/outrigger/credentials/system";

fn secret(name: &str) -> Value {
    json!({"secretName": name})
}

fn token(audience: &str) -> Value {
    json!({"serviceAccountToken": {"audience": audience}})
}

fn with(credentials: &Value) -> ApplicationPlan {
    orders_with(json!({"credentials": credentials}), json!({}))
}

fn both() -> Value {
    json!({"application": secret("upstream"), "system": token("audit")})
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn is_credential(volume: &str) -> bool {
    volume.starts_with("outrigger-credential-")
}

/// Where a container mounts credentials, with the mount.
fn mounted(container: &Value) -> Vec<(&str, &Value)> {
    list(container, "volumeMounts")
        .iter()
        .filter(|mount| is_credential(mount["name"].as_str().unwrap()))
        .map(|mount| (mount["mountPath"].as_str().unwrap(), mount))
        .collect()
}

/// What is behind a mount.
fn volume<'a>(spec: &'a Value, mount: &Value) -> &'a Value {
    let mut volumes = list(spec, "volumes").iter();
    volumes
        .find(|volume| volume["name"] == mount["name"])
        .unwrap()
}

fn volume_names(value: &Value) -> BTreeSet<&str> {
    let volumes = list(&value["spec"], "volumes").iter();
    volumes
        .map(|volume| volume["name"].as_str().unwrap())
        .collect()
}

fn fields(value: &Value, plan: &ApplicationPlan) -> Vec<String> {
    requires_recreate(&pod(value), plan, &Settings::default())
}

#[test]
fn each_credential_is_a_read_only_volume_of_the_slots() {
    let found = injected(&web(), &with(&both())).unwrap();
    let spec = &found["spec"];
    for slot in list(spec, "initContainers") {
        let mounts = mounted(slot);
        let paths: Vec<_> = mounts.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths, [APPLICATION, SYSTEM]);
        assert!(mounts.iter().all(|(_, mount)| mount["readOnly"] == true));
        assert_eq!(
            volume(spec, mounts[0].1)["secret"],
            json!({"secretName": "upstream", "defaultMode": 0o444, "optional": true})
        );
        assert_eq!(
            volume(spec, mounts[1].1)["projected"],
            json!({"defaultMode": 0o444, "sources": [{"serviceAccountToken": {
                "audience": "audit", "expirationSeconds": 3600, "path": "token",
            }}]})
        );
    }
}

#[test]
fn a_default_that_is_written_down_changes_nothing() {
    let plan = |seconds: Value| {
        let mut token = json!({"audience": "audit"});
        if !seconds.is_null() {
            token["expirationSeconds"] = seconds;
        }
        with(&json!({"system": {"serviceAccountToken": token}}))
    };
    let found = injected(&web(), &plan(Value::Null)).unwrap();
    assert_eq!(injected(&web(), &plan(json!(3600))).unwrap(), found);
    assert_ne!(fields(&found, &plan(json!(7200))), Vec::<String>::new());
}

#[test]
fn slots_get_the_applications_own_token_with_no_credential() {
    for credentials in [Value::Null, both()] {
        let found = injected(&web(), &with(&credentials)).unwrap();
        for slot in list(&found["spec"], "initContainers") {
            let mut mounts = list(slot, "volumeMounts").iter();
            let at_token = mounts.find(|mount| mount["mountPath"] == SERVICE_ACCOUNT_DIR);
            let covering = volume(&found["spec"], at_token.unwrap());
            assert_eq!(covering["emptyDir"], json!({}));
        }
    }
}

#[test]
fn a_container_that_is_not_built_on_the_chassis_gets_them_too() {
    let proxy = foreign("proxy", &json!({}), &json!({"credentials": both()}));
    let plan = plan_of(json!([{"name": "proxy"}]), &[proxy]);
    let found = injected(&web(), &plan).unwrap();
    let container = &found["spec"]["initContainers"][0];
    let paths: Vec<_> = mounted(container)
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(paths, [APPLICATION, SYSTEM]);
    assert_eq!(fields(&found, &plan), Vec::<String>::new());
}

#[test]
fn function_pods_get_them_in_the_slots_and_their_consumers_nowhere() {
    let spec = json!({"sharing": "Node", "credentials": both()});
    let application = orders_with(spec.clone(), json!({}));
    let sidecar = sidecar("orders", "once", 15000, spec);
    let plan = SharedPlan::new(&sidecar, [&application], Vec::new()).unwrap();
    let wanted = FunctionPod {
        name: "outrigger-orders-1",
        place: Place::Any,
        tenants: &serde_json::from_value(json!({"v": 1, "addresses": {}})).unwrap(),
        holder_image: "registry/operator:1",
    };
    let (settings, rules) = (Settings::default(), NamespaceRules::default());
    let made = function_pod(&plan, &wanted, &settings, &rules).unwrap();
    let made = serde_json::to_value(made).unwrap();
    for slot in list(&made["spec"], "initContainers") {
        assert_eq!(mounted(slot).len(), 2);
    }
    assert_eq!(mounted(&made["spec"]["containers"][0]).len(), 0);
    let consumer = injected(&web(), &application).unwrap();
    assert_eq!(consumer["spec"]["volumes"], Value::Null);
}

#[test]
fn a_preflight_has_them_and_other_credentials_are_another_trial() {
    let trial = Trial {
        image: "registry/sidecar:2",
        revision: "orders-00ff00ff00",
        node: None,
        like: None,
    };
    let plan = with(&both());
    let resident = Resident::of(&plan, &plan.sidecars[0]).unwrap();
    let (settings, rules) = (Settings::default(), NamespaceRules::default());
    let made = preflight_pod(&resident, &trial, "registry/operator:1", &settings, &rules);
    let made = serde_json::to_value(made.unwrap()).unwrap();
    let mounts = mounted(&made["spec"]["containers"][0]);
    assert_eq!(mounts.len(), 2);
    for (_, mount) in mounts {
        volume(&made["spec"], mount);
    }
    let other = with(&json!({"application": secret("other")}));
    let other = Resident::of(&other, &other.sidecars[0]).unwrap();
    assert_ne!(
        preflight_name(&resident, &trial),
        preflight_name(&other, &trial)
    );
}

#[test]
fn an_added_a_changed_and_a_removed_credential_are_named() {
    let named = |path: &str| {
        ["a", "b"].map(|slot| format!("spec.initContainers[orders-{slot}].volumeMounts[{path}]"))
    };
    let (none, one) = (orders(), with(&json!({"system": secret("audit")})));
    let other = with(&json!({"system": secret("other")}));
    let live = |plan: &ApplicationPlan| injected(&web(), plan).unwrap();
    for (found, wanted) in [(&none, &one), (&one, &other), (&one, &none)] {
        assert_eq!(fields(&live(found), wanted), named(SYSTEM));
        // A copy of a live pod gets the volumes that a new pod gets, and no others.
        let copied = injected(&live(found), wanted).unwrap();
        assert_eq!(volume_names(&copied), volume_names(&live(wanted)));
        assert_eq!(fields(&copied, wanted), Vec::<String>::new());
    }
}

#[test]
fn a_pod_whose_containers_see_the_slots_processes_is_refused() {
    for field in ["shareProcessNamespace", "hostPID"] {
        let mut value = web();
        value["spec"][field] = true.into();
        assert!(injected(&value, &orders()).is_ok());
        assert_eq!(
            injected(&value, &with(&both())).unwrap_err().to_string(),
            format!(
                "pod web-5d8-* spec.{field} is true; IntegrationSidecar orders has spec.credentials, which containers that see its processes could read, so it must be false or absent"
            )
        );
    }
}

#[test]
fn a_container_of_the_application_that_mounts_one_is_refused() {
    let plan = with(&both());
    let found = injected(&web(), &plan).unwrap();
    let name = &mounted(&found["spec"]["initContainers"][0])[0].1["name"];
    for list in ["containers", "initContainers"] {
        let mut value = web();
        let thief = json!({"name": "thief", "volumeMounts": [{"name": name, "mountPath": "/x"}]});
        value["spec"][list] = json!([thief]);
        assert_eq!(
            injected(&value, &plan).unwrap_err().to_string(),
            format!(
                "pod web-5d8-* container thief has the volume {name} in its volumeMounts; it holds a credential of IntegrationSidecar orders, which only the sidecar's own containers may mount, so remove the mount"
            )
        );
    }
}

fn credential() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["one", "two", "three"]);
    prop_oneof![
        Just(Value::Null),
        name.clone().prop_map(secret),
        name.prop_map(token),
    ]
}

fn pair() -> impl Strategy<Value = Value> {
    (credential(), credential())
        .prop_map(|(application, system)| json!({"application": application, "system": system}))
}

proptest! {
    /// Whatever two sidecars of one pod have, each of their slots has its own credentials and no
    /// other's, and no other container has any.
    #[test]
    fn no_container_sees_a_credential_that_is_not_its_own(
        orders in pair(),
        bills in pair(),
        mount_into in prop::bool::ANY,
    ) {
        let mut usage = json!([{"name": "orders"}, {"name": "bills"}]);
        if mount_into {
            usage[0]["unixSocket"] = json!({"mountInto": ["web"]});
        }
        let of = |name: &str, port, credentials: &Value| {
            sidecar(name, name, port, json!({"credentials": credentials}))
        };
        let sidecars = [of("orders", 15000, &orders), of("bills", 15001, &bills)];
        let found = injected(&web(), &plan_of(usage, &sidecars)).unwrap();
        let spec = &found["spec"];
        for container in list(spec, "containers") {
            prop_assert_eq!(mounted(container), Vec::new());
        }
        for (slot, own) in list(spec, "initContainers").iter().zip([&orders, &orders, &bills, &bills]) {
            let mut expected = Vec::new();
            for (path, field) in [(APPLICATION, "application"), (SYSTEM, "system")] {
                let credential = &own[field];
                if !credential.is_null() {
                    expected.push((path, credential.clone()));
                }
            }
            let seen: Vec<_> = mounted(slot)
                .into_iter()
                .map(|(path, mount)| {
                    let volume = volume(spec, mount);
                    let source = &volume["projected"]["sources"][0]["serviceAccountToken"];
                    let credential = match source["audience"].as_str() {
                        Some(audience) => token(audience),
                        None => secret(volume["secret"]["secretName"].as_str().unwrap()),
                    };
                    (path, credential)
                })
                .collect();
            prop_assert_eq!(seen, expected, "{}", slot["name"]);
        }
    }
}
