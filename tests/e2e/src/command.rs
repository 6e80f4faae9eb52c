//! External programs, run with errors that say which one failed and what it said.

use std::ffi::OsStr;
use std::process::{Output, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;

/// Runs a program to its end and gives what it wrote to its standard output.
///
/// # Errors
/// When it cannot be started or fails, with what it wrote to its standard error.
pub async fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let Output { stdout, .. } = output(program, arguments).await?;
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a program to its end and gives all that it said, what it wrote to its standard error first.
///
/// # Errors
/// As [`run`].
pub async fn run_and_listen<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let Output { stdout, stderr, .. } = output(program, arguments).await?;
    let said = [stderr, stdout].concat();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

async fn output<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let line = format!("{:?}", command.as_std());
    let output = command
        .output()
        .await
        .with_context(|| format!("cannot run {line}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{line} failed ({}): {}", output.status, said.trim());
    }
    Ok(output)
}
