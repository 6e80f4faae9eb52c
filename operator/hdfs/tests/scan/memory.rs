use std::time::Duration;

use outrigger_hdfs::{Effort, Scanner, Settings};

use crate::name_node::{Reply, scanner, scanner_with, settings};
use crate::namespace::{MIB, Namespace};

fn namespace() -> Namespace {
    let mut namespace = Namespace::with(4);
    for number in 0..20 {
        let at = [number % 4 + 1, (number + 1) % 4 + 1];
        namespace.put(&format!("/d/f{number}"), &[(100 + number as u64, &at)]);
    }
    namespace.put("/d/large", &[(MIB, &[1, 2]), (MIB, &[2, 3]), (5, &[4])]);
    namespace
}

fn paths() -> [String; 1] {
    ["/d".to_owned()]
}

async fn asked(scanner: &mut Scanner) -> u64 {
    scanner.scan(&paths()).await.unwrap();
    scanner.effort().asked
}

#[tokio::test]
async fn locations_of_unchanged_files_are_not_asked_again() {
    let (server, shared) = namespace().serve().await;
    let mut scanner = scanner(&[&server]);
    let first = scanner.scan(&paths()).await.unwrap();
    assert_eq!(
        (scanner.effort().asked, scanner.effort().remembered),
        (21, 0)
    );
    server.asked();
    for _ in 0..10 {
        assert_eq!(scanner.scan(&paths()).await.unwrap(), first);
        let effort = scanner.effort();
        assert_eq!(
            effort,
            Effort {
                requests: 3,
                asked: 0,
                remembered: 21
            }
        );
    }
    let operations = server.operations();
    let expected = [
        ("GETCONTENTSUMMARY", 10),
        ("JMX", 10),
        ("LISTSTATUS_BATCH", 10),
    ];
    assert_eq!(
        operations,
        expected
            .map(|(name, times)| (name.to_owned(), times))
            .into()
    );
    // One is written anew, one is appended to, one is gone, one is new.
    {
        let mut namespace = shared.lock();
        namespace.files.get_mut("/d/f1").unwrap().modified += 1;
        namespace.put("/d/f2", &[(5000, &[1])]);
        namespace.files.remove("/d/f3");
        namespace.put("/d/new", &[(6000, &[2])]);
    }
    let changed = scanner.scan(&paths()).await.unwrap();
    assert_eq!(scanner.effort().asked, 3);
    assert_eq!(scanner.remembered(), 21);
    assert_ne!(changed, first);
    let fresh = scanner_with(&[&server], settings())
        .scan(&paths())
        .await
        .unwrap();
    assert_eq!(changed, fresh);
}

#[tokio::test]
async fn a_dead_data_node_has_its_files_asked_about_again() {
    let (server, shared) = namespace().serve().await;
    let mut scanner = scanner(&[&server]);
    asked(&mut scanner).await;
    {
        // It dies, and what it held is copied elsewhere without any write.
        let mut namespace = shared.lock();
        namespace.data_nodes[3].live = false;
        for file in namespace.files.values_mut() {
            for (_, at) in &mut file.blocks {
                if at.contains(&4) {
                    *at = vec![1, 3];
                }
            }
        }
    }
    // Ten of twenty, and the large one.
    assert_eq!(asked(&mut scanner).await, 11);
    let fresh = scanner_with(&[&server], settings())
        .scan(&paths())
        .await
        .unwrap();
    assert_eq!(scanner.scan(&paths()).await.unwrap(), fresh);
    assert_eq!(scanner.effort().asked, 0);
    // It comes back, with nothing. All files have their copies.
    shared.lock().data_nodes[3].live = true;
    assert_eq!(asked(&mut scanner).await, 0);
}

#[tokio::test]
async fn a_data_node_that_comes_back_brings_its_copies() {
    let mut namespace = namespace();
    namespace.data_nodes[3].last_contact = 100;
    let (server, shared) = namespace.serve().await;
    let mut scanner = scanner(&[&server]);
    let without = scanner.scan(&paths()).await.unwrap();
    assert_eq!(without.paths[0].missing, 5);
    shared.lock().data_nodes[3].last_contact = 0;
    let with = scanner.scan(&paths()).await.unwrap();
    assert_eq!(scanner.effort().asked, 11);
    assert_eq!(with.paths[0].missing, 0);
    let fresh = scanner_with(&[&server], settings())
        .scan(&paths())
        .await
        .unwrap();
    assert_eq!(with, fresh);
}

#[tokio::test]
async fn locations_are_not_believed_for_ever() {
    let (server, _) = namespace().serve().await;
    let at_once = Settings {
        location_age: Duration::ZERO,
        ..settings()
    };
    let mut scanner = scanner_with(&[&server], at_once);
    assert_eq!(asked(&mut scanner).await, 21);
    assert_eq!(asked(&mut scanner).await, 21);
}

#[tokio::test]
async fn what_was_said_in_safe_mode_is_not_kept() {
    let mut namespace = namespace();
    namespace.safe_mode = "Safe mode is ON.".to_owned();
    let (server, shared) = namespace.serve().await;
    let mut scanner = scanner(&[&server]);
    assert_eq!(asked(&mut scanner).await, 21);
    assert_eq!(scanner.remembered(), 0);
    shared.lock().safe_mode = String::new();
    assert_eq!(asked(&mut scanner).await, 21);
    assert_eq!(asked(&mut scanner).await, 0);
}

#[tokio::test]
async fn a_scan_that_breaks_off_goes_on_where_it_ended() {
    let broken = std::sync::atomic::AtomicUsize::new(0);
    let (server, _) = namespace()
        .serve_with(move |ask| {
            let count = || broken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let standby = || Reply::exception(403, "StandbyException", "no more");
            (ask.operation.contains("BLOCK") && count() == 10).then(standby)
        })
        .await;
    let one_by_one = Settings {
        concurrency: 1,
        ..settings()
    };
    let mut scanner = scanner_with(&[&server], one_by_one);
    scanner.scan(&paths()).await.unwrap_err();
    assert_eq!(scanner.remembered(), 10);
    assert_eq!(asked(&mut scanner).await, 11);
}

#[tokio::test]
async fn a_problem_with_one_path_costs_nothing_of_the_others() {
    let (server, shared) = namespace().file("/e/f", &[(5, &[1])]).serve().await;
    let mut scanner = scanner(&[&server]);
    let paths = ["/d".to_owned(), "/e".to_owned()];
    scanner.scan(&paths).await.unwrap();
    let file = shared.lock().files.remove("/e/f").unwrap();
    let without = scanner.scan(&paths).await.unwrap();
    assert_eq!(without.problems.len(), 1);
    shared.lock().files.insert("/e/f".to_owned(), file);
    scanner.scan(&paths).await.unwrap();
    assert_eq!(scanner.effort().asked, 0);
}
