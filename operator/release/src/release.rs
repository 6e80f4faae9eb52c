use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use outrigger_placement::is_gated;
use tokio::time::sleep;

use crate::gate::{Meant, PodName, open};
use crate::lease::{LEASE_NAME, Taken, take};
use crate::patience::persist;
use crate::webhook::{self, Known};
use crate::{Connections, ReleaseError, Step, Tell};

/// The operator's ClusterRole where nobody says another name.
const CLUSTER_ROLE: &str = "outrigger";

/// Where an operator is installed.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its ClusterRole, with which its Lease is to go.
    pub cluster_role: String,
}

/// What a release did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// The pods that it took the gate off.
    pub pods: BTreeSet<PodName>,
    /// Those of the named ones that had no gate.
    pub not_gated: BTreeSet<PodName>,
    /// Namespaces of the operators that do not lead for [`crate::HOLD`].
    pub stopped: BTreeSet<String>,
}

/// Stops the operator and takes the gate off every pod, so that the operator can be removed. Without
/// a place it is looked for.
///
/// # Errors
/// When pods may be left behind the gate. Whatever was done stays done.
pub async fn release_all(
    connections: &Connections,
    place: Option<Place>,
    tell: Tell<'_>,
) -> Result<Released, ReleaseError> {
    let client = &connections.client;
    let known = webhook::read(client).await?;
    let operators = match place {
        Some(place) => Operators {
            namespaces: BTreeSet::from([place.namespace]),
            cluster_role: place.cluster_role,
        },
        None => Operators::find(client, &known).await?,
    };
    operators.stop(client, tell).await?;
    webhook::silence(connections, &known, tell).await?;
    let pods = open(client, None, Meant::All).await?;
    // From now on once more, however long it took.
    let stopped = operators.hold(client).await?.into_keys().collect();
    let namespaces: BTreeSet<_> = pods.iter().map(|pod| &pod.namespace).collect();
    tell(&Step::PodsReleased {
        pods: pods.len(),
        namespaces: namespaces.len(),
    });
    Ok(Released {
        pods,
        stopped,
        ..Released::default()
    })
}

/// Takes the gate off pods of a namespace that are there now: those with the given names, or all.
/// The operator goes on, and new pods wait as before.
///
/// # Errors
/// When one does not exist, or cannot be changed.
pub async fn release_in(
    client: &Client,
    namespace: &str,
    names: &[String],
) -> Result<Released, ReleaseError> {
    let mut not_gated = BTreeSet::new();
    for name in names {
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let pod = PodName {
            namespace: namespace.to_owned(),
            name: name.clone(),
        };
        let doing = || format!("pod {pod} cannot be read");
        match persist(doing, || pods.get_opt(name)).await? {
            None => return Err(ReleaseError::NoSuchPod(pod)),
            Some(found) if !is_gated(&found) => drop(not_gated.insert(pod)),
            Some(_) => {}
        }
    }
    let meant = match names.is_empty() {
        true => Meant::Present,
        false => Meant::Named(names.to_vec()),
    };
    let pods = open(client, Some(namespace), meant).await?;
    Ok(Released {
        pods,
        not_gated,
        ..Released::default()
    })
}

/// The operators of the cluster: one, as a rule.
struct Operators {
    namespaces: BTreeSet<String>,
    cluster_role: String,
}

impl Operators {
    /// Looks for them by what they keep.
    async fn find(client: &Client, known: &Known) -> Result<Operators, ReleaseError> {
        let leases = Api::<Lease>::all(client.clone());
        let named = ListParams::default().fields(&format!("metadata.name={LEASE_NAME}"));
        let doing = || "Leases of all namespaces cannot be listed".to_owned();
        let leases = persist(doing, || leases.list(&named)).await?.items;
        let mut namespaces: BTreeSet<_> =
            leases.iter().filter_map(ResourceExt::namespace).collect();
        namespaces.extend(known.namespace.clone());
        // A release that ended early has written it there.
        let mut owners = leases.iter().flat_map(ResourceExt::owner_references);
        let owner = owners.find(|owner| owner.kind == "ClusterRole");
        let role = known.cluster_role.clone();
        let role = role.or(owner.map(|owner| owner.name.clone()));
        Ok(Operators {
            namespaces,
            cluster_role: role.unwrap_or(CLUSTER_ROLE.to_owned()),
        })
    }

    /// Keeps every replica from leading, and waits until the leader must have stopped.
    async fn stop(&self, client: &Client, tell: Tell<'_>) -> Result<(), ReleaseError> {
        let taken = self.hold(client).await?;
        if taken.is_empty() {
            tell(&Step::NoOperator);
        }
        let wait = taken.values().map(|taken| taken.wait).max();
        for (namespace, Taken { from, .. }) in taken {
            tell(&Step::LeaseTaken { namespace, from });
        }
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            tell(&Step::WaitingForLeader(wait));
            sleep(wait).await;
        }
        Ok(())
    }

    /// Takes the Leases, by namespace.
    async fn hold(&self, client: &Client) -> Result<BTreeMap<String, Taken>, ReleaseError> {
        let owner = owner(client, &self.cluster_role).await?;
        let mut all = BTreeMap::new();
        for namespace in &self.namespaces {
            if let Some(taken) = take(client, namespace, owner.as_ref()).await? {
                all.insert(namespace.clone(), taken);
            }
        }
        Ok(all)
    }
}

/// The ClusterRole as an owner; `None` when it has gone.
async fn owner(client: &Client, name: &str) -> Result<Option<OwnerReference>, ReleaseError> {
    let roles = Api::<ClusterRole>::all(client.clone());
    let doing = || format!("ClusterRole {name} cannot be read");
    let role = persist(doing, || roles.get_opt(name)).await?;
    Ok(role.map(|role| OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".into(),
        kind: "ClusterRole".into(),
        name: name.to_owned(),
        uid: role.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }))
}
