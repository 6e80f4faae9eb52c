use outrigger_hdfs::{PathError, PathScan, Scan, ScanError, Settings};

use crate::name_node::{Ask, NameNode, Reply, scanner, scanner_with, settings};
use crate::namespace::{MIB, Namespace};

async fn scan(server: &NameNode, paths: &[&str]) -> Scan {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    scanner(&[server]).scan(&paths).await.unwrap()
}

/// What became of one path.
async fn problem(server: &NameNode, path: &str) -> PathError {
    let mut scan = scan(server, &[path, "/fine"]).await;
    assert_eq!(scan.paths.len(), 1, "the other path is read");
    assert_eq!(scan.paths[0].path, "/fine");
    assert_eq!(scan.problems[0].0, path);
    scan.problems.remove(0).1
}

fn fine() -> Namespace {
    Namespace::with(3).file("/fine", &[(5, &[1])])
}

/// Bytes by the numbers of the DataNodes.
fn groups(path: &PathScan) -> Vec<(String, u64)> {
    let names = |holders: &outrigger_hdfs::Holders| {
        let names: Vec<_> = holders
            .iter()
            .map(|id| id.as_str().trim_end_matches(":9866"))
            .collect();
        names.join(" ")
    };
    path.groups
        .iter()
        .map(|(holders, bytes)| (names(holders), *bytes))
        .collect()
}

#[tokio::test]
async fn a_missing_path_is_said_and_the_others_are_read() {
    let (server, _) = fine().serve().await;
    let error = problem(&server, "/none").await;
    assert_eq!(error.to_string(), "path /none does not exist");
}

#[tokio::test]
async fn a_path_that_cannot_be_meant_is_not_asked_for() {
    let (server, _) = fine().serve().await;
    for path in ["", "data", "/data/../etc", "/a\nb"] {
        let error = problem(&server, path).await;
        assert!(matches!(error, PathError::Unusable { .. }), "{error}");
    }
    assert!(
        server
            .asked()
            .iter()
            .all(|ask| ask.path.is_empty() || ask.path == "/fine")
    );
}

#[tokio::test]
async fn a_directory_stands_for_all_files_below_it() {
    let (server, _) = Namespace::with(4)
        .file("/data/a", &[(MIB, &[1, 2]), (100, &[2, 3])])
        .file("/data/b/c/d", &[(7, &[4])])
        .file("/database", &[(1000, &[1])])
        .serve()
        .await;
    let scan = scan(&server, &["/data/", "/data/a"]).await;
    assert_eq!(scan.problems, []);
    let all = &scan.paths[0];
    assert_eq!((all.bytes, all.files, all.blocks), (MIB + 107, 2, 3));
    let expected = [
        ("node-1 node-2", MIB),
        ("node-2 node-3", 100),
        ("node-4", 7),
    ];
    assert_eq!(
        groups(all),
        expected.map(|(nodes, bytes)| (nodes.to_owned(), bytes))
    );
    assert_eq!(scan.paths[1].path, "/data/a");
    assert_eq!(scan.paths[1].bytes, MIB + 100);
}

#[tokio::test]
async fn empty_files_and_directories_hold_nothing() {
    let mut namespace = Namespace::with(1).file("/empty", &[]);
    namespace.directories.push("/nothing".to_owned());
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, &["/empty", "/nothing"]).await;
    assert_eq!(scan.problems, []);
    let [file, directory] = &scan.paths[..] else {
        panic!("{scan:?}")
    };
    assert_eq!(
        (file.bytes, file.files, file.blocks, file.groups.len()),
        (0, 1, 0, 0)
    );
    assert_eq!(
        (directory.bytes, directory.files, directory.groups.len()),
        (0, 0, 0)
    );
    assert_eq!(file.under_construction, 0);
}

#[tokio::test]
async fn names_with_characters_of_uris_are_found() {
    let names = [
        "a b",
        "50%",
        "c+d",
        "e:f",
        "g?h",
        "i#j",
        "k;l=m&n",
        "ümläut€",
        "%2F",
        "%41",
    ];
    let mut namespace = Namespace::with(1);
    namespace.page = 2;
    for (name, length) in names.iter().zip(1..) {
        namespace.put(&format!("/d {name}/{name}"), &[(length, &[1])]);
        namespace.put(&format!("/all/{name}"), &[(length, &[1])]);
    }
    let (server, _) = namespace.serve().await;
    let mut paths: Vec<String> = names.iter().map(|name| format!("/d {name}")).collect();
    paths.push("/all".to_owned());
    let scan = scanner(&[&server]).scan(&paths).await.unwrap();
    assert_eq!(scan.problems, []);
    let bytes: Vec<u64> = scan.paths.iter().map(|path| path.bytes).collect();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 55]);
}

#[tokio::test]
async fn a_listing_is_read_page_by_page() {
    let mut namespace = Namespace::with(1);
    namespace.page = 3;
    for number in 0..10 {
        namespace.put(&format!("/d/f{number}"), &[(10, &[1])]);
    }
    let (server, _) = namespace.serve().await;
    let scan = scan(&server, &["/d"]).await;
    assert_eq!((scan.paths[0].files, scan.paths[0].bytes), (10, 100));
    let pages: Vec<Ask> = server.asked();
    let pages = pages
        .iter()
        .filter(|ask| ask.operation == "LISTSTATUS_BATCH");
    let after: Vec<_> = pages
        .map(|ask| ask.query.get("startafter").map(String::as_str))
        .collect();
    assert_eq!(after, [None, Some("f2"), Some("f5"), Some("f8")]);
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_given_up() {
    // As Hadoop 3.5 does if the parameter's name is not in lower case.
    let first_page = |ask: &Ask| {
        let mut page: serde_json::Value =
            serde_json::from_str(include_str!("../answers/page.json")).unwrap();
        page["DirectoryListing"]["remainingEntries"] = 2.into();
        let listed = ask.operation == "LISTSTATUS_BATCH" && ask.path == "/d";
        listed.then(|| Reply::Json(200, page.to_string()))
    };
    let (server, _) = fine().file("/d/f1", &[]).serve_with(first_page).await;
    let error = problem(&server, "/d").await;
    assert_eq!(
        error.to_string(),
        "path /d: the listing does not go on after \"uc\"; it was given up"
    );
    let pages = server.asked().into_iter().filter(|ask| ask.path == "/d");
    assert_eq!(
        pages
            .filter(|ask| ask.operation == "LISTSTATUS_BATCH")
            .count(),
        2
    );
}

#[tokio::test]
async fn an_empty_page_that_is_not_the_last_is_given_up() {
    let (server, _) = fine()
        .file("/d/f", &[])
        .serve_with(|ask| {
            let page = r#"{"DirectoryListing":{"partialListing":{"FileStatuses":{"FileStatus":[]}},"remainingEntries":9}}"#;
            let listed = ask.operation == "LISTSTATUS_BATCH" && ask.path == "/d";
            listed.then(|| Reply::Json(200, page.to_owned()))
        })
        .await;
    assert!(matches!(
        problem(&server, "/d").await,
        PathError::Stuck { .. }
    ));
}

#[tokio::test]
async fn a_listing_with_impossible_names_is_not_followed() {
    let (server, _) = fine()
        .file("/d/f1", &[])
        .serve_with(|ask| {
            let page = include_str!("../answers/page.json").replace("\"f1\"", "\"../../etc\"");
            let listed = ask.operation == "LISTSTATUS_BATCH" && ask.path == "/d";
            listed.then(|| Reply::Json(200, page))
        })
        .await;
    let error = problem(&server, "/d").await.to_string();
    assert!(
        error.contains("\"../../etc\" is no name of a file"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_said() {
    let (server, _) = fine()
        .file("/f", &[(3, &[1])])
        .serve_with(|ask| {
            let broken = ask.operation == "GETFILEBLOCKLOCATIONS" && ask.path == "/f";
            broken.then(|| Reply::Json(200, "{\"BlockLocations\":".to_owned()))
        })
        .await;
    let error = problem(&server, "/f").await.to_string();
    assert!(
        error.starts_with("path /f: the answer to GETFILEBLOCKLOCATIONS cannot be read: EOF"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_looked_at_is_left_out() {
    let (server, _) = Namespace::with(1)
        .file("/d/gone", &[(3, &[1])])
        .file("/d/stays", &[(4, &[1])])
        .serve_with(|ask| {
            let gone = ask.operation.contains("BLOCK") && ask.path == "/d/gone";
            let missing = "File does not exist: /d/gone";
            gone.then(|| Reply::exception(404, "FileNotFoundException", missing))
        })
        .await;
    let scan = scan(&server, &["/d"]).await;
    assert_eq!(scan.problems, []);
    assert_eq!((scan.paths[0].files, scan.paths[0].bytes), (1, 4));
}

#[tokio::test]
async fn more_files_than_allowed_are_counted_and_not_listed() {
    let mut namespace = fine();
    for number in 0..8 {
        namespace.put(&format!("/many/f{number}"), &[(10, &[1])]);
    }
    let (server, _) = namespace.serve().await;
    let few = Settings {
        max_files: 8,
        ..settings()
    };
    let paths = ["/fine".to_owned(), "/many".to_owned()];
    let error = scanner_with(&[&server], few)
        .scan(&paths)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the paths hold 9 files, 8 of them below /many; allowed are 8 files"
    );
    assert!(!server.operations().contains_key("LISTSTATUS_BATCH"));
}

#[tokio::test]
async fn a_listing_with_more_files_than_were_counted_is_bounded_too() {
    let mut namespace = Namespace::with(1);
    namespace.directories.push("/e".to_owned());
    for number in 0..8 {
        namespace.put(&format!("/d/f{number}"), &[(10, &[1])]);
        namespace.directories.push(format!("/e/d{number}"));
    }
    let (server, _) = namespace
        .serve_with(|ask| {
            let few = r#"{"ContentSummary":{"directoryCount":1,"fileCount":1}}"#;
            (ask.operation == "GETCONTENTSUMMARY").then(|| Reply::Json(200, few.to_owned()))
        })
        .await;
    let few = Settings {
        max_files: 4,
        ..settings()
    };
    for (path, what) in [("/d", "files"), ("/e", "directories")] {
        let error = scanner_with(&[&server], few)
            .scan(&[path.to_owned()])
            .await
            .unwrap_err();
        let ScanError::TooMany {
            what: told,
            allowed: 4,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(*told, what);
    }
}

/// As Hadoop 2.7.3 does.
fn old(ask: &Ask) -> Option<Reply> {
    let newer = ["GETFILEBLOCKLOCATIONS", "LISTSTATUS_BATCH"];
    let unknown = newer.contains(&ask.operation.as_str());
    let message = format!(
        "Invalid value for webhdfs parameter \"op\": No enum constant \
         org.apache.hadoop.hdfs.web.resources.GetOpParam.Op.{}",
        ask.operation
    );
    unknown.then(|| Reply::exception(400, "IllegalArgumentException", &message))
}

#[tokio::test]
async fn an_old_server_is_asked_in_its_own_way_and_that_is_remembered() {
    let mut namespace = Namespace::with(3).file("/d/a", &[(MIB, &[1, 2]), (5, &[3])]);
    namespace.put("/d/b", &[(7, &[2])]);
    namespace.put("/d/e/f", &[(9, &[2])]);
    let (server, _) = namespace.clone().serve_with(old).await;
    let old = scan(&server, &["/d"]).await;
    let operations = server.operations();
    assert_eq!(operations["LISTSTATUS_BATCH"], 1);
    assert_eq!(operations["LISTSTATUS"], 2);
    assert!(operations["GETFILEBLOCKLOCATIONS"] <= 2, "{operations:?}");
    assert_eq!(operations["GET_BLOCK_LOCATIONS"], 3);
    let (server, _) = namespace.serve().await;
    assert_eq!(scan(&server, &["/d"]).await, old);
}

#[tokio::test]
async fn a_server_that_knows_neither_operation_is_said() {
    let (server, _) = fine()
        .file("/f", &[(3, &[1])])
        .serve_with(|ask| {
            let unknown = ask.operation.contains("BLOCK") && ask.path == "/f";
            let message = format!("op={} is not supported", ask.operation);
            unknown.then(|| Reply::exception(400, "UnsupportedOperationException", &message))
        })
        .await;
    let paths = ["/f".to_owned()];
    let scan = scanner(&[&server]).scan(&paths).await.unwrap();
    let error = scan.problems[0].1.to_string();
    assert!(
        error.contains("knows neither GETFILEBLOCKLOCATIONS nor GET_BLOCK_LOCATIONS"),
        "{error}"
    );
}

#[tokio::test]
async fn an_error_of_another_parameter_is_no_unknown_operation() {
    let (server, _) = fine()
        .file("/f", &[(3, &[1])])
        .serve_with(|ask| {
            let refused = ask.operation == "GETFILEBLOCKLOCATIONS" && ask.path == "/f";
            let message = "Invalid value for webhdfs parameter \"offset\": \
                 java.lang.IllegalArgumentException: Invalid parameter range: offset = -1 < 0";
            refused.then(|| Reply::exception(400, "IllegalArgumentException", message))
        })
        .await;
    let error = problem(&server, "/f").await;
    assert!(matches!(error, PathError::Remote { .. }), "{error}");
}
