use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::Client;
use outrigger_api_server::ApiServer;
use parking_lot::Mutex;

use crate::{EndState, Faults, Plan, Recording, Verb, broken_conditions};

/// Nothing changes any more when nothing has changed for so long.
const REST: Duration = Duration::from_secs(1);
/// More than a story takes, with all failures and pauses.
const PATIENCE: Duration = Duration::from_secs(300);
/// Name of the telling without faults.
const CALM: &str = "calm";
/// Environment variable with the directory that recordings are written into.
const RECORDINGS: &str = "OUTRIGGER_RECORDINGS";
/// Stories told at the same time: they wait most of the time.
const AT_ONCE: usize = 24;
/// Path of all objects of the operator's own kinds.
const OUR_KINDS: &str = "/apis/outrigger.dev/";

/// An operator that leads until it is dropped.
pub trait Operator: Send + 'static {
    /// It leads from now on.
    fn lead(client: Client) -> Self;
}

/// What happens in a cluster, from nothing to an end that does not depend on what goes wrong
/// meanwhile. A value of it stands for those who act beside the operator, until it is dropped.
pub trait Story: Sized + Send + Sync + 'static {
    /// What happens in it, for the list of stories told.
    const NAME: &str;

    /// Fields that tell how the end was reached, and so differ from run to run.
    const PASSING: &[&str] = &[];

    /// The beginning, without an operator. The number is another one for each call.
    fn begin(number: usize) -> impl Future<Output = (ApiServer, Self)> + Send;

    /// Does what others than the operator do, and waits for the end.
    fn play(&self, api: &ApiServer) -> impl Future<Output = ()> + Send;
}

/// The stories that this process has told with an operator that dies.
static TOLD: Mutex<Told> = Mutex::new(Told {
    stories: 0,
    crashes: 0,
});

struct Told {
    stories: usize,
    crashes: usize,
}

impl Told {
    /// Prints a line for a story, with the sums so far.
    fn count(&mut self, name: &str, crashes: usize) {
        self.stories += 1;
        self.crashes += crashes;
        println!(
            "{name}: the same end after each of {crashes} crash points; {} stories, {} crash points so far",
            self.stories, self.crashes
        );
    }
}

/// Writes down what was asked in a story without faults, if a directory for that is named.
fn record<S: Story>(api: &ApiServer) {
    let Some(directory) = std::env::var_os(RECORDINGS) else {
        return;
    };
    let name = S::NAME.replace(',', "").replace(' ', "-");
    let recording = Recording {
        name: S::NAME.to_owned(),
        steps: api.journal(),
    };
    // What would change a cluster for others is not asked of a real one.
    let is_namespaced = |path: &String| path.contains("/namespaces/");
    if !recording.objects().iter().all(is_namespaced) {
        return;
    }
    let path = PathBuf::from(directory).join(format!("{name}.json"));
    if let Err(error) = recording.write(&path) {
        panic!("{error:#}");
    }
}

/// How a story ended.
struct Ending {
    state: EndState,
    /// Creates and deletes that were carried out.
    lives: BTreeMap<(Verb, String), usize>,
    /// Writes of the first operator.
    writes: usize,
    crashed: bool,
}

/// Tells a story without faults, and then for every n with an operator that dies after n writes and
/// another one that goes on. How often one died, which is printed too.
///
/// # Panics
///
/// When an end differs from the one without faults in an object or in the number of creates and
/// deletes, or when conditions break the rules of kstatus.
pub async fn crash_after_every_write<S: Story, O: Operator>() -> usize {
    let calm = told::<S, O>(Plan::calm(), CALM.into(), None).await;
    let plans = (0..calm.writes).map(|writes| {
        let name = format!("crash after {writes} writes");
        (Plan::crash_after(writes), name)
    });
    let endings = all::<S, O>(plans.collect(), &calm.state).await;
    for (name, ending) in &endings {
        assert_same(&calm, ending, name);
        assert_eq!(ending.lives, calm.lives, "creates and deletes: {name}");
    }
    let crashes = endings.iter().filter(|(_, ending)| ending.crashed).count();
    TOLD.lock().count(S::NAME, crashes);
    crashes
}

/// Tells a story without faults, and then once for each seed of a storm.
///
/// # Panics
///
/// When an end differs from the one without faults in an object, or when conditions break the rules
/// of kstatus.
pub async fn weather_storms<S: Story, O: Operator>(seeds: std::ops::Range<u64>) {
    let calm = told::<S, O>(Plan::calm(), CALM.into(), None).await;
    let plans = seeds.map(|seed| (Plan::storm(seed), format!("storm {seed}")));
    for (name, ending) in all::<S, O>(plans.collect(), &calm.state).await {
        assert_same(&calm, &ending, &name);
    }
}

fn assert_same(calm: &Ending, ending: &Ending, name: &str) {
    let differences = calm.state.differences(&ending.state);
    assert!(
        differences.is_empty(),
        "{name}: without faults\n{}",
        differences.join("\n")
    );
}

async fn all<S: Story, O: Operator>(
    plans: Vec<(Plan, String)>,
    calm: &EndState,
) -> Vec<(String, Ending)> {
    let runs = plans.into_iter().map(|(plan, name)| async move {
        let story = told::<S, O>(plan, name.clone(), Some(calm.clone()));
        let ending = tokio::spawn(story).await;
        match ending {
            Ok(ending) => (name, ending),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    });
    stream::iter(runs).buffered(AT_ONCE).collect().await
}

async fn told<S: Story, O: Operator>(plan: Plan, name: String, wanted: Option<EndState>) -> Ending {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let (api, story) = S::begin(NUMBER.fetch_add(1, Ordering::Relaxed)).await;
    let (faults, after) = (Faults::new(plan), Faults::new(Plan::calm()));
    let mut leader = Some(O::lead(faults.before(api.client())));
    let work = async {
        let mut end = std::pin::pin!(async {
            story.play(&api).await;
            // An end that does not come shows when the two are compared.
            let _ = tokio::time::timeout(PATIENCE / 2, end::<S>(&api, &wanted)).await;
        });
        tokio::select! {
            () = &mut end => false,
            () = faults.crashed() => {
                drop(leader.take());
                leader = Some(O::lead(after.before(api.client())));
                end.await;
                true
            }
        }
    };
    let crashed = match tokio::time::timeout(PATIENCE, work).await {
        Ok(crashed) => crashed,
        Err(_) => panic!("{name}: there is no end; the last calls: {:#?}", {
            let mut calls = faults.calls();
            calls.extend(after.calls());
            calls.split_off(calls.len().saturating_sub(10))
        }),
    };
    drop(leader);
    for (path, object) in api.objects() {
        if path.starts_with(OUR_KINDS) {
            let broken = broken_conditions(&object);
            assert!(broken.is_empty(), "{name}: {path}: {broken:?}");
        }
    }
    if name == CALM {
        record::<S>(&api);
    }
    let mut calls = faults.calls();
    calls.extend(after.calls());
    Ending {
        state: EndState::of(&api, S::PASSING),
        lives: EndState::lives(&calls),
        writes: faults.writes(),
        crashed,
    }
}

/// Waits until nothing changes any more, at the wanted end if there is one.
async fn end<S: Story>(api: &ApiServer, wanted: &Option<EndState>) {
    let mut versions = api.versions();
    loop {
        while let Ok(Ok(())) = tokio::time::timeout(REST, versions.changed()).await {}
        let found = EndState::of(api, S::PASSING);
        if wanted.as_ref().is_none_or(|wanted| *wanted == found)
            || versions.changed().await.is_err()
        {
            return;
        }
    }
}
