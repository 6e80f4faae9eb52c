//! The lab as its users call it, and something that runs in it.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use outrigger_lab::Lab;

use crate::machine;

pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_lab");
pub(crate) const NODES: [&str; 4] = ["node-1", "node-2", "node-3", "node-4"];
/// A directory below /var/lib of each node.
pub(crate) const HOST_PATH_NAME: &str = "lifecycle-host-path";
const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
/// The two processes of each pod: the one that holds its namespaces, and its container's.
const PROCESSES_OF_POD: usize = 2;

pub(crate) fn up() {
    succeed(Command::new(LAB).arg("up"));
    assert!(is_up(), "{}", String::from_utf8_lossy(&status().stdout));
}

pub(crate) fn down() {
    succeed(Command::new(LAB).arg("down"));
}

/// Whether all of it runs, by its own word.
pub(crate) fn is_up() -> bool {
    status().status.success()
}

fn status() -> Output {
    Command::new(LAB).arg("status").output().unwrap()
}

/// Each component's process and its start time.
pub(crate) fn components() -> BTreeMap<String, machine::Process> {
    let status = Lab::open().unwrap().status().unwrap();
    let process = |pid: Option<u32>| {
        let pid = pid.unwrap();
        (pid, machine::start_time(pid).unwrap())
    };
    status
        .components
        .into_iter()
        .map(|component| (component.name, process(component.pid)))
        .collect()
}

/// The output of a program run on a node.
pub(crate) fn on_node(node: &str, words: &[&str]) -> String {
    succeed(Command::new(LAB).args(["node", node]).args(words))
}

/// Brings an image, a pod on each node, an object and a row into the lab, and waits for the pods.
pub(crate) fn install() {
    let lab = Lab::open().unwrap();
    let image = image(&lab);
    let state = lab.kubeconfig().parent().unwrap().to_owned();
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            &format!("oci-archive:{}", state.join("pause.tar").display()),
            &format!("docker://{image}"),
        ],
    );
    let objects = format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: lifecycle}}
data: {{written: before}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: lifecycle}}
spec:
  selector: {{matchLabels: {{app: lifecycle}}}}
  template:
    metadata: {{labels: {{app: lifecycle}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {image}
          imagePullPolicy: Always
          volumeMounts: [{{name: host, mountPath: /host}}]
      volumes:
        - name: host
          hostPath: {{path: /var/lib/{HOST_PATH_NAME}, type: DirectoryOrCreate}}
"#
    );
    apply(&objects);
    sql("CREATE TABLE IF NOT EXISTS lifecycle (written text PRIMARY KEY)");
    sql("INSERT INTO lifecycle VALUES ('before') ON CONFLICT DO NOTHING");
    await_pods();
}

/// The image that [`install`] brings into the registry: it waits for its end.
pub(crate) fn image(lab: &Lab) -> String {
    format!("{}/lifecycle:1", lab.registry())
}

pub(crate) fn apply(objects: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), objects).unwrap();
    kubectl(&["apply", "--filename", file.path().to_str().unwrap()]);
}

/// Waits until a pod runs on each node: until its processes do, because the API server may repeat
/// what it was told before the pods were killed.
pub(crate) fn await_pods() {
    until("a pod on each node", || {
        let runs = |node: &&str| {
            let pods = machine::processes_of(&format!("{node}/kubepods"));
            pods.len() >= PROCESSES_OF_POD
        };
        NODES.iter().all(runs) && containers().len() == NODES.len()
    });
    kubectl(&["rollout", "status", "daemonset/lifecycle", "--timeout=180s"]);
}

/// The container that runs on each node.
pub(crate) fn containers() -> BTreeMap<String, String> {
    const RUNNING: &str = "jsonpath={range .items[*].status.containerStatuses[?(@.state.running)]}\
                           {.containerID}{\"\\n\"}{end}";
    let of_node = |node: &str| {
        let selector = format!("spec.nodeName={node}");
        let pods = [
            "get",
            "pods",
            "--selector=app=lifecycle",
            "--field-selector",
        ];
        let found = kubectl(&[&pods[..], &[&selector, "--output", RUNNING]].concat());
        (!found.trim().is_empty()).then(|| (node.to_owned(), found.trim().to_owned()))
    };
    NODES.into_iter().filter_map(of_node).collect()
}

/// What [`install`] wrote is there.
pub(crate) fn assert_data() {
    let written = "jsonpath={.data.written}";
    let read = kubectl(&["get", "configmap", "lifecycle", "--output", written]);
    assert_eq!(read, "before");
    assert_eq!(sql("SELECT written FROM lifecycle").trim(), "before");
}

fn sql(statement: &str) -> String {
    let url = Lab::open().unwrap().postgres().url();
    run(
        PSQL,
        &[
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
            &url,
        ],
    )
}

pub(crate) fn kubectl(arguments: &[&str]) -> String {
    let lab = Lab::open().unwrap();
    succeed(
        Command::new(lab.tools().join("kubectl"))
            .args(arguments)
            .envs(lab.environment()),
    )
}

/// The output of a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    succeed(Command::new(program).args(arguments))
}

fn succeed(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{command:?}: {}\n{said}",
        done.status
    );
    String::from_utf8(done.stdout).unwrap()
}

/// Looks again and again, for at most three minutes.
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(
            start.elapsed() < Duration::from_secs(180),
            "waited for {what}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
