use std::collections::BTreeMap;

use outrigger_hdfs::{DataNodeId, DataNodeState, PathScan, Scan};

use crate::name_node::{Ask, NameNode, Reply, scanner};
use crate::namespace::{MIB, Namespace};

async fn scan(server: &NameNode, path: &str) -> Scan {
    let scan = scanner(&[server]).scan(&[path.to_owned()]).await.unwrap();
    assert_eq!(scan.problems, []);
    scan
}

/// Bytes by the hosts of the holders.
fn groups(path: &PathScan) -> BTreeMap<String, u64> {
    let hosts = |holders: &outrigger_hdfs::Holders| {
        let host = |id: &DataNodeId| id.as_str().split(':').next().unwrap().to_owned();
        holders.iter().map(host).collect::<Vec<_>>().join(" ")
    };
    path.groups
        .iter()
        .map(|(holders, bytes)| (hosts(holders), *bytes))
        .collect()
}

fn expected<const N: usize>(groups: [(&str, u64); N]) -> BTreeMap<String, u64> {
    groups
        .map(|(hosts, bytes)| (hosts.to_owned(), bytes))
        .into()
}

fn state(scan: &Scan, host: &str) -> DataNodeState {
    let node = scan.data_nodes.values().find(|node| node.host == host);
    node.unwrap().state
}

/// Answers of Hadoop 3.5 as they were recorded, for a file of a length.
fn recorded(
    length: u64,
    jmx: &'static str,
    blocks: &'static str,
    located: &'static str,
) -> impl Fn(&Ask) -> Option<Reply> {
    move |ask| {
        let listed = include_str!("../answers/page.json");
        let mut page: serde_json::Value = serde_json::from_str(listed).unwrap();
        let files = &mut page["DirectoryListing"]["partialListing"]["FileStatuses"]["FileStatus"];
        let mut file = files[3].clone();
        file["pathSuffix"] = "".into();
        file["length"] = length.into();
        *files = vec![file].into();
        let body = match ask.operation.as_str() {
            "JMX" => jmx.to_owned(),
            "LISTSTATUS_BATCH" => page.to_string(),
            "GETFILEBLOCKLOCATIONS" => blocks.to_owned(),
            "GET_BLOCK_LOCATIONS" if located.is_empty() => {
                let message = "op=GET_BLOCK_LOCATIONS is not supported";
                return Some(Reply::exception(
                    400,
                    "UnsupportedOperationException",
                    message,
                ));
            }
            "GET_BLOCK_LOCATIONS" => located.to_owned(),
            _ => return None,
        };
        Some(Reply::Json(200, body))
    }
}

#[tokio::test]
async fn recorded_blocks_are_on_their_data_nodes() {
    let answers = recorded(
        3 * MIB,
        include_str!("../answers/jmx.json"),
        include_str!("../answers/blocks.json"),
        "",
    );
    let (server, _) = Namespace::with(0)
        .file("/f2", &[])
        .serve_with(answers)
        .await;
    let scan = scan(&server, "/f2").await;
    assert!(scan.liveness_known);
    assert_eq!(scan.safe_mode, None);
    let path = &scan.paths[0];
    assert_eq!((path.bytes, path.blocks, path.missing), (3 * MIB, 3, 0));
    let groups = groups(path);
    assert_eq!(
        groups,
        expected([
            ("node-1 node-2", MIB),
            ("node-2 node-3", MIB),
            ("node-3 node-4", MIB)
        ])
    );
    let node = &scan.data_nodes[&DataNodeId::new("node-1", 19101)];
    assert_eq!(node.ip, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(node.rack.as_deref(), Some("/default-rack"));
    assert_eq!(scan.data_nodes.len(), 4);
}

#[tokio::test]
async fn a_killed_data_node_that_the_name_node_still_names_does_not_count() {
    // JMX has moved node-4 to the dead already; the block answers still name it.
    let answers = recorded(
        3 * MIB,
        include_str!("../answers/jmx-dead.json"),
        include_str!("../answers/blocks.json"),
        "",
    );
    let (server, _) = Namespace::with(0)
        .file("/f2", &[])
        .serve_with(answers)
        .await;
    let scan = scan(&server, "/f2").await;
    assert_eq!(
        groups(&scan.paths[0]),
        expected([
            ("node-1 node-2", MIB),
            ("node-2 node-3", MIB),
            ("node-3", MIB)
        ])
    );
    assert_eq!(state(&scan, "node-4"), DataNodeState::Dead);
    assert_eq!(scan.paths[0].missing, 0);
}

#[tokio::test]
async fn blocks_without_a_copy_are_missing() {
    for located in ["", include_str!("../answers/lost-located-blocks.json")] {
        let answers = recorded(
            2 * MIB,
            include_str!("../answers/jmx-dead.json"),
            include_str!("../answers/lost-blocks.json"),
            located,
        );
        let (server, _) = Namespace::with(0)
            .file("/f4", &[])
            .serve_with(answers)
            .await;
        let scan = scan(&server, "/f4").await;
        let path = &scan.paths[0];
        assert_eq!((path.bytes, path.missing), (2 * MIB, MIB));
        assert_eq!(groups(path), expected([("node-3", MIB), ("", MIB)]));
    }
}

#[tokio::test]
async fn of_a_file_being_written_the_known_bytes_count() {
    // The listing may be behind.
    for (length, located) in [
        (0, ""),
        (0, include_str!("../answers/open-located-blocks.json")),
        (200_000, include_str!("../answers/open-located-blocks.json")),
    ] {
        let answers = recorded(
            length,
            include_str!("../answers/jmx.json"),
            include_str!("../answers/open-blocks.json"),
            located,
        );
        let (server, _) = Namespace::with(0)
            .file("/uc", &[])
            .serve_with(answers)
            .await;
        let mut scanner = scanner(&[&server]);
        for _ in 0..2 {
            let scan = scanner.scan(&["/uc".to_owned()]).await.unwrap();
            let path = &scan.paths[0];
            assert_eq!(
                (path.bytes, path.files, path.under_construction),
                (300_000, 1, 1)
            );
            assert_eq!(groups(path), expected([("node-3 node-4", 300_000)]));
            assert_eq!(scanner.remembered(), 0, "it may grow without a trace");
        }
    }
}

#[tokio::test]
async fn files_that_may_be_written_are_asked_about_in_the_way_that_tells_it() {
    let mut namespace = Namespace::with(2);
    namespace.put("/d/closed", &[(MIB, &[1]), (MIB, &[2])]);
    namespace.put("/d/open", &[(MIB, &[1]), (5, &[2])]).open = true;
    namespace.put("/d/begun", &[(7, &[2])]).open = true;
    namespace.put("/d/plain", &[(9, &[2])]);
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, "/d").await;
    let path = &scan.paths[0];
    assert_eq!((path.bytes, path.under_construction), (3 * MIB + 21, 2));
    let operations = server.operations();
    assert_eq!(operations["GET_BLOCK_LOCATIONS"], 3);
    assert_eq!(operations["GETFILEBLOCKLOCATIONS"], 1);
}

#[tokio::test]
async fn erasure_coded_bytes_are_on_no_data_node() {
    let mut namespace = Namespace::with(3).file("/d/plain", &[(5, &[1])]);
    namespace
        .put("/d/coded", &[(2 * MIB, &[1, 2, 3]), (100, &[1, 2])])
        .erasure_coded = true;
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, "/d").await;
    let path = &scan.paths[0];
    assert_eq!(
        (path.bytes, path.erasure_coded),
        (2 * MIB + 105, 2 * MIB + 100)
    );
    assert_eq!(path.missing, 0);
    assert_eq!(groups(path), expected([("", 2 * MIB + 100), ("node-1", 5)]));
}

#[tokio::test]
async fn corrupt_blocks_are_on_no_data_node() {
    for length in [5, MIB] {
        let mut namespace = Namespace::with(2);
        namespace.put("/f", &[(length, &[1, 2])]).corrupt = true;
        let (server, _) = namespace.serve().await;
        let scan = scan(&server, "/f").await;
        assert_eq!(groups(&scan.paths[0]), expected([("", length)]));
        assert_eq!(scan.paths[0].missing, length);
    }
}

#[tokio::test]
async fn copies_on_data_nodes_that_leave_or_are_silent_do_not_count() {
    let mut namespace = Namespace::with(5).file("/f", &[(5, &[1, 2, 3, 4, 5])]);
    namespace.data_nodes[1].admin_state = "Decommission In Progress";
    namespace.data_nodes[2].admin_state = "Entering Maintenance";
    namespace.data_nodes[3].last_contact = 31;
    namespace.data_nodes[4].last_contact = 30;
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, "/f").await;
    assert_eq!(groups(&scan.paths[0]), expected([("node-1 node-5", 5)]));
    assert_eq!(state(&scan, "node-2"), DataNodeState::Leaving);
    assert_eq!(state(&scan, "node-3"), DataNodeState::Leaving);
    assert_eq!(state(&scan, "node-4"), DataNodeState::Silent);
}

#[tokio::test]
async fn without_jmx_every_named_data_node_counts_and_is_known_later_too() {
    let mut namespace = Namespace::with(2).file("/f", &[(5, &[1, 2])]);
    namespace.jmx = false;
    let (server, _) = namespace.serve().await;
    let mut scanner = scanner(&[&server]);
    let first = scanner.scan(&["/f".to_owned()]).await.unwrap();
    assert!(!first.liveness_known);
    assert_eq!(groups(&first.paths[0]), expected([("node-1 node-2", 5)]));
    assert_eq!(state(&first, "node-1"), DataNodeState::Unknown);
    let second = scanner.scan(&["/f".to_owned()]).await.unwrap();
    assert_eq!(scanner.effort().asked, 0);
    assert_eq!(second, first);
}

#[tokio::test]
async fn data_nodes_that_share_an_address_are_told_apart() {
    let mut namespace = Namespace::with(2)
        .file("/a", &[(1, &[1])])
        .file("/b", &[(2, &[2])]);
    // Behind address translation even the port is the same.
    namespace.data_nodes[1].ip = namespace.data_nodes[0].ip.clone();
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, "/").await;
    assert_eq!(
        groups(&scan.paths[0]),
        expected([("node-1", 1), ("node-2", 2)])
    );
}

#[tokio::test]
async fn the_order_of_answers_changes_nothing() {
    let mut namespace = Namespace::with(7);
    for number in 0..40 {
        let at = [number % 7 + 1, (number + 2) % 7 + 1, (number + 3) % 7 + 1];
        let length = 1000 + number as u64;
        namespace.put(
            &format!("/d{}/f{number}", number % 3),
            &[(MIB, &at), (length, &at[1..])],
        );
    }
    // The server turns the holders with each answer.
    let (server, _) = namespace.serve().await;
    let paths = ["/d0", "/d1", "/d2"].map(str::to_owned);
    let first = scanner(&[&server]).scan(&paths).await.unwrap();
    for _ in 0..5 {
        let again = scanner(&[&server]).scan(&paths).await.unwrap();
        assert_eq!(again, first);
    }
}

#[tokio::test]
async fn a_large_file_is_asked_about_in_stretches() {
    let blocks: Vec<(u64, &[usize])> = (0..2500)
        .map(|number| match number % 2 {
            0 => (MIB, &[1][..]),
            _ => (MIB, &[1, 2][..]),
        })
        .collect();
    let mut unaligned = blocks.clone();
    unaligned.push((5, &[2]));
    let namespace = Namespace::with(2)
        .file("/a", &blocks)
        .file("/b", &unaligned);
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, "/").await;
    let path = &scan.paths[0];
    assert_eq!((path.bytes, path.blocks), (5000 * MIB + 5, 5001));
    assert_eq!(
        groups(path),
        expected([
            ("node-1", 2500 * MIB),
            ("node-1 node-2", 2500 * MIB),
            ("node-2", 5)
        ])
    );
    let operations = server.operations();
    assert_eq!(operations["GET_BLOCK_LOCATIONS"], 3);
    assert_eq!(operations["GETFILEBLOCKLOCATIONS"], 3);
}
