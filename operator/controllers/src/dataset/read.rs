use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::core::SelectorExt;
use kube::{Api, ResourceExt};
use outrigger_lookup::LookupError;
use outrigger_placement::Node;
use outrigger_resources::quantity;

use super::claims::FoundClaim;
use super::scans::Failure;
use super::validate::{WantedClaims, WantedHdfs, WantedNames};
use crate::cluster::Cluster;
use crate::context::Context;

/// Key of a ConfigMap with certificate authorities.
const AUTHORITIES: &str = "ca.crt";

/// The claims that are wanted, by name with ordinals in the order of numbers, and all nodes.
pub(super) fn claims(
    cluster: &Cluster,
    namespace: &str,
    wanted: &WantedClaims,
) -> (Vec<FoundClaim>, Vec<Node>) {
    let nodes: Vec<Node> = cluster
        .nodes
        .store()
        .state()
        .iter()
        .map(|node| Node::new(node, []))
        .collect();
    let attachments = cluster.attachments.store().state();
    let found = |name: &String| {
        let claim = cluster.claims.get(namespace, name);
        FoundClaim {
            claim: cluster.claim(namespace, name, &attachments, &nodes),
            requested: claim.and_then(|claim| requested(&claim)).unwrap_or(0),
        }
    };
    let mut names: Vec<String> = match wanted {
        WantedClaims::Names(names) => names.iter().cloned().collect(),
        WantedClaims::Labels(selector) => {
            let mut claims = cluster.claims.in_namespace(namespace);
            claims.retain(|claim| selector.matches(claim.labels()));
            claims.iter().map(|claim| claim.name_any()).collect()
        }
    };
    names.sort_by(|one, other| (by_ordinal(one), one).cmp(&(by_ordinal(other), other)));
    (names.iter().map(found).collect(), nodes)
}

/// A name without the ordinal at its end, and the ordinal: the claims of a StatefulSet are to be in
/// the order of its pods, and `data-10` comes after `data-2` there.
fn by_ordinal(name: &str) -> (&str, Option<u64>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().ok())
}

/// What a claim asks for, in bytes.
fn requested(claim: &PersistentVolumeClaim) -> Option<u64> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    let storage = resources.requests.as_ref()?.get("storage")?;
    Some(quantity::whole(storage))
}

/// The pods in which DataNodes may run, if that is how their nodes are found.
pub(super) fn pods(cluster: &Cluster, wanted: &WantedHdfs) -> Vec<Arc<Pod>> {
    match wanted.node_names {
        WantedNames::Pod => cluster.pods.store().state(),
        WantedNames::Hostname | WantedNames::Label(_) => Vec::new(),
    }
}

/// The certificate authorities to trust, in PEM, if the spec names any.
pub(super) async fn authorities(
    context: &Context,
    namespace: &str,
    wanted: &WantedHdfs,
) -> Result<Result<Option<Vec<u8>>, Failure>, LookupError> {
    let Some(name) = &wanted.authorities else {
        return Ok(Ok(None));
    };
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| LookupError {
        what: format!("ConfigMap {namespace}/{name}"),
        error,
    })?;
    let failure = |why| Failure::Authorities {
        namespace: namespace.to_owned(),
        name: name.clone(),
        why,
    };
    let Some(found) = found else {
        return Ok(Err(failure("does not exist")));
    };
    let text = found.data.and_then(|mut data| data.remove(AUTHORITIES));
    let text = text.map(String::into_bytes);
    let binary = found.binary_data;
    let binary = binary.and_then(|mut data| data.remove(AUTHORITIES));
    let text = text.or_else(|| binary.map(|bytes| bytes.0));
    Ok(match text {
        Some(text) => Ok(Some(text)),
        None => Err(failure("has no key ca.crt")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_in_the_order_of_their_pods() {
        let mut names = ["data-10", "data-2", "other", "data-0", "a-1"];
        names.sort_by_key(|name| by_ordinal(name));
        assert_eq!(names, ["a-1", "data-0", "data-2", "data-10", "other"]);
    }
}
