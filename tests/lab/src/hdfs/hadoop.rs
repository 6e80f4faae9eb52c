//! Hadoop's jars and the lab's client of HDFS, kept like the programs that are built.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::java::{self, Machine};
use super::site;
use crate::artifacts;
use crate::cgroup::Cgroups;
use crate::command::Tool;
use crate::daemon::hex;
use crate::error::{FileContext, Result};
use crate::layout::Layout;
use crate::progress::Step;

/// What progress calls the jars, and the archive of their classes.
pub(super) const TITLE: &str = "Hadoop 3.5.0";
pub(super) const ARCHIVE_TITLE: &str = "Hadoop's classes";
/// The control group of what makes the archive.
pub(super) const REHEARSAL: &str = "hdfs-rehearsal";
const POM: &str = include_str!("../../hdfs/pom.xml");
const CLIENT: &str = include_str!("../../hdfs/Client.java");
const REHEARSAL_SOURCE: &str = include_str!("../../hdfs/Rehearsal.java");
const LOG: &str = include_str!("../../hdfs/log4j.properties");
/// Hadoop's commands refuse to start without one on the class path.
const CORE_SITE: &str = "<configuration/>\n";
/// Seconds for which a figure that was asked for over HTTP is told again; 10 if nothing is said.
const METRICS: &str = "*.period=1\n";
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
    for text in [POM, CLIENT, REHEARSAL_SOURCE, LOG, METRICS] {
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
    write("Rehearsal.java", REHEARSAL_SOURCE)?;
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

    step.note("compiling");
    let classes = work.join("classes");
    for page in PAGES {
        let directory = classes.join(page);
        fs::create_dir_all(&directory).at("create", &directory)?;
    }
    write("classes/log4j.properties", LOG)?;
    write("classes/core-site.xml", CORE_SITE)?;
    write("classes/hadoop-metrics2.properties", METRICS)?;
    Tool::new(java::program("javac"))
        .args(["-Werror", "-cp", &java::class_path(output), "-d"])
        .arg(&classes)
        .args(["Client.java", "Rehearsal.java"].map(|source| work.join(source)))
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

/// An archive of the classes that the processes load, made if it is not there: with it, they start
/// in half the time. Java leaves it alone if it does not fit, after an update of Java for example.
pub(super) fn ensure_archive(layout: &Layout, jars: &Path, step: &Step) -> Result<PathBuf> {
    // Apart from the jars, because it holds only for jars that are where they were.
    let directory = layout.cache().join(format!("hadoop-classes-{}", hash()));
    artifacts::ensure_built(layout, &directory, step, |work, output| {
        step.note("rehearsing");
        rehearse(jars, work, &output.join(ARCHIVE))?;
        Ok("archived".to_owned())
    })?;
    Ok(directory.join(ARCHIVE))
}

const ARCHIVE: &str = "classes.jsa";

fn rehearse(jars: &Path, work: &Path, archive: &Path) -> Result<()> {
    let machine = Machine {
        heap_mib: 256,
        jars: jars.to_owned(),
        settings: work.join("settings"),
        hosts: work.join("hosts"),
        temporary: work.join("tmp"),
        log: "WARN",
    };
    let data = work.join("data");
    for directory in [&machine.settings, &machine.temporary, &data] {
        fs::create_dir_all(directory).at("create", directory)?;
    }
    fs::write(&machine.hosts, site::own_names()).at("write", &machine.hosts)?;
    let mut words = Cgroups::detect()?.join_command(REHEARSAL)?.into_iter();
    Tool::new(words.next().unwrap_or_default())
        .args(words)
        .arg(java::program("java"))
        .arg(format!("-XX:ArchiveClassesAtExit={}", archive.display()))
        .args(machine.options())
        .arg("Rehearsal")
        .arg(data)
        .run()?;
    Ok(())
}
