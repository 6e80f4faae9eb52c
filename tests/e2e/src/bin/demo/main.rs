//! Brings Outrigger and an example onto the lab, and swaps a sidecar's image five times under load.
//! Ends well only if nothing was lost.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_e2e::database::Database;
use outrigger_e2e::images::{Image, Recipe};
use outrigger_e2e::progress::Progress;
use outrigger_e2e::shop::{Images, SIDECAR, Shop};
use outrigger_e2e::site::Site;
use outrigger_e2e::trial::{self, Plan, Trial};
use outrigger_e2e::{install, project};
use serde_json::json;

/// Namespace and database of the example.
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
    let (operator, checkout, sidecars) = progress
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
    let file = write(&outcome)?;
    let good = show(&outcome, start, &file);
    Ok(good)
}

/// Versions of the sidecar: the same program under several, so that each swap is one to another
/// image.
fn versions() -> Vec<String> {
    ["", "-demo.1", "-demo.2"]
        .map(|suffix| format!("{}{suffix}", project::VERSION))
        .to_vec()
}

async fn images(site: &Site, versions: &[String]) -> anyhow::Result<(Image, Image, Vec<Image>)> {
    let product = |name: &str| Recipe::product(name, project::VERSION);
    let operator = site.images.ensure(&product("operator")?).await?;
    let checkout = site.images.ensure(&product("checkout")?).await?;
    let mut sidecars = Vec::new();
    for version in versions {
        let recipe = Recipe::product("sidecar", version)?;
        sidecars.push(site.images.ensure(&recipe).await?);
    }
    Ok((operator, checkout, sidecars))
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
fn write(outcome: &Trial) -> anyhow::Result<std::path::PathBuf> {
    let directory = project::root().join("target/demo");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let file = directory.join("report.json");
    let text = serde_json::to_string_pretty(&outcome.report)?;
    std::fs::write(&file, text + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Prints the outcome. True if all holds.
fn show(outcome: &Trial, start: Instant, file: &std::path::Path) -> bool {
    let Trial {
        report,
        rate,
        failures,
    } = outcome;
    println!("\n{SWAPS} swaps under {rate:.0} orders in a second\n\n{report}");
    let violations = report.violations();
    if !violations.is_empty() {
        println!("  NOT as it should be:");
        for line in violations.iter().chain(failures) {
            println!("    {line}");
        }
        println!();
    }
    println!(
        "  in all {:.0} s; the figures: {}\n",
        start.elapsed().as_secs_f64(),
        file.display()
    );
    println!("The lab and the example go on running. What to look at next:\n");
    for (command, what) in [
        (
            "eval \"$(make -s lab-env)\"".to_owned(),
            "kubectl and helm for the lab",
        ),
        ("kubectl get iapp,iside -A".to_owned(), "how things stand"),
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
        ("make lab-down".to_owned(), "removes all of it"),
    ] {
        println!("  {command:<42} # {what}");
    }
    println!();
    violations.is_empty()
}
