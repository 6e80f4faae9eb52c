//! What holds whatever happens, in whatever order.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use outrigger_control::Phase;
use outrigger_rollout::State;
use proptest::prelude::*;

use crate::fleet::fleet;
use crate::world::World;

#[derive(Clone, Debug)]
enum Event {
    Image(&'static str),
    AtOnce(&'static str),
    Partition(i32),
    Paused(bool),
    Kill(usize),
    Delete(usize),
    Lose(usize),
    Return,
    DiesAfter(Option<usize>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop::sample::select(vec![
            "good:1",
            "good:2",
            "good:3",
            "crashes:4",
            "exits:5",
            "errs:6"
        ])
        .prop_map(Event::Image),
        prop::sample::select(vec!["1%", "25%", "50%", "100%"]).prop_map(Event::AtOnce),
        (0..9).prop_map(Event::Partition),
        any::<bool>().prop_map(Event::Paused),
        (0..8usize).prop_map(Event::Kill),
        (0..8usize).prop_map(Event::Delete),
        (0..4usize).prop_map(Event::Lose),
        Just(Event::Return),
        prop::option::of(1..9usize).prop_map(Event::DiesAfter),
    ]
}

fn happens(world: &mut World, event: &Event, round: usize) {
    match event {
        Event::Image(image) => world.set_image(image),
        Event::AtOnce(share) => {
            world.update().max_unavailable = Some(IntOrString::String((*share).into()));
        }
        Event::Partition(pods) => world.update().partition = Some(IntOrString::Int(*pods)),
        Event::Paused(paused) => world.update().paused = Some(*paused),
        Event::Kill(pod) => {
            let active = world.pods[*pod].active();
            world.pods[*pod].kill(active);
        }
        Event::Delete(pod) => {
            let gone = world.pods.remove(*pod);
            let node = gone.object["spec"]["nodeName"].as_str().unwrap().to_owned();
            world.create(&format!("web-{round}-new"), &node);
        }
        Event::Lose(node) => {
            lose(world, &format!("node-{node}"), true);
        }
        Event::Return => {
            for node in world.lost_nodes.clone() {
                lose(world, &node, false);
            }
        }
        Event::DiesAfter(actions) => world.dies_after = *actions,
    }
}

fn lose(world: &mut World, node: &str, lost: bool) {
    match lost {
        true => world.lost_nodes.insert(node.to_owned()),
        false => world.lost_nodes.remove(node),
    };
    for pod in &mut world.pods {
        if pod.object["spec"]["nodeName"] == node {
            pod.lost = lost;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The world checks with every pod that is begun that no more are disturbed than may be, with
    /// every patch that it is one the API server takes and that no slot is left without a peer, and
    /// with every image that its slot had none like it before.
    #[test]
    fn limits_hold_and_every_swap_comes_to_its_end(
        events in prop::collection::vec((event(), 1..40usize), 1..10),
    ) {
        let mut world = fleet(8);
        for (round, (event, turns)) in events.iter().enumerate() {
            happens(&mut world, event, round);
            for _ in 0..*turns {
                world.turn();
            }
        }
        happens(&mut world, &Event::Return, 0);
        world.dies_after = None;
        world.update().paused = None;
        world.set_image("good:9");
        world.update().partition = None;
        let decision = world.settle();
        prop_assert_eq!(decision.summary.state, State::Ready, "{}", decision.summary.message);
        prop_assert!(world.pods.iter().all(|pod| pod.order().phase == Phase::Rest));
    }
}
