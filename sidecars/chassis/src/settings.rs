//! What a slot is told by its environment. It never changes in a container's life.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use outrigger_control::{Slot, layout};

/// Overrides [`layout::CONTROL_DIR`]; for slots that run as plain processes, as in tests.
const ENV_CONTROL_DIR: &str = "OUTRIGGER_CONTROL_DIR";
/// Overrides [`layout::SECRETS_DIR`], likewise.
const ENV_SECRETS_DIR: &str = "OUTRIGGER_SECRETS_DIR";
/// Overrides [`layout::SHARED_DIR`], likewise.
const ENV_SHARED_DIR: &str = "OUTRIGGER_SHARED_DIR";
/// The version that the image carries, when it differs from the program's.
const ENV_VERSION: &str = "OUTRIGGER_SIDECAR_VERSION";

/// Reads an environment variable; empty ones count as absent.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Version of the sidecar: what its image says, else the program's own.
pub(crate) fn version(lookup: impl Fn(&str) -> Option<String>) -> String {
    lookup(ENV_VERSION).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

/// Settings of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) sidecar: String,
    pub(crate) slot: Slot,
    pub(crate) listen: Vec<FunctionPort>,
    pub(crate) admin_port: u16,
    /// `NAMESPACE/NAME`, for logs; empty outside a pod.
    pub(crate) pod: String,
    pub(crate) version: String,
    pub(crate) directories: Directories,
}

/// A function's name and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionPort {
    pub(crate) function: String,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Path of its Unix socket, if it has one too.
    pub(crate) socket: Option<PathBuf>,
}

/// Where a slot finds its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directories {
    pub(crate) control: PathBuf,
    pub(crate) secrets: PathBuf,
    pub(crate) shared: PathBuf,
}

/// The environment does not describe a slot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {name} is {found}; it must be {allowed}")]
pub(crate) struct InvalidSettings {
    name: &'static str,
    found: String,
    allowed: &'static str,
}

impl InvalidSettings {
    fn new(name: &'static str, found: Option<String>, allowed: &'static str) -> InvalidSettings {
        InvalidSettings {
            name,
            found: found.map_or_else(|| "not set".to_owned(), |found| format!("{found:?}")),
            allowed,
        }
    }
}

impl Directories {
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Directories {
        let directory = |name, standard: &str| {
            PathBuf::from(lookup(name).unwrap_or_else(|| standard.to_owned()))
        };
        Directories {
            control: directory(ENV_CONTROL_DIR, layout::CONTROL_DIR),
            secrets: directory(ENV_SECRETS_DIR, layout::SECRETS_DIR),
            shared: directory(ENV_SHARED_DIR, layout::SHARED_DIR),
        }
    }
}

impl Settings {
    /// Reads the settings through `lookup`, which knows environment variables by name.
    pub(crate) fn read(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, InvalidSettings> {
        let slot = lookup(layout::ENV_SLOT);
        let listen = lookup(layout::ENV_LISTEN);
        let address = bind_address(&lookup)?;
        let sockets = lookup(layout::ENV_SOCKETS).map(PathBuf::from);
        let admin_port = lookup(layout::ENV_ADMIN_PORT);
        Ok(Settings {
            sidecar: sidecar(&lookup)?,
            slot: slot
                .as_deref()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| InvalidSettings::new(layout::ENV_SLOT, slot, "\"a\" or \"b\""))?,
            listen: listen.as_deref().and_then(|text| function_ports(text, address, sockets.as_deref())).ok_or_else(|| {
                InvalidSettings::new(
                    layout::ENV_LISTEN,
                    listen,
                    "a list NAME=PORT,NAME=PORT of different names and different ports from 1 to 65535",
                )
            })?,
            admin_port: admin_port.as_deref().and_then(port).ok_or_else(|| {
                InvalidSettings::new(
                    layout::ENV_ADMIN_PORT,
                    admin_port,
                    "a port from 1 to 65535",
                )
            })?,
            pod: lookup(layout::ENV_POD).unwrap_or_default(),
            version: version(&lookup),
            directories: Directories::read(&lookup),
        })
    }
}

/// Name of the sidecar.
pub(crate) fn sidecar(lookup: impl Fn(&str) -> Option<String>) -> Result<String, InvalidSettings> {
    lookup(layout::ENV_SIDECAR)
        .ok_or_else(|| InvalidSettings::new(layout::ENV_SIDECAR, None, "the name of the sidecar"))
}

/// Hash of the document that a preflight tries.
pub(crate) fn preflight_document(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, InvalidSettings> {
    lookup(layout::ENV_DOCUMENT).ok_or_else(|| {
        InvalidSettings::new(
            layout::ENV_DOCUMENT,
            None,
            "the hash of the document to try",
        )
    })
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// The address that functions listen on.
fn bind_address(lookup: impl Fn(&str) -> Option<String>) -> Result<IpAddr, InvalidSettings> {
    let Some(text) = lookup(layout::ENV_BIND) else {
        return Ok(Ipv4Addr::LOCALHOST.into());
    };
    text.parse().map_err(|_| {
        InvalidSettings::new(
            layout::ENV_BIND,
            Some(text),
            "an IP address, such as \"127.0.0.1\" or \"::\"",
        )
    })
}

fn function_ports(
    text: &str,
    address: IpAddr,
    sockets: Option<&Path>,
) -> Option<Vec<FunctionPort>> {
    let mut found: Vec<FunctionPort> = Vec::new();
    for entry in text.split(',') {
        let (function, port_text) = entry.split_once('=')?;
        let function = function.trim().to_owned();
        let port = port(port_text.trim())?;
        let repeated = found
            .iter()
            .any(|known| known.function == function || known.port == port);
        if function.is_empty() || repeated {
            return None;
        }
        let socket = sockets.map(|directory| directory.join(layout::socket_file(&function)));
        found.push(FunctionPort {
            socket,
            function,
            address,
            port,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn with(changed: &[(&'static str, &str)]) -> Result<Settings, InvalidSettings> {
        let mut variables = BTreeMap::from([
            (layout::ENV_SIDECAR, "orders"),
            (layout::ENV_SLOT, "b"),
            (layout::ENV_LISTEN, "entries=15000,other=15001"),
            (layout::ENV_ADMIN_PORT, "15021"),
        ]);
        variables.extend(changed.iter().copied());
        Settings::read(|name| {
            variables
                .get(name)
                .filter(|value| !value.is_empty())
                .map(|value| (*value).to_owned())
        })
    }

    #[test]
    fn a_slot_is_described_by_its_environment() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.slot, Slot::B);
        assert_eq!(settings.listen[1].function, "other");
        assert_eq!(settings.listen[1].port, 15001);
        assert_eq!(settings.listen[1].address, Ipv4Addr::LOCALHOST);
        let everywhere = with(&[(layout::ENV_BIND, "::")]).unwrap();
        assert_eq!(everywhere.listen[0].address.to_string(), "::");
        assert_eq!(everywhere.listen[0].socket, None);
        let sockets = with(&[(layout::ENV_SOCKETS, "/sockets")]).unwrap();
        let path = PathBuf::from("/sockets/entries.sock");
        assert_eq!(sockets.listen[0].socket, Some(path));
        assert_eq!(
            settings.directories.control,
            PathBuf::from(layout::CONTROL_DIR)
        );
    }

    #[test]
    fn a_bad_variable_is_named_with_what_was_found_and_what_is_allowed() {
        let message = |name, value| with(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(
            message(layout::ENV_SLOT, "c"),
            "environment variable OUTRIGGER_SLOT is \"c\"; it must be \"a\" or \"b\""
        );
        assert_eq!(
            message(layout::ENV_SIDECAR, ""),
            "environment variable OUTRIGGER_SIDECAR is not set; it must be the name of the sidecar"
        );
        for bad in ["", "a", "a=", "a=0", "=1", "a=1,a=2", "a=1,b=1", "a=70000"] {
            let found = message(layout::ENV_LISTEN, bad);
            assert!(
                found.contains("OUTRIGGER_LISTEN") && found.contains("NAME=PORT"),
                "{found}"
            );
        }
        assert!(message(layout::ENV_BIND, "all").contains("OUTRIGGER_BIND is \"all\""));
        assert!(message(layout::ENV_ADMIN_PORT, "http").contains("OUTRIGGER_ADMIN_PORT"));
    }
}
