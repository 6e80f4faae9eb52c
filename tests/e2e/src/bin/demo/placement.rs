//! The second part: pods on the nodes that hold their data, beside what the scheduler does alone.

use outrigger_e2e::images::Image;
use outrigger_e2e::locality::Held;
use outrigger_e2e::progress::Progress;
use outrigger_e2e::report::{LocalShare, Placements, share};
use outrigger_e2e::risk::{self, APPLICATION, DIRECTORY, POSITIONS, Risk};
use outrigger_e2e::site::Site;
use outrigger_lab::{FileSpec, Hdfs, LocalVolume};

/// Namespace of the example.
pub(crate) const NAMESPACE: &str = "risk";
/// Where its Deployment runs without Outrigger's objects, for a while.
const WITHOUT: &str = "risk-without-outrigger";
/// Bytes of a block.
const BLOCK: u64 = 512 << 10;
/// Indices of the nodes that hold the market data; the others hold nothing of them.
const HOLDERS: [usize; 2] = [1, 2];
/// The nodes of the volumes of the StatefulSet's pods.
const VOLUMES: [&str; 3] = ["node-4", "node-1", "node-2"];

/// Runs it, and says how each step went.
///
/// # Errors
/// When a step does not come to its end.
pub(crate) async fn run(
    site: &Site,
    image: &Image,
    progress: &Progress,
) -> anyhow::Result<Placements> {
    let volumes = risk::volumes(NAMESPACE, &VOLUMES);
    progress
        .step("what an earlier demo left removed", clear(site, &volumes))
        .await?;
    let hdfs = async { risk::hdfs(&site.lab, &passing(progress)) };
    let hdfs = progress.step("HDFS up", hdfs).await?;
    let put = async { risk::put(&hdfs, &files()) };
    let held = progress.step("market data written to HDFS", put).await?;

    let without = without_outrigger(site, image, &held);
    let default_scheduler = progress
        .step("Deployment of examples/risk without Outrigger", without)
        .await?;
    let applied = async {
        risk::create_volumes(&site.lab, &volumes)?;
        let example = Risk::files(NAMESPACE, image)?;
        Risk::open(site, NAMESPACE, &example, &volumes).await
    };
    let risk = progress.step("examples/risk applied", applied).await?;
    let compared = compare(&risk, &hdfs, default_scheduler);
    progress
        .step("places compared with hdfs fsck and the volumes", compared)
        .await
}

/// Two files, 6 MiB: the second holder has all of them, the first one of them.
fn files() -> [FileSpec; 2] {
    let [first, second] = HOLDERS;
    let file = |name: &str, blocks| FileSpec::new(format!("{DIRECTORY}/{name}"), BLOCK, blocks);
    let prices = vec![vec![first, second]; 6];
    let rates = vec![vec![second]; 6];
    [file("prices", prices), file("rates", rates)]
}

async fn clear(site: &Site, volumes: &[LocalVolume]) -> anyhow::Result<()> {
    for namespace in [NAMESPACE, WITHOUT] {
        Risk::at(site, namespace).remove().await?;
    }
    risk::remove_volumes(&site.lab, volumes)
}

/// The share of the Deployment's data that the scheduler makes local by chance.
async fn without_outrigger(site: &Site, image: &Image, held: &Held) -> anyhow::Result<f64> {
    let example = Risk::files(WITHOUT, image)?;
    let risk = Risk::without_outrigger(site, WITHOUT, &example).await?;
    let found = risk.market(held).await?;
    risk.remove().await?;
    Ok(share(&found))
}

async fn compare(risk: &Risk, hdfs: &Hdfs, default_scheduler: f64) -> anyhow::Result<Placements> {
    let market = risk.market(&risk::held(hdfs)?).await?;
    let outrigger = share(&market);
    let mut placements = risk.placements(APPLICATION, market).await?;
    let positions = risk.positions().await?;
    placements.extend(risk.placements(POSITIONS, positions).await?);
    Ok(Placements {
        placements,
        local_share: LocalShare {
            outrigger,
            default_scheduler,
        },
    })
}

/// What the lab does, as lines that the next ones overwrite.
fn passing(progress: &Progress) -> outrigger_lab::Progress {
    let progress = progress.clone();
    outrigger_lab::Progress::new(move |line| progress.pass(format_args!("HDFS: {}", line.trim())))
}
