//! The image registry: plain HTTP, images in the state directory, deletion allowed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::{self, Daemon};
use crate::error::Result;
use crate::layout::{Layout, write_file};
use crate::{network, wait};

pub(crate) const NAME: &str = "registry";
pub(crate) const PORT: u16 = 5000;
/// Its name in the nodes and pods, beside its address.
pub(crate) const DNS_NAME: &str = "registry.lab:5000";

/// The registry's address, from the host and from pods.
pub(crate) fn address() -> SocketAddr {
    (network::REGISTRY, PORT).into()
}

/// The file by which buildah knows that the registry speaks plain HTTP
/// (containers-registries.conf(5)). skopeo has to be told by `--dest-tls-verify=false`.
pub(crate) fn clients_file(layout: &Layout) -> PathBuf {
    layout.config("registries.conf")
}

/// Lets the registry run and waits for its first answer.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    write_file(
        &clients_file(layout),
        format!(
            "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
            address()
        ),
    )?;
    let config = layout.config("registry.yaml");
    write_file(&config, text(layout))?;
    let daemon = Daemon {
        name: NAME.to_owned(),
        program: PathBuf::from("docker-registry"),
        args: vec!["serve".to_owned(), config.display().to_string()],
        namespaces: network::control_plane(layout),
        inputs: vec![config],
    };
    daemon.ensure(layout)?;
    wait::until("the registry", Duration::from_secs(30), || {
        daemon::check_alive(layout, NAME)?;
        Ok(wait::http_get(address(), "/v2/").map(drop))
    })
}

fn text(layout: &Layout) -> String {
    format!(
        "\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {data}
  delete:
    enabled: true
http:
  addr: {address}
",
        data = layout.data(NAME).display(),
        address = address(),
    )
}
