//! Handovers in which one side is played by the test and dies or hangs at a chosen message.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use outrigger_control::{Role, Slot};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::client::{Connection, get};
use crate::load::Load;
use crate::peer::{Listening, Packet, Peer};
use crate::pod::Pod;

crate::trials![
    a_new_side_that_dies_at_any_stage_costs_nothing,
    a_new_side_that_hangs_at_any_stage_costs_nothing,
    three_aborted_handovers_are_reported,
    a_hung_standby_does_not_keep_another_out,
    an_old_side_that_dies_at_any_stage_is_succeeded,
    an_old_side_that_gives_up_keeps_its_connections,
];

fn owner_socket(pod: &Pod) -> PathBuf {
    pod.shared().join("state/owner.sock")
}

/// What a new side has done when it dies or hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NewSide {
    Connected,
    Greeted,
    HasListeners,
    Asked,
    Begun,
    ReceivedFirst,
    HeldFirst,
    HeldTenth,
    ReceivedCommit,
}

impl NewSide {
    const ALL: [NewSide; 9] = [
        NewSide::Connected,
        NewSide::Greeted,
        NewSide::HasListeners,
        NewSide::Asked,
        NewSide::Begun,
        NewSide::ReceivedFirst,
        NewSide::HeldFirst,
        NewSide::HeldTenth,
        NewSide::ReceivedCommit,
    ];

    /// Whether the old side has parked its connections for it.
    fn has_begun(self) -> bool {
        self >= NewSide::Begun
    }

    /// Plays slot b of a former release, by the order of a term, up to this stage.
    fn play(self, pod: &Pod, term: u64) -> (Peer, Vec<Packet>) {
        self.play_as(pod, term, false)
    }

    /// Plays slot b, by the order of a term, up to this stage. A former release does not say
    /// whether it takes states.
    pub(crate) fn play_as(self, pod: &Pod, term: u64, states: bool) -> (Peer, Vec<Packet>) {
        let peer = Peer::connect(&owner_socket(pod));
        let mut packets = Vec::new();
        let mut hello = json!({"protocol": 1, "slot": "b", "version": "by hand"});
        if states {
            hello["states"] = true.into();
        }
        if self >= NewSide::Greeted {
            peer.send('H', 0, hello.to_string().as_bytes(), &[]);
        }
        if self >= NewSide::HasListeners {
            packets.push(peer.expect('L'));
        }
        let ready = json!({"term": term, "files": 4096});
        if self >= NewSide::Asked {
            peer.send('R', 0, ready.to_string().as_bytes(), &[]);
        }
        if self >= NewSide::Begun {
            packets.push(peer.expect('B'));
        }
        let held = match self {
            NewSide::HeldFirst => 1,
            NewSide::HeldTenth => 10,
            _ => 0,
        };
        for _ in 0..held {
            let packet = peer.receive().expect("a connection");
            assert!(matches!(packet.kind, 'C' | 'U'), "{packet:?}");
            peer.send('A', packet.id, &[], &[]);
            packets.push(packet);
        }
        if self == NewSide::ReceivedFirst {
            packets.push(peer.expect('C'));
        }
        if self == NewSide::ReceivedCommit {
            let is_commit = |packet: &Packet| packet.kind == 'S';
            while !packets.last().is_some_and(is_commit) {
                let packet = peer.receive().expect("a commit");
                if !is_commit(&packet) {
                    peer.send('A', packet.id, &[], &[]);
                }
                packets.push(packet);
            }
        }
        (peer, packets)
    }
}

/// A pod with slot a only, and load on it.
async fn lone_slot_under_load() -> (Pod, Load) {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let load = Load::mixed(pod.port);
    load.answers(100).await;
    (pod, load)
}

/// After whatever was: a real slot b takes over by a new order, and nothing was lost.
async fn a_real_handover_follows(mut pod: Pod, load: Load, term: u64) {
    let report = pod.until_active(Slot::A).await;
    assert_eq!(report.handover.completed, 0);
    load.answers(100).await;
    pod.order(term, Slot::B);
    pod.start(Slot::B);
    pod.until_swapped(term, Slot::B).await;
    load.answers(100).await;
    load.finish().await.assert_lossless();
}

/// Orders slot b to be active, and waits until its owner has read that. The handovers that the owner
/// gave up before.
async fn order_to_the_new_side(pod: &Pod, term: u64) -> u64 {
    pod.order(term, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(term)
    })
    .await;
    pod.report(Slot::A).await.unwrap().handover.aborted
}

async fn a_new_side_that_dies_at_any_stage_costs_nothing() {
    let (pod, load) = lone_slot_under_load().await;
    let mut term = 1;
    for stage in NewSide::ALL {
        term += 1;
        let aborted = order_to_the_new_side(&pod, term).await;
        drop(stage.play(&pod, term));
        if stage.has_begun() {
            pod.until(Slot::A, &format!("aware of a death: {stage:?}"), |report| {
                report.handover.aborted > aborted && report.role == Role::Active
            })
            .await;
        }
        load.answers(50).await;
    }
    a_real_handover_follows(pod, load, term + 1).await;
}

async fn a_new_side_that_hangs_at_any_stage_costs_nothing() {
    let (pod, load) = lone_slot_under_load().await;
    let mut term = 1;
    for stage in NewSide::ALL {
        term += 1;
        let aborted = order_to_the_new_side(&pod, term).await;
        let hung = stage.play(&pod, term);
        if stage.has_begun() {
            pod.until(Slot::A, &format!("tired of waiting: {stage:?}"), |report| {
                report.handover.aborted > aborted && report.role == Role::Active
            })
            .await;
        }
        load.answers(50).await;
        drop(hung);
    }
    a_real_handover_follows(pod, load, term + 1).await;
}

async fn three_aborted_handovers_are_reported() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    // Something to pass.
    let mut kept = Connection::open(pod.port).await.unwrap();
    kept.get("/", "before").await.unwrap();
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    for aborted in 1..=3 {
        let hung = NewSide::ReceivedFirst.play(&pod, 2);
        let report = pod
            .until(Slot::A, "tired of waiting", |report| {
                report.handover.aborted == aborted && report.role == Role::Active
            })
            .await;
        let reason = report.handover.last_error.unwrap();
        assert!(reason.contains("acknowledged nothing"), "{reason}");
        drop(hung);
        kept.get("/", "after").await.unwrap();
    }
}

async fn a_hung_standby_does_not_keep_another_out() {
    let (pod, load) = lone_slot_under_load().await;
    let hung = NewSide::HasListeners.play(&pod, 2);
    a_real_handover_follows(pod, load, 2).await;
    drop(hung);
}

/// An owner in slot a, played by the test. Dropping it is what the kernel does when its process is
/// killed.
pub(crate) struct OldSide {
    lock: File,
    control: Listening,
    listeners: Vec<TcpListener>,
}

/// What an old side has done when it dies or gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OldStage {
    Owner,
    Asked,
    Begun,
    Passed,
    Acknowledged,
    Committed,
}

impl OldStage {
    const ALL: [OldStage; 6] = [
        OldStage::Owner,
        OldStage::Asked,
        OldStage::Begun,
        OldStage::Passed,
        OldStage::Acknowledged,
        OldStage::Committed,
    ];

    /// Whether the new side has received the connection.
    fn has_passed(self) -> bool {
        self >= OldStage::Passed
    }
}

/// A handover from an [`OldSide`].
pub(crate) struct Giving {
    old: OldSide,
    pub(crate) peer: Peer,
    witness: OwnedFd,
    connection: TcpStream,
}

impl OldSide {
    pub(crate) fn start(pod: &Pod) -> OldSide {
        let state = pod.shared().join("state");
        let mut directory = std::fs::DirBuilder::new();
        directory.mode(0o700).create(&state).unwrap();
        let lock = File::create(state.join("owner")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let record = json!({"pair": {"term": 1, "takeover": 0}, "active": "a"});
        std::fs::write(state.join("record.json"), record.to_string()).unwrap();
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        OldSide {
            lock,
            control: Listening::bind(&owner_socket(pod)),
            listeners: [pod.port, pod.second_port].map(listen).into(),
        }
    }

    fn greet(&self) -> Peer {
        let peer = self.control.accept();
        peer.expect('H');
        let listeners: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        peer.send('L', 0, &[], &listeners);
        peer
    }

    /// Gives the connection to slot b up to a stage. The old side has read `unread` of it.
    pub(crate) async fn give(self, pod: &Pod, stage: OldStage, unread: &[u8]) -> Giving {
        let (connection, _) = self.listeners[0].accept().unwrap();
        connection.set_nonblocking(true).unwrap();
        let peer = self.greet();
        pod.until_standby(Slot::B).await;
        let (theirs, witness) = rustix::pipe::pipe().unwrap();
        if stage >= OldStage::Asked {
            pod.order(2, Slot::B);
            peer.expect('R');
        }
        if stage >= OldStage::Begun {
            peer.send('B', 0, &[], &[theirs.as_fd()]);
        }
        if stage >= OldStage::Passed {
            peer.send('C', 1, unread, &[connection.as_fd()]);
        }
        if stage >= OldStage::Acknowledged {
            assert_eq!(peer.expect('A').id, 1);
        }
        if stage >= OldStage::Committed {
            peer.send('S', 0, &[], &[self.lock.as_fd()]);
        }
        Giving {
            old: self,
            peer,
            witness,
            connection,
        }
    }
}

async fn an_old_side_that_dies_at_any_stage_is_succeeded() {
    for stage in OldStage::ALL {
        println!("{stage:?}");
        let mut pod = Pod::create();
        let old = OldSide::start(&pod);
        let mut kept = Connection::open(pod.port).await.unwrap();
        let request = get("/", "half");
        let (first, second) = request.split_at(20);
        // The old side has read the first half.
        pod.start(Slot::B);
        let giving = old.give(&pod, stage, first.as_bytes()).await;
        let mut waiting = Connection::open(pod.port).await.unwrap();
        waiting.send(get("/", "waiting")).await.unwrap();
        drop(giving);
        let report = pod.until_active(Slot::B).await;
        assert!(
            report.pair.term == 2 || report.pair.takeover == 1,
            "{report:?}"
        );
        // Who waited in the backlog is served, and who was passed lives on.
        assert_eq!(waiting.answer("waiting").await.unwrap().seen.slot, "b");
        if stage.has_passed() {
            kept.send(second).await.unwrap();
            assert_eq!(kept.answer("half").await.unwrap().seen.slot, "b");
        } else {
            kept.closed().await;
        }
    }
}

async fn an_old_side_that_gives_up_keeps_its_connections() {
    for stage in [OldStage::Begun, OldStage::Passed, OldStage::Acknowledged] {
        println!("{stage:?}");
        let mut pod = Pod::create();
        let old = OldSide::start(&pod);
        let mut kept = Connection::open(pod.port).await.unwrap();
        pod.start(Slot::B);
        let Giving {
            old,
            peer,
            witness,
            connection,
        } = old.give(&pod, stage, b"").await;
        rustix::io::write(&witness, &[1]).unwrap();
        drop((peer, witness));
        // Slot b comes back as a standby, and has not touched the connection.
        let _peer = old.greet();
        pod.until_standby(Slot::B).await;
        kept.send("mine").await.unwrap();
        let mut stream = tokio::net::TcpStream::from_std(connection).unwrap();
        let mut received = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut received)
            .await
            .unwrap();
        assert_eq!(&received, b"mine");
        let report = pod.report(Slot::B).await.unwrap();
        assert_eq!((report.pair.term, report.pair.takeover), (1, 0));
    }
}
