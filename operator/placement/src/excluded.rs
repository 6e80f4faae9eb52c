//! Why a node cannot run a pod, in words.

use std::fmt;

use crate::Size;

/// Why a node cannot run a pod, for people: what follows "node-1 is ruled out: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It is not in the cluster any more.
    Gone,
    /// It is not ready.
    NotReady,
    /// It is cordoned.
    Cordoned,
    /// It has a taint that the pod does not tolerate.
    Taint {
        /// The taint, as kubectl writes it.
        taint: String,
    },
    /// It lacks a label that `spec.nodeSelector` asks for.
    NodeSelector {
        /// Key of the label.
        key: String,
        /// The value asked for.
        wanted: String,
        /// The value found.
        found: Option<String>,
    },
    /// It matches no term of the required node affinity.
    NodeAffinity {
        /// The terms, in words.
        terms: String,
    },
    /// A volume of the pod is elsewhere, or can only be elsewhere.
    Volume {
        /// Name of the claim.
        claim: String,
        /// The volume, or the StorageClass, and its field.
        field: String,
        /// The terms of that field, in words.
        terms: String,
    },
    /// It was created again under its name after a volume of the pod that was a part of it.
    Recreated {
        /// Name of the claim.
        claim: String,
        /// Name of the volume.
        volume: String,
    },
    /// A volume of the pod is gone.
    Lost {
        /// Name of the claim.
        claim: String,
        /// Name of the volume.
        volume: String,
    },
    /// It lacks room.
    NoRoom {
        /// The resource.
        resource: String,
        /// What the pod asks for, in billionths. What is free is not told: it changes with each pod
        /// that comes or goes, and so would each status that says it.
        wanted: i128,
    },
    /// A pod of the application is there that the pod must not be beside.
    NotAlone,
    /// A pod that was sent there was not bound.
    Avoided {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excluded::Gone => write!(f, "not in the cluster any more"),
            Excluded::NotReady => write!(f, "not ready"),
            Excluded::Cordoned => write!(f, "cordoned"),
            Excluded::Taint { taint } => write!(f, "the pod does not tolerate its taint {taint}"),
            Excluded::NodeSelector { key, wanted, found } => {
                write!(f, "the pod's spec.nodeSelector asks for {key}={wanted}, ")?;
                match found {
                    Some(found) => write!(f, "it has {key}={found}"),
                    None => write!(f, "it has no such label"),
                }
            }
            Excluded::NodeAffinity { terms } => {
                write!(f, "the pod's spec.affinity.nodeAffinity asks for {terms}")
            }
            Excluded::Volume {
                claim,
                field,
                terms,
            } => {
                write!(f, "{field} of the pod's claim {claim} asks for {terms}")
            }
            Excluded::Recreated { claim, volume } => write!(
                f,
                "it was created after PersistentVolume {volume} of the pod's claim {claim}, whose data were on the node that had its name before"
            ),
            Excluded::Lost { claim, volume } => write!(
                f,
                "the pod's claim {claim} has lost its PersistentVolume {volume}"
            ),
            Excluded::NoRoom { resource, wanted } => write!(
                f,
                "no room: the pod asks for {}, less is free",
                Amount(resource, *wanted)
            ),
            Excluded::NotAlone => write!(
                f,
                "the pod's spec.affinity.podAntiAffinity keeps it from a pod that is there"
            ),
            Excluded::Avoided { reason } => write!(f, "avoided: {reason}"),
        }
    }
}

/// An amount of a resource, in billionths, for people: `1.5 cpu`, `2.0 GiB memory`.
struct Amount<'a>(&'a str, i128);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount(name, nanos) = *self;
        let whole = nanos / 1_000_000_000;
        let in_bytes =
            matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        match u64::try_from(whole) {
            Ok(bytes) if in_bytes => write!(f, "{} {name}", Size(bytes)),
            _ if nanos % 1_000_000_000 == 0 => write!(f, "{whole} {name}"),
            _ => write!(f, "{}m {name}", nanos / 1_000_000),
        }
    }
}
