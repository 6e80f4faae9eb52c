use crate::cluster::{CONFIGURATION, Cluster, GATE, LEASE};

#[tokio::test(start_paused = true)]
async fn a_release_that_is_killed_between_any_two_requests_is_completed_by_the_next() {
    let mut limit = 0;
    loop {
        let cluster = Cluster::new();
        for namespace in ["shop", "bank"] {
            for name in ["a", "b", "c"] {
                cluster.pod(namespace, name, &["quota", GATE]);
            }
        }
        cluster.limit(Some(limit));
        let completed = tokio::select! {
            (_, released) = cluster.release() => {
                released.unwrap();
                true
            }
            () = cluster.cut() => false,
        };
        cluster.limit(None);
        let (_, again) = cluster.release().await;
        let again = again.unwrap();
        for namespace in ["shop", "bank"] {
            for name in ["a", "b", "c"] {
                assert_eq!(
                    cluster.gates(namespace, name),
                    ["quota"],
                    "killed after {limit}"
                );
            }
        }
        assert_eq!(cluster.api.get(CONFIGURATION), None);
        let lease = cluster.api.get(LEASE).unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "outrigger-release");
        assert_eq!(lease["spec"]["leaseTransitions"], 5);
        if completed {
            assert!(again.pods.is_empty());
            // Requests one after the other, dry-run pods, and pods.
            assert!(limit > 40, "{limit}");
            return;
        }
        limit += 1;
    }
}
