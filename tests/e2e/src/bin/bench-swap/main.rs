//! Swaps under each shape of load: `bench-swap [SWAPS [WORD]]`, for the rows with the word in their
//! names. Ends well only if nothing was lost.

use std::process::ExitCode;

use anyhow::Context;
use outrigger_e2e::bench::{Figures, Ground, Images, ROWS, run};
use outrigger_e2e::progress::Progress;
use outrigger_e2e::project;
use outrigger_e2e::site::Site;

/// Swaps in a row when none are asked for.
const SWAPS: usize = 20;

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

async fn bench(progress: &Progress) -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let swaps = match arguments.next() {
        Some(text) => text.parse().with_context(|| format!("{text} swaps"))?,
        None => SWAPS,
    };
    let word = arguments.next().unwrap_or_default();
    let rows: Vec<_> = ROWS.iter().filter(|row| row.name.contains(&word)).collect();
    anyhow::ensure!(!rows.is_empty(), "no row has {word} in its name");
    let site = Site::open().await?;
    let images = progress.step("images built and pushed", Images::ensure(&site));
    let images = images.await?;
    let directory = project::target().join("bench");
    std::fs::create_dir_all(&directory)?;
    let mut good = true;
    for row in rows {
        let ground = progress.step("a fresh pod", Ground::open(&site, images.clone()));
        let ground = ground.await?;
        let figures = run(&site, &ground, row, swaps, progress).await;
        let figures = figures.with_context(|| format!("row {}", row.name))?;
        let file = directory.join(format!("swap-{}.json", row.name));
        std::fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n")?;
        println!("{}", line(&figures));
        good &= is_good(&figures);
    }
    println!("the figures: {}", directory.display());
    Ok(good)
}

fn is_good(figures: &Figures) -> bool {
    let verdict = figures.verdict;
    // What moves connections in HTTP/2 is that clients open others.
    let closed = match figures.row {
        "http2" => 0,
        _ => figures.closed,
    };
    figures.sent == figures.answered
        && [
            figures.failed,
            verdict.lost,
            verdict.duplicated,
            closed,
            figures.primary_restarts,
            figures.ready_transitions,
            figures.endpoint_slice_writes,
        ] == [0; 7]
}

/// A row of the table in `docs/benchmarks/swap.md`.
fn line(figures: &Figures) -> String {
    let (outside, inside) = (figures.latency_ms.outside, figures.latency_ms.inside);
    format!(
        "| {} | {:.0} | {} | {} | {}, {} | {} | {} | {} | {} | {:.2}, {:.1}, {:.0} | {:.2}, {:.1}, {:.0} |",
        figures.row,
        figures.rate,
        figures.sent,
        figures.failed,
        figures.verdict.lost,
        figures.verdict.duplicated,
        figures.closed,
        figures.primary_restarts,
        figures.ready_transitions,
        figures.endpoint_slice_writes,
        outside.p50,
        outside.p99,
        outside.max,
        inside.p50,
        inside.p99,
        inside.max,
    )
}
