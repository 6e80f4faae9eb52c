//! Slots of different releases: each slot has, as it seems, one of the former release before it.
//!
//! Between the two stands the test, which passes their messages on and takes out of their greetings
//! what a former release does not say.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use outrigger_control::{Role, Slot};
use parking_lot::Mutex;
use serde_json::Value;

use crate::lines::Client;
use crate::load::Load;
use crate::peer::{Listening, Packet, Peer};
use crate::pod::Pod;

crate::trials![slots_of_different_releases_hand_over_both_ways];

/// The kinds of messages of the former release.
const KNOWN: &str = "HLTRBNCAS";

/// What a greeting of the former release does not have.
const UNKNOWN: &str = "states";

/// Stands in the place of whoever is the owner.
struct Between {
    state: PathBuf,
    /// The kinds of the messages that went through.
    kinds: Mutex<Vec<char>>,
    /// The places that were taken, and the file of the socket that is in the last one.
    taken: Mutex<(u32, Option<u64>)>,
}

impl Between {
    fn stand(pod: &Pod) -> Arc<Between> {
        let between = Arc::new(Between {
            state: pod.shared().join("state"),
            kinds: Mutex::default(),
            taken: Mutex::default(),
        });
        between.take_place();
        between
    }

    fn socket(&self) -> PathBuf {
        self.state.join("owner.sock")
    }

    fn inode(&self) -> Option<u64> {
        Some(std::fs::symlink_metadata(self.socket()).ok()?.ino())
    }

    /// Puts a socket into the place of the owner's, if there is not one yet.
    fn take_place(self: &Arc<Self>) {
        let mut taken = self.taken.lock();
        let found = self.inode();
        // There is no socket any more at the end of a test.
        if found.is_none() || found == taken.1 {
            return;
        }
        let owner = self.state.join(format!("owner-{}.sock", taken.0));
        std::fs::rename(self.socket(), &owner).unwrap();
        let listening = Listening::bind(&self.socket());
        *taken = (taken.0 + 1, self.inode());
        let between = Arc::clone(self);
        thread::spawn(move || {
            while let Ok(standby) = listening.next() {
                between.join(Arc::new(standby), Arc::new(Peer::connect(&owner)));
            }
        });
    }

    /// Passes the messages of two slots on, in both directions.
    fn join(self: &Arc<Self>, standby: Arc<Peer>, owner: Arc<Peer>) {
        for (from, to) in [(Arc::clone(&standby), Arc::clone(&owner)), (owner, standby)] {
            let between = Arc::clone(self);
            thread::spawn(move || {
                between.pass(&from, &to);
                // Who learns that it has a successor is not to find it before this one.
                between.take_place();
                to.close();
            });
        }
    }

    /// Passes messages on until one side is gone.
    fn pass(&self, from: &Peer, to: &Peer) {
        while let Some(packet) = from.receive() {
            self.kinds.lock().push(packet.kind);
            let data = as_formerly(&packet);
            let descriptors: Vec<_> = packet.descriptors.iter().map(AsFd::as_fd).collect();
            if to
                .try_send(packet.kind, packet.id, &data, &descriptors)
                .is_err()
            {
                return;
            }
        }
    }
}

/// The data of a message as the former release sends it.
fn as_formerly(packet: &Packet) -> Vec<u8> {
    match packet.kind {
        'H' => {
            let mut hello: Value = serde_json::from_slice(&packet.data).unwrap();
            hello.as_object_mut().unwrap().remove(UNKNOWN).unwrap();
            hello.to_string().into_bytes()
        }
        'L' => Vec::new(),
        _ => packet.data.clone(),
    }
}

async fn slots_of_different_releases_hand_over_both_ways() {
    let mut pod = Pod::create();
    pod.configure("ledger", "yes");
    pod.order(1, Slot::A);
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let between = Between::stand(&pod);
    pod.start(Slot::B);
    pod.until_standby(Slot::B).await;
    let mut upgraded = Client::open(pod.port, "/").await;
    let load = Load::mixed(pod.port);
    let mut active = Slot::A;
    for term in 2..8 {
        load.answers(50).await;
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
        if term == 2 {
            upgraded.goodbye().await;
        }
    }
    load.finish().await.assert_lossless();
    for slot in Slot::BOTH {
        let report = pod.report(slot).await.unwrap();
        assert_eq!(report.role == Role::Active, slot == active);
        assert_eq!(report.handover.aborted, 0, "{report:?}");
    }
    let kinds = between.kinds.lock();
    let unknown: Vec<_> = kinds
        .iter()
        .filter(|kind| !KNOWN.contains(**kind))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let commits = kinds.iter().filter(|kind| **kind == 'S').count();
    assert_eq!(commits, 6);
}
