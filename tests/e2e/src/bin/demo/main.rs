//! Brings Outrigger and an example onto the lab, and swaps a sidecar's image five times under load.
//! Then places the pods of another example on the nodes that hold their data. Ends well only if
//! nothing was lost, and pods are on their data as it is said.

mod placement;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_e2e::database::Database;
use outrigger_e2e::images::{Image, Recipe};
use outrigger_e2e::progress::Progress;
use outrigger_e2e::report::{Placements, Report};
use outrigger_e2e::risk::APPLICATION as RISK;
use outrigger_e2e::shop::{Images, SIDECAR, Shop};
use outrigger_e2e::site::Site;
use outrigger_e2e::trial::{self, Plan, Trial};
use outrigger_e2e::{install, project};
use serde::Serialize;
use serde_json::json;

/// Namespace and database of the example whose sidecar is swapped.
const NAMESPACE: &str = "shop";
const DATABASE: &str = "orders";
/// Orders in a second.
const RATE: u32 = 600;
/// Swaps.
const SWAPS: usize = 5;
/// Orders before the first swap, between two and after the last: five seconds.
const PAUSE: u64 = 5 * RATE as u64;
/// How long the old slot stays ready to take over: less than the usual 10 s, for those who watch.
const SOAK_SECONDS: u32 = 3;

/// The figures of both parts.
#[derive(Serialize)]
struct Figures<'a> {
    #[serde(flatten)]
    swaps: &'a Report,
    #[serde(flatten)]
    placement: &'a Placements,
}

/// The images of all that runs.
struct Built {
    operator: Image,
    checkout: Image,
    risk: Image,
    sidecars: Vec<Image>,
}

fn main() -> ExitCode {
    let progress = Progress::default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            progress.say(format_args!("error: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(demo(&progress)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress.say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(progress: &Progress) -> anyhow::Result<bool> {
    let start = Instant::now();
    let site = Site::open().await?;
    let sidecars = versions();
    let Built {
        operator,
        checkout,
        risk,
        sidecars,
    } = progress
        .step("images built and pushed", images(&site, &sidecars))
        .await?;
    let installation = install::install(&site, &operator);
    progress
        .step("Outrigger installed with Helm", installation)
        .await?;
    let database = Database::ensure(&site.lab, DATABASE).await?;
    let current = current(&site, &sidecars).await?;
    let images = Images {
        checkout: &checkout,
        sidecar: &sidecars[current],
    };
    let mut example = Shop::files(NAMESPACE, images, &database)?;
    let sidecar = example.object("IntegrationSidecar")?;
    sidecar["spec"]["update"] = json!({"soakSeconds": SOAK_SECONDS});
    let applied = async {
        let shop = Shop::open(&site, NAMESPACE, &example).await?;
        // After another build the running image is another one, and is swapped before the load.
        shop.settled().await?;
        anyhow::Ok(shop)
    };
    let shop = progress.step("examples/checkout applied", applied).await?;

    let swaps: Vec<_> = (1..=SWAPS)
        .map(|number| sidecars[(current + number) % sidecars.len()].clone())
        .collect();
    let plan = Plan {
        swaps: &swaps,
        rate: RATE,
        pause: PAUSE,
    };
    progress.say(format_args!(
        "load: {RATE} orders in a second, a quarter of them repeated"
    ));
    let outcome = trial::run(&shop, &database, plan, progress).await?;
    let placement = placement::run(&site, &risk, progress).await?;
    let file = write(&outcome.report, &placement)?;
    let good = show(&outcome, &placement);
    point_on(start, &file);
    Ok(good)
}

/// Versions of the sidecar: the same program under several, so that each swap is one to another
/// image.
fn versions() -> Vec<String> {
    ["", "-demo.1", "-demo.2"]
        .map(|suffix| format!("{}{suffix}", project::VERSION))
        .to_vec()
}

async fn images(site: &Site, versions: &[String]) -> anyhow::Result<Built> {
    let product = |name: &str| Recipe::product(name, project::VERSION);
    let operator = site.images.ensure(&product("operator")?).await?;
    let checkout = site.images.ensure(&product("checkout")?).await?;
    let risk = site.images.ensure(&product("risk")?).await?;
    let mut sidecars = Vec::new();
    for version in versions {
        let recipe = Recipe::product("sidecar", version)?;
        sidecars.push(site.images.ensure(&recipe).await?);
    }
    Ok(Built {
        operator,
        checkout,
        risk,
        sidecars,
    })
}

/// Which of the images an example that is there already has; the first if there is none.
async fn current(site: &Site, images: &[Image]) -> anyhow::Result<usize> {
    let api = site
        .cluster
        .objects::<outrigger_api::IntegrationSidecar>(NAMESPACE);
    let found = api.list(&ListParams::default()).await?;
    let mut found = found.iter().filter(|found| found.name_any() == SIDECAR);
    let image = found.next().map(|found| found.spec.image.as_str());
    let position = images
        .iter()
        .position(|known| Some(known.reference.as_str()) == image);
    Ok(position.unwrap_or(0))
}

/// Writes the report where scripts find it.
fn write(swaps: &Report, placement: &Placements) -> anyhow::Result<std::path::PathBuf> {
    let directory = project::root().join("target/demo");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let file = directory.join("report.json");
    let text = serde_json::to_string_pretty(&Figures { swaps, placement })?;
    std::fs::write(&file, text + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Prints the outcome. True if all holds.
fn show(outcome: &Trial, placement: &Placements) -> bool {
    let Trial {
        report,
        rate,
        failures,
    } = outcome;
    println!("\n{SWAPS} swaps under {rate:.0} orders in a second\n\n{report}");
    let mut swaps = report.violations();
    if !swaps.is_empty() {
        swaps.extend(failures.iter().cloned());
    }
    println!("Pods on the nodes that hold their data\n\n{placement}");
    let placement = placement.violations();
    let violations = [swaps, placement].concat();
    if !violations.is_empty() {
        println!("  NOT as it should be:");
        for line in &violations {
            println!("    {line}");
        }
        println!();
    }
    violations.is_empty()
}

/// Says where the figures are, and what can be done with what goes on running.
fn point_on(start: Instant, file: &std::path::Path) {
    println!(
        "  in all {:.0} s; the figures: {}\n",
        start.elapsed().as_secs_f64(),
        file.display()
    );
    println!("The lab and the examples go on running. What to look at next:\n");
    for (command, what) in [
        (
            "eval \"$(make -s lab-env)\"".to_owned(),
            "kubectl and helm for the lab",
        ),
        (
            "kubectl get iapp,iside,ods -A".to_owned(),
            "how things stand",
        ),
        (
            format!("kubectl -n {NAMESPACE} describe iside {SIDECAR}"),
            "the swaps, as events",
        ),
        (
            format!("kubectl -n {NAMESPACE} get pods"),
            "3/3: the service and two slots",
        ),
        (
            "kubectl explain iside.spec.update".to_owned(),
            "how to steer a swap",
        ),
        (
            format!("kubectl -n {} describe iapp {RISK}", placement::NAMESPACE),
            "why pods are where they are",
        ),
        ("make lab-down".to_owned(), "removes all of it"),
    ] {
        println!("  {command:<42} # {what}");
    }
    println!();
}
