//! HDFS in the lab: blocks lie where they were wanted, DataNodes die and return, and nothing stays.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use outrigger_lab::{FileSpec, FsckBlock, Hdfs, Lab, LocalVolume, NameNode, Progress, Shape};

use crate::{machine, subject};

const BLOCK: u64 = 64 << 10;

pub(crate) fn up(shape: Shape) -> Hdfs {
    subject::up();
    let lab = Lab::open().unwrap();
    lab.hdfs_up(shape, &silent()).unwrap()
}

fn silent() -> Progress {
    Progress::new(|_| ())
}

/// Where fsck finds the blocks of a path, as the indices of nodes.
fn located(hdfs: &Hdfs, path: &str) -> Vec<Vec<usize>> {
    let index = |name: &String| subject::NODES.iter().position(|node| node == name).unwrap();
    let nodes = |block: FsckBlock| block.nodes.iter().map(index).collect();
    hdfs.fsck(path).unwrap().into_iter().map(nodes).collect()
}

/// How many block files with this text are on a node's disk.
fn on_disk(node: &str, text: &str) -> usize {
    let script = format!("grep -rlF '{text}' /var/lib/hadoop-hdfs | wc -l");
    let found = subject::on_node(node, &["sh", "-c", &script]);
    found.trim().parse().unwrap()
}

pub(crate) fn blocks_lie_where_they_were_wanted_by_the_word_of_fsck_and_of_the_disks() {
    let hdfs = up(Shape::Single);
    hdfs.delete("/chosen").unwrap();
    let single = vec![vec![3], vec![0], vec![0], vec![2], vec![1]];
    let double = vec![vec![0, 1], vec![2, 3], vec![1, 3]];
    let marked = vec![vec![1, 2]];
    let text = format!("marked-{}", std::process::id());
    let files = [
        FileSpec::new("/chosen/single", BLOCK, single.clone()),
        FileSpec::new("/chosen/double", BLOCK, double.clone()),
        FileSpec::new("/chosen/a b+c%", BLOCK, marked.clone()).with_content(text.clone()),
        FileSpec::new("/chosen/empty", BLOCK, Vec::new()),
    ];
    hdfs.put(&files).unwrap();
    assert_eq!(located(&hdfs, "/chosen/single"), single);
    assert_eq!(located(&hdfs, "/chosen/double"), double);
    assert_eq!(located(&hdfs, "/chosen/a b+c%"), marked);
    assert_eq!(located(&hdfs, "/chosen/empty"), Vec::<Vec<usize>>::new());
    let disks = subject::NODES.map(|node| on_disk(node, &text));
    assert_eq!(disks, [0, 1, 1, 0]);
    let lengths: Vec<_> = hdfs.fsck("/chosen/a b+c%").unwrap();
    assert_eq!(lengths[0].bytes, text.len() as u64);
    assert_eq!(lengths[0].file, "/chosen/a b+c%");

    let open = FileSpec::new("/chosen/open", BLOCK, vec![vec![2]]).with_content("begun");
    hdfs.open_file(&open).unwrap();
    assert!(
        hdfs.fsck_text("/chosen/open")
            .unwrap()
            .contains("OPENFORWRITE")
    );
    hdfs.close("/chosen/open").unwrap();
    assert!(
        !hdfs
            .fsck_text("/chosen/open")
            .unwrap()
            .contains("OPENFORWRITE")
    );
    assert_eq!(located(&hdfs, "/chosen/open"), [[2]]);

    let content = vec![7; 3 << 20];
    hdfs.put_erasure_coded("/chosen/coded", "XOR-2-1-1024k", &content)
        .unwrap();
    assert_eq!(located(&hdfs, "/chosen/coded")[0].len(), 3);
}

pub(crate) fn names_that_hdfs_tells_its_clients_are_known_in_the_cluster() {
    up(Shape::Single);
    let address = |name: &str| {
        let found = subject::on_node("node-2", &["getent", "ahostsv4", name]);
        found.split_whitespace().next().unwrap().to_owned()
    };
    for node in Lab::open().unwrap().nodes() {
        assert_eq!(address(node.name()), node.address().to_string());
    }
    let service = address("namenode.hdfs.svc.cluster.local");
    let through = format!("exec 3<>/dev/tcp/{service}/9870; echo GET / >&3; cat <&3 | head -c 4");
    assert_ne!(subject::on_node("node-2", &["bash", "-c", &through]), "");
}

pub(crate) fn data_nodes_die_leave_and_return() {
    let hdfs = up(Shape::Single);
    hdfs.delete("/lives").unwrap();
    let wanted = vec![vec![3], vec![1]];
    let file = FileSpec::new("/lives/one", BLOCK, wanted.clone());
    hdfs.put(std::slice::from_ref(&file)).unwrap();

    hdfs.kill("node-4").unwrap();
    assert_eq!(machine::processes_of("node-4/datanode"), BTreeSet::new());
    hdfs.await_dead("node-4").unwrap();
    assert!(!hdfs.status().is_whole());
    let refused = hdfs
        .put(std::slice::from_ref(&file))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("instead of [198.18.0.14]"), "{refused}");
    hdfs.restart("node-4").unwrap();
    hdfs.put(std::slice::from_ref(&file)).unwrap();
    assert_eq!(located(&hdfs, "/lives/one"), wanted);

    hdfs.decommission("node-2").unwrap();
    let moved = located(&hdfs, "/lives/one");
    assert!(moved[1].iter().any(|node| *node != 1), "{moved:?}");
    let left = hdfs.status().data_nodes.remove(1);
    assert_eq!(left.admin_state, "Decommissioned");
    hdfs.recommission("node-2").unwrap();
    hdfs.put(std::slice::from_ref(&file)).unwrap();
    assert_eq!(located(&hdfs, "/lives/one"), wanted);

    hdfs.set_safe_mode(true).unwrap();
    let refused = hdfs.put(&[file]).unwrap_err().to_string();
    assert!(
        refused.contains("safe mode") && !refused.contains("\tat "),
        "{refused}"
    );
    hdfs.set_safe_mode(false).unwrap();
    assert!(hdfs.status().is_whole());
    let alone = hdfs.fail_over().unwrap_err().to_string();
    assert!(alone.contains("--pair"), "{alone}");
}

pub(crate) fn a_pair_fails_over_and_keeps_its_files() {
    let hdfs = up(Shape::Pair);
    let wanted = vec![vec![0], vec![3]];
    hdfs.put(&[FileSpec::new("/pair", BLOCK, wanted.clone())])
        .unwrap();
    let first = hdfs.active().unwrap();
    let second = hdfs.fail_over().unwrap();
    assert_ne!(first, second);
    assert_eq!(located(&hdfs, "/pair"), wanted);

    hdfs.kill_name_node(second).unwrap();
    assert_eq!(hdfs.fail_over().unwrap(), first);
    assert_eq!(located(&hdfs, "/pair"), wanted);
    hdfs.restart_name_node(second).unwrap();
    subject::until("both to be well", || hdfs.status().is_whole());
    assert_eq!(hdfs.active(), Some(first));
}

pub(crate) fn a_second_up_changes_no_process_and_an_end_leaves_no_data() {
    let hdfs = up(Shape::Single);
    hdfs.put(&[FileSpec::new("/kept", BLOCK, vec![vec![0]])])
        .unwrap();
    let before = subject::components();
    assert!(before.contains_key("node-3/datanode"));
    subject::up();
    assert_eq!(subject::components(), before);
    assert_eq!(located(&up(Shape::Single), "/kept"), [[0]]);

    let lab = Lab::open().unwrap();
    lab.hdfs_down(&silent()).unwrap();
    assert!(lab.hdfs().is_err());
    for group in ["namenode", "namenode-2", "hdfs-client", "node-1/datanode"] {
        assert_eq!(machine::processes_of(group), BTreeSet::new(), "{group}");
    }
    let name_node = SocketAddr::from((NameNode::First.address(), 9870));
    assert!(TcpStream::connect_timeout(&name_node, Duration::from_secs(2)).is_err());
    for node in lab.nodes() {
        assert!(!node.root().join("var/lib/hadoop-hdfs").exists());
    }
    let namespaces = subject::kubectl(&["get", "namespaces", "--output=name"]);
    assert!(!namespaces.contains("namespace/hdfs"), "{namespaces}");
    assert!(subject::is_up());
}

pub(crate) fn a_local_volume_brings_its_pod_to_its_node() {
    subject::up();
    subject::install();
    let lab = Lab::open().unwrap();
    let volume = LocalVolume::new("lifecycle-local", "node-3", "64Mi")
        .for_claim("default", "lifecycle-local");
    let directory = lab.create_local_volume(&volume).unwrap();
    std::fs::write(directory.join("kept"), "here").unwrap();
    let path = "/var/lib/local-volumes/lifecycle-local/kept";
    assert_eq!(subject::on_node("node-3", &["cat", path]), "here");

    subject::apply(&format!(
        r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: lifecycle-local}}
spec:
  storageClassName: local
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 64Mi}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: lifecycle-local}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      volumeMounts: [{{name: local, mountPath: /local}}]
  volumes:
    - name: local
      persistentVolumeClaim: {{claimName: lifecycle-local}}
"#,
        image = subject::image(&lab),
    ));
    subject::kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/lifecycle-local",
        "--timeout=120s",
    ]);
    let node = [
        "get",
        "pod",
        "lifecycle-local",
        "--output=jsonpath={.spec.nodeName}",
    ];
    assert_eq!(subject::kubectl(&node), "node-3");

    subject::kubectl(&[
        "delete",
        "pod/lifecycle-local",
        "pvc/lifecycle-local",
        "--timeout=60s",
    ]);
    lab.remove_local_volume("lifecycle-local").unwrap();
    assert!(!directory.exists());
    let left = subject::kubectl(&["get", "persistentvolumes", "--output=name"]);
    assert!(!left.contains("lifecycle-local"), "{left}");
}
