//! Swaps under each shape of load, and what can go wrong with them: `bench-swap [SWAPS [WORD]]`, for
//! the parts with the word in their names. Ends well only if nothing was lost.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use outrigger_e2e::bench::{
    Ground, Images, KillFigures, ROWS, Replacement, Results, Row, compare, kill_slot, kill_workers,
    machine, place, roll_out, run, share,
};
use outrigger_e2e::progress::Progress;
use outrigger_e2e::project;
use outrigger_e2e::site::Site;
use serde::Serialize;
use serde_json::json;

/// Environment: the page whose marked part the figures are written into.
const PAGE: &str = "OUTRIGGER_BENCH_PAGE";
/// Swaps in a row when none are asked for.
const SWAPS: usize = 20;
/// Fresh pods, a slot of which is killed.
const SLOTS: usize = 3;
/// Most new versions that are brought in each of the ways side by side.
const SIDE_BY_SIDE: usize = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let progress = Progress::default();
    match bench(&progress).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress.say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One part of the whole.
#[derive(Clone, Copy)]
enum Part {
    Row(Row),
    KilledWorkers,
    KilledSlots,
    SideBySide,
    Fleet,
    Tenants,
}

impl Part {
    fn all() -> Vec<Part> {
        let mut parts: Vec<_> = ROWS.into_iter().map(Part::Row).collect();
        parts.extend([
            Part::KilledWorkers,
            Part::KilledSlots,
            Part::SideBySide,
            Part::Tenants,
            Part::Fleet,
        ]);
        parts
    }

    fn name(self) -> &'static str {
        match self {
            Part::Row(row) => row.name,
            Part::KilledWorkers => "killed-workers",
            Part::KilledSlots => "killed-slots",
            Part::SideBySide => "side-by-side",
            Part::Fleet => "fleet",
            Part::Tenants => "tenants",
        }
    }
}

struct Bench<'a> {
    site: Site,
    images: Images,
    swaps: usize,
    progress: &'a Progress,
}

async fn bench(progress: &Progress) -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let swaps = match arguments.next() {
        Some(text) => text.parse().with_context(|| format!("{text} swaps"))?,
        None => SWAPS,
    };
    let word = arguments.next().unwrap_or_default();
    let mut parts = Part::all();
    parts.retain(|part| part.name().contains(&word));
    anyhow::ensure!(!parts.is_empty(), "no part has {word} in its name");
    // What is wrong with the page, or with former figures, is better known before than after.
    page()?;
    let site = Site::open().await?;
    let images = progress.step("images built and pushed", Images::ensure(&site));
    let bench = Bench {
        images: images.await?,
        site,
        swaps,
        progress,
    };
    let mut good = true;
    for part in parts {
        let played = bench.play(part).await;
        // One part that fails leaves the others their turn, and what was found before.
        let told = tell();
        good &= played.as_ref().is_ok_and(|good| *good) && told.is_ok();
        for error in [played.err(), told.err()].into_iter().flatten() {
            progress.say(format_args!("{}: {error:#}", part.name()));
        }
    }
    Ok(good)
}

/// Where the figures are.
fn directory() -> PathBuf {
    project::target().join("bench")
}

/// The page that [`PAGE`] names, if there is one, with all figures that there are.
fn page() -> anyhow::Result<Option<(OsString, String)>> {
    let Some(page) = std::env::var_os(PAGE) else {
        return Ok(None);
    };
    let text = Results::read(&directory())?.text(&machine());
    let before = std::fs::read_to_string(&page)?;
    Ok(Some((page, place(&before, &text)?)))
}

/// Writes it.
fn tell() -> anyhow::Result<()> {
    if let Some((page, text)) = page()? {
        std::fs::write(page, text)?;
    }
    Ok(())
}

impl Bench<'_> {
    async fn play(&self, part: Part) -> anyhow::Result<bool> {
        match part {
            Part::Row(row) => {
                let figures = run(&self.site, &self.images, &row, self.swaps, self.progress);
                let figures = figures.await?;
                self.keep(part, &figures)?;
                Ok(figures.is_good())
            }
            Part::KilledWorkers => {
                let ground = self.ground().await?;
                let kills = kill_workers(&self.site, &ground, self.swaps, self.progress);
                self.killed(part, &kills.await?)
            }
            Part::KilledSlots => {
                let mut all: Option<KillFigures> = None;
                let mut good = false;
                for _ in 0..SLOTS {
                    let ground = self.ground().await?;
                    let found = kill_slot(&self.site, &ground).await?;
                    let found = match all.take() {
                        Some(before) => before.and(found),
                        None => found,
                    };
                    good = self.killed(part, &found)?;
                    all = Some(found);
                }
                Ok(good)
            }
            Part::SideBySide => self.side_by_side().await,
            Part::Fleet => {
                let found = roll_out(&self.site, self.images.clone(), self.progress).await?;
                self.keep(part, &found)?;
                Ok(found.is_good())
            }
            Part::Tenants => {
                let found = share(&self.site, &self.images);
                let found = self.progress.step("two applications share", found).await?;
                self.keep(part, &found)?;
                Ok(found.is_good())
            }
        }
    }

    async fn side_by_side(&self) -> anyhow::Result<bool> {
        let swaps = self.swaps.min(SIDE_BY_SIDE);
        let ground = self.ground().await?;
        let mut all = Vec::new();
        for way in Replacement::ALL {
            let found = compare(&self.site, &ground, way, swaps, self.progress).await?;
            all.push(found);
            self.keep(Part::SideBySide, &all)?;
        }
        let own = all.first().context("no way")?;
        let zeros = [own.failed, own.closed, own.application_restarts];
        Ok(zeros == [0; 3])
    }

    async fn ground(&self) -> anyhow::Result<Ground> {
        let ground = Ground::open(&self.site, self.images.clone(), json!({}));
        self.progress.step("a fresh pod", ground).await
    }

    fn killed(&self, part: Part, figures: &KillFigures) -> anyhow::Result<bool> {
        self.keep(part, figures)?;
        Ok(figures.is_good())
    }

    /// Says figures, and writes them to a file named after their part.
    fn keep(&self, part: Part, figures: &impl Serialize) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(figures)?);
        let directory = directory();
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(format!("swap-{}.json", part.name()));
        std::fs::write(&file, serde_json::to_string_pretty(figures)? + "\n")?;
        self.progress
            .say(format_args!("figures: {}", file.display()));
        Ok(())
    }
}
