use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_control::Tenants;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a caller is waited for that nobody has named yet: its pod may be younger than the
/// newest list.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which application has which address.
pub(crate) type Addresses = Arc<HashMap<IpAddr, String>>;

/// Names callers by the address that they call from.
#[derive(Clone, Debug)]
pub(crate) struct Peers(watch::Receiver<Addresses>);

impl Peers {
    /// With the sender of each newer list.
    pub(crate) fn new() -> (watch::Sender<Addresses>, Peers) {
        let (sender, receiver) = watch::channel(Addresses::default());
        (sender, Peers(receiver))
    }

    /// The application at an address, as far as it is named now.
    pub(crate) fn now(&self, peer: IpAddr) -> Option<String> {
        self.0.borrow().get(&peer).cloned()
    }

    /// The application at an address, which may be named a little later; `None` if nobody names it.
    pub(crate) async fn application(&self, peer: IpAddr) -> Option<String> {
        let mut newest = self.0.clone();
        let named = newest.wait_for(|addresses| addresses.contains_key(&peer));
        match timeout(PATIENCE, named).await {
            Ok(Ok(addresses)) => addresses.get(&peer).cloned(),
            // Without a sender nothing newer comes.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// The list by address. Addresses of version 4 in the form of version 6 are what they stand for.
pub(super) fn by_address(tenants: Tenants) -> Addresses {
    let named = tenants.addresses.into_iter();
    let named = named.flat_map(|(application, addresses)| {
        addresses
            .into_iter()
            .map(move |address| (address.to_canonical(), application.clone()))
    });
    Arc::new(named.collect())
}

/// Reads the file of the list.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(text: &str) -> Result<Addresses, String> {
    let tenants: Tenants =
        serde_json::from_str(text).map_err(|error| format!("it is not readable: {error}"))?;
    match tenants.v {
        Tenants::VERSION => Ok(by_address(tenants)),
        found => Err(format!(
            "it has version {found}; allowed is {}",
            Tenants::VERSION
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"v": 1, "addresses": {"shop": ["::ffff:10.0.0.7", "fd00::7"]}}"#;

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_named_by_its_address_in_either_form_or_after_a_while_by_nobody() {
        let (sender, peers) = Peers::new();
        sender.send_replace(read(LIST).unwrap());
        for address in ["10.0.0.7", "fd00::7"] {
            let found = peers.application(address.parse().unwrap()).await;
            assert_eq!(found.as_deref(), Some("shop"));
        }
        assert_eq!(peers.application("10.0.0.8".parse().unwrap()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_younger_than_the_list_is_waited_for() {
        let (sender, peers) = Peers::new();
        let (found, ()) = tokio::join!(peers.application("10.0.0.7".parse().unwrap()), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            sender.send_replace(read(LIST).unwrap());
        });
        assert_eq!(found.as_deref(), Some("shop"));
    }

    #[test]
    fn a_list_of_another_version_is_refused() {
        let refused = read(r#"{"v": 2, "addresses": {}}"#).unwrap_err();
        assert_eq!(refused, "it has version 2; allowed is 1");
        assert!(read("{").unwrap_err().starts_with("it is not readable"));
    }
}
