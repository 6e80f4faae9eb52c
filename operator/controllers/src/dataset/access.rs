use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use outrigger_hdfs::{AddressPolicy, Network};
use tokio::sync::OnceCell;

use super::scans::Failure;

/// Which addresses Datasets may lead to.
#[derive(Clone, Debug, Default)]
pub struct HdfsAccess {
    /// Names or addresses of the API server, which is never asked for data.
    pub api_server: Vec<String>,
    /// Addresses that may be asked though they are of a kind that is refused.
    pub allowed: Vec<Network>,
}

/// The rules for addresses, once the API server's are known.
pub(super) struct Policy {
    access: HdfsAccess,
    known: OnceCell<Arc<AddressPolicy>>,
}

impl Policy {
    pub(super) fn new(access: HdfsAccess) -> Policy {
        Policy {
            access,
            known: OnceCell::new(),
        }
    }

    /// Nobody is asked before it is known who must not be.
    pub(super) async fn get(&self) -> Result<&Arc<AddressPolicy>, Failure> {
        self.known.get_or_try_init(|| self.find()).await
    }

    async fn find(&self) -> Result<Arc<AddressPolicy>, Failure> {
        let HdfsAccess {
            api_server,
            allowed,
        } = &self.access;
        let mut forbidden = BTreeSet::new();
        for host in api_server {
            forbidden.extend(addresses(host).await?);
        }
        Ok(Arc::new(AddressPolicy::new(
            allowed.iter().copied(),
            forbidden,
        )))
    }
}

async fn addresses(host: &str) -> Result<Vec<IpAddr>, Failure> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = plain.parse() {
        return Ok(vec![address]);
    }
    match tokio::net::lookup_host((plain, 443)).await {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => Err(Failure::ApiServer(format!("{host}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_api_server_is_never_asked_for_data() {
        let policy = Policy::new(HdfsAccess {
            api_server: vec!["10.96.0.1".into(), "[fd00::1]".into()],
            allowed: Vec::new(),
        });
        let rules = policy.get().await.unwrap();
        for (address, allowed) in [
            ("10.96.0.1", false),
            ("::ffff:10.96.0.1", false),
            ("fd00::1", false),
            ("10.96.0.2", true),
            ("127.0.0.1", false),
        ] {
            let found = rules.check(address.parse().unwrap()).is_ok();
            assert_eq!(found, allowed, "{address}");
        }
    }
}
