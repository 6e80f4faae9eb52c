use super::*;

const VERSION: Version = Version {
    length: 10,
    modified: 1,
};

fn nodes(names: &[&str]) -> BTreeSet<DataNodeId> {
    names
        .iter()
        .map(|name| DataNodeId::new(name, 9866))
        .collect()
}

fn path(path: &str) -> HdfsPath {
    HdfsPath::parse(path).unwrap()
}

/// A cache in whose first scan files were found on DataNodes.
fn with(files: &[(&str, &[&str], bool)], counting: &[&str]) -> Cache {
    let mut cache = Cache::new(Duration::from_secs(3600));
    cache.begin(Some(nodes(counting)));
    for (file, holders, unsettled) in files {
        let set = cache.holders().number(nodes(holders)).unwrap();
        let places = Places {
            blocks: 1,
            unsettled: u8::from(*unsettled),
            bytes: Bytes::All(set),
        };
        cache.keep(&path(file), VERSION, places);
    }
    cache
}

fn known(cache: &mut Cache, file: &str) -> bool {
    cache.find(&path(file), VERSION).is_some()
}

#[test]
fn a_file_takes_56_bytes() {
    assert_eq!(size_of::<(u64, Known)>(), 56);
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_asked_about_again() {
    let mut cache = with(&[("/f", &["a"], false)], &["a"]);
    assert!(known(&mut cache, "/f"));
    assert!(!known(&mut cache, "/g"));
    for version in [
        Version {
            length: 11,
            ..VERSION
        },
        Version {
            modified: 2,
            ..VERSION
        },
    ] {
        assert_eq!(cache.find(&path("/f"), version), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_data_node_concerns_the_files_that_it_held() {
    let files: [(&str, &[&str], bool); 2] = [("/ab", &["a", "b"], false), ("/c", &["c"], false)];
    let mut cache = with(&files, &["a", "b", "c"]);
    cache.begin(Some(nodes(&["a", "c"])));
    assert!(!known(&mut cache, "/ab"));
    assert!(known(&mut cache, "/c"));
}

#[tokio::test(start_paused = true)]
async fn a_data_node_that_comes_back_concerns_files_that_are_short_of_copies() {
    let files: [(&str, &[&str], bool); 3] = [
        ("/short", &["a"], true),
        ("/none", &[], true),
        ("/all", &["a", "b"], false),
    ];
    let mut cache = with(&files, &["a", "b"]);
    cache.begin(Some(nodes(&["a", "b", "c"])));
    assert!(!known(&mut cache, "/short"));
    assert!(!known(&mut cache, "/none"));
    assert!(known(&mut cache, "/all"));
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_copies_are_not_settled_is_asked_about_soon_and_then_less_often() {
    let mut cache = with(&[("/f", &["a"], true)], &["a", "b"]);
    let mut asked = Vec::new();
    for second in 0..24 * 3600_u32 {
        if !known(&mut cache, "/f") {
            let places = Places {
                unsettled: 1,
                ..Places::default()
            };
            cache.keep(&path("/f"), VERSION, places);
            asked.push(second);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!((15..=30).contains(&asked[0]), "{asked:?}");
    assert!((45..=90).contains(&asked[1]), "{asked:?}");
    // At most every half hour in the end.
    assert!(asked.len() < 7 + 48, "{asked:?}");
    assert!(
        asked.windows(2).all(|pair| pair[1] - pair[0] <= 3600),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn files_are_asked_about_again_for_a_scan_that_ended_early() {
    let mut cache = with(&[("/a", &["a"], false)], &["a", "b"]);
    cache.begin(Some(nodes(&["b"])));
    cache.begin(Some(nodes(&["b"])));
    assert!(!known(&mut cache, "/a"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_believed_when_liveness_is_no_longer_known() {
    let mut cache = with(&[("/a", &["a"], false)], &["a"]);
    cache.begin(None);
    assert_eq!(cache.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn files_that_were_asked_at_one_time_expire_at_different_times() {
    let names: Vec<String> = (0..1000).map(|i| format!("/f{i}")).collect();
    let files: Vec<(&str, &[&str], bool)> =
        names.iter().map(|n| (&**n, &["a"][..], false)).collect();
    let mut cache = with(&files, &["a"]);
    let mut left = |seconds| {
        let known = names.iter().filter(|name| known(&mut cache, name)).count();
        (known, tokio::time::advance(Duration::from_secs(seconds)))
    };
    let (all, pass) = left(1799);
    pass.await;
    assert_eq!(all, 1000);
    let (before_half, pass) = left(900);
    pass.await;
    assert_eq!(before_half, 1000);
    let (later, pass) = left(902);
    pass.await;
    assert!((350..650).contains(&later), "{later}");
    assert_eq!(left(0).0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_takes_no_memory() {
    let names: Vec<String> = (0..1000).map(|i| format!("/f{i}")).collect();
    let holders: Vec<[&str; 1]> = names.iter().map(|name| [&name[1..]]).collect();
    let files: Vec<(&str, &[&str], bool)> = names
        .iter()
        .zip(&holders)
        .map(|(n, h)| (&**n, &h[..], false))
        .collect();
    let all: Vec<&str> = names.iter().map(|name| &name[1..]).collect();
    let mut cache = with(&files, &all);
    cache.begin(Some(nodes(&all)));
    for name in &names[990..] {
        assert!(known(&mut cache, name));
    }
    cache.sweep();
    assert_eq!(cache.len(), 10);
    assert_eq!(cache.holders().sets.len(), 10);
    for name in &names[990..] {
        let places = cache.find(&path(name), VERSION).unwrap();
        let sets: Vec<Holders> = places
            .bytes(10)
            .map(|(set, _)| cache.holders().set(set))
            .collect();
        assert_eq!(sets, [Arc::new(nodes(&[&name[1..]]))]);
    }
}

#[test]
fn sets_of_holders_are_not_remembered_without_end() {
    let mut cache = Cache::new(Duration::from_secs(3600));
    cache.begin(Some(BTreeSet::new()));
    for number in 0..MOST_SETS {
        let set = BTreeSet::from([DataNodeId::new(&number.to_string(), 9866)]);
        let set = cache.holders().number(set).unwrap();
        if number % 100 == 0 {
            let places = Places {
                blocks: 1,
                unsettled: 0,
                bytes: Bytes::All(set),
            };
            cache.keep(&path(&format!("/{number}")), VERSION, places);
        }
    }
    assert!(cache.holders().number(nodes(&["100"])).is_ok());
    let refused = cache.holders().number(nodes(&["one more"])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the NameNode tells of more than 200000 sets of DataNodes that hold a block, which is the limit of a Dataset; several Datasets with fewer paths each may do"
    );
    // The next scan has room again, whatever this one came across.
    cache.begin(Some(BTreeSet::new()));
    assert_eq!(cache.holders().sets.len(), MOST_SETS / 100);
    let places = cache.find(&path("/500"), VERSION).unwrap();
    let set = places.sets().next().unwrap();
    assert_eq!(*cache.holders().set(set), nodes(&["500"]));
}
