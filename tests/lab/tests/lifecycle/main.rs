//! The lab's life on this machine: idempotence, abrupt ends, and an end without a trace.
//!
//! Ends and leftovers are made and sought by the kernel's and the system's own means, so that no
//! mistake of the lab hides itself. Brings the lab up, several times; leaves it down.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod hdfs;
mod machine;
mod subject;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use machine::{Process, Snapshot};
use outrigger_lab::Shape;
use rustix::process::{Pid, Signal, kill_process};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one machine.
    arguments.test_threads = Some(1);
    let trial = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let trials = vec![
        trial("nodes_share_no_host_path", nodes_share_no_host_path),
        trial(
            "a_second_up_changes_no_process_and_no_container",
            a_second_up_changes_no_process_and_no_container,
        ),
        trial(
            "up_brings_back_what_was_killed_and_leaves_the_rest_alone",
            up_brings_back_what_was_killed_and_leaves_the_rest_alone,
        ),
        trial(
            "up_brings_everything_back_with_its_data_after_all_was_killed",
            up_brings_everything_back_with_its_data_after_all_was_killed,
        ),
        trial(
            "an_up_that_was_killed_after_a_reboot_is_carried_on_by_the_next",
            an_up_that_was_killed_after_a_reboot_is_carried_on_by_the_next,
        ),
        trial(
            "a_local_volume_brings_its_pod_to_its_node",
            hdfs::a_local_volume_brings_its_pod_to_its_node,
        ),
        trial(
            "blocks_lie_where_they_were_wanted_by_the_word_of_fsck_and_of_the_disks",
            hdfs::blocks_lie_where_they_were_wanted_by_the_word_of_fsck_and_of_the_disks,
        ),
        trial(
            "names_that_hdfs_tells_its_clients_are_known_in_the_cluster",
            hdfs::names_that_hdfs_tells_its_clients_are_known_in_the_cluster,
        ),
        trial(
            "data_nodes_die_leave_and_return",
            hdfs::data_nodes_die_leave_and_return,
        ),
        trial(
            "a_pair_fails_over_and_keeps_its_files",
            hdfs::a_pair_fails_over_and_keeps_its_files,
        ),
        trial(
            "a_second_up_changes_no_process_and_an_end_leaves_no_data",
            hdfs::a_second_up_changes_no_process_and_an_end_leaves_no_data,
        ),
        trial("down_leaves_nothing", down_leaves_nothing),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn nodes_share_no_host_path() {
    subject::up();
    subject::install();
    let listing = |node: &str| subject::on_node(node, &["ls", "/mnt", "/var/lib"]);
    subject::on_node("node-1", &["touch", "/mnt/of-node-1"]);
    assert!(listing("node-1").contains("of-node-1"));
    for node in ["node-2", "node-3", "node-4"] {
        assert!(!listing(node).contains("of-node-1"), "{node}");
        assert_eq!(subject::on_node(node, &["hostname"]).trim(), node);
    }
    // kubelet made the directory of the pod's hostPath on each node, and none on the machine.
    for node in subject::NODES {
        assert!(listing(node).contains(subject::HOST_PATH_NAME), "{node}");
    }
    assert!(!Path::new("/mnt/of-node-1").exists());
    assert!(!Path::new("/var/lib").join(subject::HOST_PATH_NAME).exists());
}

fn a_second_up_changes_no_process_and_no_container() {
    subject::up();
    subject::install();
    let (components, containers) = (subject::components(), subject::containers());
    assert_eq!(containers.len(), subject::NODES.len());
    subject::up();
    assert_eq!(subject::components(), components);
    assert_eq!(subject::containers(), containers);
}

fn up_brings_back_what_was_killed_and_leaves_the_rest_alone() {
    subject::up();
    subject::install();
    let (components, containers) = (subject::components(), subject::containers());
    let killed = ["etcd", "kube-apiserver", "postgres", "node-2"];
    let victims: BTreeSet<_> = killed.into_iter().flat_map(machine::processes_of).collect();
    kill(&victims);

    subject::up();
    let hit = |name: &str| {
        killed
            .iter()
            .any(|killed| Path::new(name).starts_with(killed))
    };
    let after = subject::components();
    for (name, before) in &components {
        assert_eq!(after[name] == *before, !hit(name), "{name}");
    }
    subject::await_pods();
    subject::assert_data();
    for (node, container) in subject::containers() {
        assert_eq!(containers[&node] == container, node != "node-2", "{node}");
    }
}

fn up_brings_everything_back_with_its_data_after_all_was_killed() {
    subject::up();
    subject::install();
    kill(&machine::processes_of(""));
    assert!(!subject::is_up());

    subject::up();
    subject::await_pods();
    subject::assert_data();
}

fn an_up_that_was_killed_after_a_reboot_is_carried_on_by_the_next() {
    subject::up();
    subject::install();
    lose_what_a_reboot_takes();

    let mut up = Command::new(subject::LAB)
        .arg("up")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(up.stderr.take().unwrap()).lines();
    let reached = said
        .map_while(Result::ok)
        .any(|line| line.contains("node-2 started"));
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(reached);
    assert!(!subject::is_up());

    subject::up();
    subject::await_pods();
    subject::assert_data();
}

fn down_leaves_nothing() {
    subject::down();
    let before = Snapshot::take();
    assert_eq!(before.marked(), Vec::<String>::new());
    assert_eq!(machine::processes_of(""), BTreeSet::new());

    hdfs::up(Shape::Single);
    subject::install();
    let processes = machine::processes_of("");
    let namespaces = machine::namespaces_of(&processes);
    assert_eq!(machine::shared_memory_of(&processes), Vec::<String>::new());
    // What is to be gone is there, and is seen.
    assert!(processes.len() > subject::components().len());
    assert!(namespaces.len() > 3 * subject::NODES.len());
    let seen = Snapshot::take().since(&before);
    for kind in ["link", "address", "route", "mount", "control group", "file"] {
        assert!(
            seen.iter().any(|line| line.starts_with(kind)),
            "{kind}: {seen:#?}"
        );
    }
    // A mount namespace of another program, made while the lab is up, has copies of its mounts.
    let mut bystander = Command::new("unshare")
        .args(["--mount", "sleep", "infinity"])
        .spawn()
        .unwrap();
    // Someone is still logged in on a node.
    let mut session = Command::new(subject::LAB)
        .args(["node", "node-1", "sleep", "infinity"])
        .spawn()
        .unwrap();

    subject::down();
    session.wait().unwrap();
    let after = Snapshot::take();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert_eq!(after.since(&before), Vec::<String>::new());
    assert_eq!(machine::processes_in(&namespaces), Vec::<u32>::new());
    let alive: Vec<_> = processes
        .into_iter()
        .filter(|process| machine::runs(*process))
        .collect();
    assert_eq!(alive, Vec::<Process>::new());
    assert!(!subject::is_up());
    // Nothing is left for it to do, and that is fine.
    subject::down();
}

/// SIGKILL, and the end of them all.
fn kill(processes: &BTreeSet<Process>) {
    assert!(!processes.is_empty());
    for &(pid, _) in processes {
        // It may have ended with one that was killed before it.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
    subject::until("the killed processes to end", || {
        !processes.iter().any(|process| machine::runs(*process))
    });
}

/// Takes from the machine what it loses when it is switched off: processes, links with their
/// routes, mounts, control groups. Files stay.
fn lose_what_a_reboot_takes() {
    subject::until("every process of the lab to end", || {
        let processes = machine::processes_of("");
        let none = processes.is_empty();
        if !none {
            kill(&processes);
        }
        none
    });
    subject::run("ip", &["link", "delete", "outrigger0"]);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().map(|line| line.split(' ').nth(4).unwrap());
    for point in points
        .filter(|point| point.contains("outrigger-lab"))
        .collect::<Vec<_>>()
        .iter()
        .rev()
    {
        subject::run("umount", &["--lazy", point]);
    }
    for group in machine::lab_groups() {
        subject::run(
            "find",
            &[group.to_str().unwrap(), "-depth", "-type", "d", "-delete"],
        );
    }
}
