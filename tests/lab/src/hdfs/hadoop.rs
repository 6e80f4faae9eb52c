//! Hadoop's jars and the lab's client of HDFS, kept like the programs that are built.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::java;
use crate::artifacts;
use crate::command::Tool;
use crate::daemon::hex;
use crate::error::{FileContext, Result};
use crate::layout::Layout;
use crate::progress::Step;

/// What progress calls it.
pub(super) const TITLE: &str = "Hadoop 3.5.0";
const POM: &str = include_str!("../../hdfs/pom.xml");
const CLIENT: &str = include_str!("../../hdfs/Client.java");
const LOG: &str = include_str!("../../hdfs/log4j.properties");
/// Hadoop's commands refuse to start without one on the class path.
const CORE_SITE: &str = "<configuration/>\n";
/// Directories that the daemons serve their pages from. The jars hold none; the pages themselves
/// are not needed.
const PAGES: [&str; 3] = ["webapps/hdfs", "webapps/datanode", "webapps/static"];

/// The directory of the jars, filled if it is not there.
pub(super) fn ensure(layout: &Layout, step: &Step) -> Result<PathBuf> {
    let directory = layout.cache().join(format!("hadoop-{}", hash()));
    artifacts::ensure_built(layout, &directory, step, |work, output| {
        build(work, output, step)
    })?;
    Ok(directory)
}

/// Everything that decides what is in the directory.
fn hash() -> String {
    let mut digest = Sha256::new();
    for text in [POM, CLIENT, LOG] {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    hex(&digest.finalize()[..8])
}

fn build(work: &Path, output: &Path, step: &Step) -> Result<String> {
    let write = |name: &str, text: &str| {
        let file = work.join(name);
        fs::write(&file, text).at("write", &file)
    };
    write("pom.xml", POM)?;
    write("Client.java", CLIENT)?;
    let mut fetched = 0_u32;
    step.note("asking Maven for jars");
    // Maven says what it fetches on its standard output.
    Tool::line("sh -e -c")
        .arg("exec mvn \"$@\" >&2")
        .args(["mvn", "--batch-mode", "--strict-checksums"])
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", output.display()))
        .directory(work)
        .run_watched(|line| {
            if line.contains("Downloaded from") {
                fetched += 1;
                step.note(format!("{fetched} files fetched"));
            }
        })?;

    step.note("compiling the client");
    let classes = work.join("classes");
    for page in PAGES {
        let directory = classes.join(page);
        fs::create_dir_all(&directory).at("create", &directory)?;
    }
    write("classes/log4j.properties", LOG)?;
    write("classes/core-site.xml", CORE_SITE)?;
    Tool::new(java::program("javac"))
        .args(["-Werror", "-cp", &java::class_path(output), "-d"])
        .arg(&classes)
        .arg(work.join("Client.java"))
        .run()?;
    Tool::new(java::program("jar"))
        .args(["--create", "--file"])
        .arg(output.join("outrigger-lab.jar"))
        .arg("-C")
        .arg(&classes)
        .arg(".")
        .run()?;
    let jars = fs::read_dir(output).at("read", output)?.count();
    Ok(format!("{jars} jars, {fetched} files fetched"))
}
