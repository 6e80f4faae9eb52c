use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;

use super::Peers;
use crate::body::closing;
use crate::{Function, Problem, RequestBody, ResponseBody};

/// Most connections of one application.
const OF_APPLICATION: usize = 512;
/// Most connections from addresses that nobody has named, and from one of them.
const OF_STRANGERS: usize = 64;
const OF_STRANGER: usize = 8;

/// Lets connections to a function pod in, by the address that they come from and before anything
/// of them is read: the ports are open to every pod.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    peers: Peers,
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    applications: HashMap<String, usize>,
    strangers: HashMap<IpAddr, usize>,
}

/// A place among the connections of an application, or among those of nobody yet.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Mutex<Seats>>,
    of: Holder,
    /// It was let in before, be there room or not.
    is_kept: bool,
}

#[derive(Debug)]
enum Holder {
    Application(String),
    Stranger(IpAddr),
}

/// Why a connection is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// Nobody named its address.
    Unknown,
    /// Its application has too many others.
    Full,
}

impl Door {
    pub(crate) fn new(peers: Peers) -> Door {
        Door {
            peers,
            seats: Arc::default(),
        }
    }

    /// A place for a new connection, if there is one.
    pub(crate) fn enter(&self, peer: IpAddr) -> Option<Seat> {
        let holder = self.holder(peer);
        let has_room = {
            let seats = self.seats.lock();
            match &holder {
                Holder::Application(application) => seats.of(application) < OF_APPLICATION,
                Holder::Stranger(peer) => {
                    seats.strangers.values().sum::<usize>() < OF_STRANGERS
                        && seats.strangers.get(peer).copied().unwrap_or(0) < OF_STRANGER
                }
            }
        };
        has_room.then(|| self.seat(holder, false))
    }

    /// A place for a connection that was let in before, be there room or not.
    pub(crate) fn keep(&self, peer: IpAddr) -> Seat {
        self.seat(self.holder(peer), true)
    }

    /// Waits a while until somebody names the address of a connection that has a place.
    pub(crate) async fn named(&self, seat: &mut Seat) -> Result<(), Barred> {
        let Holder::Stranger(peer) = seat.of else {
            return Ok(());
        };
        let named = self.peers.application(peer).await;
        let application = named.ok_or(Barred::Unknown)?;
        if !seat.is_kept && self.seats.lock().of(&application) >= OF_APPLICATION {
            return Err(Barred::Full);
        }
        *seat = self.seat(Holder::Application(application), seat.is_kept);
        Ok(())
    }

    fn holder(&self, peer: IpAddr) -> Holder {
        match self.peers.now(peer) {
            Some(application) => Holder::Application(application),
            None => Holder::Stranger(peer),
        }
    }

    fn seat(&self, of: Holder, is_kept: bool) -> Seat {
        *self.seats.lock().count(&of) += 1;
        Seat {
            seats: Arc::clone(&self.seats),
            of,
            is_kept,
        }
    }
}

impl Seats {
    fn of(&self, application: &str) -> usize {
        self.applications.get(application).copied().unwrap_or(0)
    }

    fn count(&mut self, holder: &Holder) -> &mut usize {
        match holder {
            Holder::Application(name) => self.applications.entry(name.clone()).or_default(),
            Holder::Stranger(peer) => self.strangers.entry(*peer).or_default(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        let count = seats.count(&self.of);
        *count -= 1;
        if *count == 0 {
            match &self.of {
                Holder::Application(name) => drop(seats.applications.remove(name)),
                Holder::Stranger(peer) => drop(seats.strangers.remove(peer)),
            }
        }
    }
}

/// Answers a connection that nobody named.
pub(crate) struct Unknown(pub(crate) IpAddr);

impl Function for Unknown {
    fn call(
        self: Arc<Self>,
        _: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move { closing(unknown(self.0)) }.boxed()
    }
}

/// The problem of a caller that nobody named.
pub(super) fn unknown(peer: IpAddr) -> Problem {
    let detail = format!("{peer} is the address of no application that uses this sidecar");
    Problem::new(StatusCode::FORBIDDEN, "unknown-caller", detail)
}

#[cfg(test)]
mod tests {
    use super::super::read_addresses;
    use super::*;

    const SHOP: &str = "10.0.0.7";

    fn door() -> (tokio::sync::watch::Sender<super::super::Addresses>, Door) {
        let (sender, peers) = Peers::new();
        (sender, Door::new(peers))
    }

    fn name_shop(sender: &tokio::sync::watch::Sender<super::super::Addresses>) {
        let list = format!(r#"{{"v": 1, "addresses": {{"shop": ["{SHOP}"]}}}}"#);
        sender.send_replace(read_addresses(&list).unwrap());
    }

    fn stranger(number: usize) -> IpAddr {
        format!("10.0.1.{number}").parse().unwrap()
    }

    #[test]
    fn an_application_and_strangers_have_so_many_places_and_get_them_back() {
        let (sender, door) = door();
        name_shop(&sender);
        let shop = SHOP.parse().unwrap();
        let mut seats: Vec<_> = (0..OF_APPLICATION)
            .map(|_| door.enter(shop).unwrap())
            .collect();
        assert!(door.enter(shop).is_none());
        // What was let in before stays.
        let kept = door.keep(shop);
        seats.pop();
        assert!(door.enter(shop).is_none());
        drop(kept);
        assert!(door.enter(shop).is_some());

        let mut strangers = Vec::new();
        for number in 0..OF_STRANGERS / OF_STRANGER {
            strangers.extend((0..OF_STRANGER).map(|_| door.enter(stranger(number)).unwrap()));
            assert!(door.enter(stranger(number)).is_none());
        }
        assert!(door.enter(stranger(99)).is_none());
        seats.pop();
        assert!(
            door.enter(shop).is_some(),
            "strangers take no places of others"
        );
        drop(strangers);
        drop(seats);
        let left = door.seats.lock();
        assert!(left.applications.is_empty() && left.strangers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_that_is_named_gets_a_place_of_its_application() {
        let (sender, door) = door();
        let shop = SHOP.parse().unwrap();
        let mut seat = door.enter(shop).unwrap();
        let mut late = door.enter(shop).unwrap();
        let mut other = door.enter(stranger(1)).unwrap();
        let mut kept = door.keep(shop);
        name_shop(&sender);
        assert_eq!(door.named(&mut seat).await, Ok(()));
        assert_eq!(door.named(&mut other).await, Err(Barred::Unknown));
        let full: Vec<_> = (1..OF_APPLICATION).map(|_| door.keep(shop)).collect();
        assert_eq!(door.named(&mut late).await, Err(Barred::Full));
        // It was let in by another slot, which knew its name.
        assert_eq!(door.named(&mut kept).await, Ok(()));
        drop((full, seat, late, other, kept));
        let left = door.seats.lock();
        assert!(left.applications.is_empty() && left.strangers.is_empty());
    }
}
