//! One sidecar for several applications: who calls, and what each may use.
//!
//! Tenants are told apart by the address that their connections come from, which a client cannot
//! choose. Nothing in a request is believed.

mod admission;
mod door;
mod gate;
mod parts;
mod peers;

pub(crate) use admission::Admission;
pub(crate) use door::{Barred, Door, Seat, Unknown};
pub(crate) use gate::{Gates, Guarded};
pub(crate) use parts::Parts;
pub(crate) use peers::{Addresses, Peers, read as read_addresses};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Function, Functions};

/// The name of the port behind which one of [`Hosted::all`] is.
pub(crate) fn port_of(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, function)| function)
}

/// The functions in use.
pub(crate) struct Hosted {
    all: Functions,
    tenants: Option<BTreeMap<String, Functions>>,
}

impl Hosted {
    /// Those of a sidecar in the application's own pod.
    pub(crate) fn own(functions: Functions) -> Hosted {
        Hosted {
            all: functions,
            tenants: None,
        }
    }

    /// Those of each application that shares the sidecar.
    pub(crate) fn shared(tenants: BTreeMap<String, Functions>) -> Hosted {
        let named = tenants.iter().flat_map(|(application, functions)| {
            functions.iter().map(move |(name, function)| {
                (format!("{application}/{name}"), Arc::clone(function))
            })
        });
        Hosted {
            all: named.collect(),
            tenants: Some(tenants),
        }
    }

    /// Every function, by its name; those of tenants by `APPLICATION/NAME`.
    pub(crate) fn all(&self) -> &Functions {
        &self.all
    }

    /// Whether callers have to be told apart.
    pub(crate) fn is_shared(&self) -> bool {
        self.tenants.is_some()
    }

    /// Those of each application, if several share the sidecar.
    pub(crate) fn tenants(&self) -> Option<&BTreeMap<String, Functions>> {
        self.tenants.as_ref()
    }

    /// The function with a name of the pod's own application.
    pub(crate) fn function(&self, name: &str) -> Option<&Arc<dyn Function>> {
        self.all.get(name)
    }

    /// The function with a name of an application.
    pub(crate) fn function_of(&self, application: &str, name: &str) -> Option<&Arc<dyn Function>> {
        self.tenants()?.get(application)?.get(name)
    }
}
