//! Where PersistentVolumeClaims are.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, Pod,
};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use kube::ResourceExt;
use outrigger_resources::quantity;

use crate::{HOSTNAME_LABEL, Node, selector};

/// A PersistentVolumeClaim that a pod mounts, and what is known of its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What is known of its place.
    pub place: Place,
}

/// Where a claim's data are.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// There is no such claim: its pod cannot run anywhere yet.
    Missing,
    /// Its volume is gone: its pod cannot run anywhere.
    Lost {
        /// Name of the volume.
        volume: String,
    },
    /// It will be bound where its pod goes (`volumeBindingMode: WaitForFirstConsumer`).
    NotYetAnywhere {
        /// Name of the StorageClass.
        class: String,
        /// The class's `allowedTopologies`, of which one has to match; `None` if any node does.
        terms: Option<Vec<NodeSelectorTerm>>,
    },
    /// It will be bound without regard to its pod, but is not yet.
    BeingBound,
    /// It is bound to a volume.
    Bound(Volume),
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its capacity.
    pub bytes: u64,
    /// The terms of `spec.nodeAffinity.required`, of which one has to match; `None` if any node
    /// can mount it.
    pub terms: Option<Vec<NodeSelectorTerm>>,
    /// Names of nodes that match, but were created after a volume that is a directory or a disk of
    /// its node, so that its data cannot be there.
    pub recreated: BTreeSet<String>,
    /// Names of the nodes that a network disk is attached to.
    pub attached: BTreeSet<String>,
}

impl Claim {
    /// A claim of a pod's namespace: the claim, the volume that it names in `spec.volumeName`, its
    /// StorageClass, as far as they exist, and any VolumeAttachments.
    pub fn new<'a>(
        name: &str,
        claim: Option<&PersistentVolumeClaim>,
        volume: Option<&PersistentVolume>,
        class: Option<&StorageClass>,
        attachments: impl IntoIterator<Item = &'a VolumeAttachment>,
        nodes: &[Node],
    ) -> Claim {
        let place = match claim {
            None => Place::Missing,
            Some(claim) => place(claim, volume, class, attachments, nodes),
        };
        Claim {
            name: name.to_owned(),
            place,
        }
    }

    /// Names of the nodes that the claim's data are on, or can be mounted on: where a network disk
    /// is attached, or else where the volume's node affinity lets it be. Empty if no node is nearer
    /// than another.
    pub fn holders(&self, nodes: &[Node]) -> BTreeSet<String> {
        let Place::Bound(volume) = &self.place else {
            return BTreeSet::new();
        };
        let holds = |node: &&Node| {
            if volume.attached.is_empty() {
                let terms = volume.terms.as_deref();
                terms.is_some_and(|terms| selector::matches(terms, node))
                    && !volume.recreated.contains(&node.name)
            } else {
                volume.attached.contains(&node.name)
            }
        };
        let holders = nodes.iter().filter(holds);
        holders.map(|node| node.name.clone()).collect()
    }

    /// The only node that can mount the claim's volume, by its node affinity; `None` if several can,
    /// or it is not bound.
    pub fn only_node<'a>(&self, nodes: &'a [Node]) -> Option<&'a str> {
        let Place::Bound(volume) = &self.place else {
            return None;
        };
        let terms = volume.terms.as_deref()?;
        let mut matching = nodes.iter().filter(|node| selector::matches(terms, node));
        let node = matching.next()?;
        matching.next().is_none().then_some(node.name.as_str())
    }

    /// Bytes that the claim's volume has room for; 0 while there is none.
    pub fn bytes(&self) -> u64 {
        match &self.place {
            Place::Bound(volume) => volume.bytes,
            Place::Missing
            | Place::Lost { .. }
            | Place::NotYetAnywhere { .. }
            | Place::BeingBound => 0,
        }
    }
}

fn place<'a>(
    claim: &PersistentVolumeClaim,
    volume: Option<&PersistentVolume>,
    class: Option<&StorageClass>,
    attachments: impl IntoIterator<Item = &'a VolumeAttachment>,
    nodes: &[Node],
) -> Place {
    let spec = claim.spec.as_ref();
    let named = spec.and_then(|spec| spec.volume_name.as_deref());
    let named = named.filter(|name| !name.is_empty());
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    match (named, phase) {
        (_, Some("Lost")) => Place::Lost {
            volume: named.unwrap_or_default().to_owned(),
        },
        (Some(name), Some("Bound")) => match volume.filter(|volume| belongs(volume, claim)) {
            Some(volume) => Place::Bound(Volume::new(volume, attachments, nodes)),
            None => Place::Lost {
                volume: name.to_owned(),
            },
        },
        (Some(_), _) => Place::BeingBound,
        (None, _) => unbound(class),
    }
}

/// Whether a volume is that claim's, and not that of one that had its name before.
fn belongs(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        reference.namespace == claim.metadata.namespace
            && reference.name == claim.metadata.name
            && (reference.uid.is_none() || reference.uid == claim.metadata.uid)
    })
}

fn unbound(class: Option<&StorageClass>) -> Place {
    let waits = |class: &&StorageClass| {
        class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
    };
    let Some(class) = class.filter(waits) else {
        return Place::BeingBound;
    };
    let allowed = class.allowed_topologies.as_deref().unwrap_or_default();
    let terms = allowed.iter().map(|term| NodeSelectorTerm {
        match_expressions: term.match_label_expressions.as_ref().map(|requirements| {
            let requirements = requirements.iter();
            let requirements = requirements.map(|requirement| NodeSelectorRequirement {
                key: requirement.key.clone(),
                operator: "In".to_owned(),
                values: Some(requirement.values.clone()),
            });
            requirements.collect()
        }),
        match_fields: None,
    });
    Place::NotYetAnywhere {
        class: class.name_any(),
        terms: (!allowed.is_empty()).then(|| terms.collect()),
    }
}

impl Volume {
    fn new<'a>(
        volume: &PersistentVolume,
        attachments: impl IntoIterator<Item = &'a VolumeAttachment>,
        nodes: &[Node],
    ) -> Volume {
        let name = volume.name_any();
        let spec = volume.spec.as_ref();
        let affinity = spec.and_then(|spec| spec.node_affinity.as_ref());
        let required = affinity.and_then(|affinity| affinity.required.as_ref());
        let terms = required.map(|required| required.node_selector_terms.clone());
        let of_node = spec.is_some_and(|spec| spec.local.is_some() || spec.host_path.is_some())
            || terms.iter().flatten().any(names_hosts);
        let created = volume.creation_timestamp().map(|created| created.0);
        let younger = |node: &&Node| created.is_some() && node.created > created;
        let matching = |node: &&Node| {
            let terms = terms.as_deref();
            terms.is_some_and(|terms| selector::matches(terms, node))
        };
        let recreated = nodes.iter().filter(matching).filter(younger);
        let recreated = recreated.map(|node| node.name.clone());
        let capacity = spec.and_then(|spec| spec.capacity.as_ref());
        let attached = attachments.into_iter().filter(|attachment| {
            let source = attachment.spec.source.persistent_volume_name.as_deref();
            source == Some(&name)
                && attachment
                    .status
                    .as_ref()
                    .is_some_and(|status| status.attached)
        });
        Volume {
            bytes: capacity
                .and_then(|list| list.get("storage"))
                .map_or(0, quantity::whole),
            recreated: if of_node {
                recreated.collect()
            } else {
                BTreeSet::new()
            },
            attached: attached
                .map(|attachment| attachment.spec.node_name.clone())
                .collect(),
            terms,
            name,
        }
    }
}

fn names_hosts(term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let mut keys = expressions
        .chain(fields)
        .map(|requirement| requirement.key.as_str());
    keys.any(|key| key == HOSTNAME_LABEL || key == "metadata.name")
}

/// Names of the claims that a pod mounts: those that it names, and those of its ephemeral volumes.
pub fn claim_names(pod: &Pod) -> BTreeSet<String> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let names = volumes.filter_map(|volume| {
        let named = volume.persistent_volume_claim.as_ref();
        let ephemeral = volume.ephemeral.as_ref();
        named
            .map(|claim| claim.claim_name.clone())
            .or_else(|| ephemeral.map(|_| format!("{}-{}", pod.name_any(), volume.name)))
    });
    names.collect()
}
