//! Java, as the lab's HDFS is run with.

use std::path::{Path, PathBuf};

use super::site;
use crate::layout::Layout;

/// The Debian package's directory.
const HOME: &str = "/usr/lib/jvm/java-17-openjdk-amd64";

/// One of Java's programs.
pub(super) fn program(name: &str) -> PathBuf {
    Path::new(HOME).join("bin").join(name)
}

/// All jars of a directory.
pub(super) fn class_path(jars: &Path) -> String {
    format!("{}/*", jars.display())
}

/// What every virtual machine is started with: small and quick to start rather than fast, without a
/// trace outside of the state directory, and without a question to any DNS.
pub(super) fn options(layout: &Layout, jars: &Path, heap_mib: u32, log: &str) -> Vec<String> {
    vec![
        format!("-Xmx{heap_mib}m"),
        "-Xss512k".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-XX:CICompilerCount=1".to_owned(),
        // A file in /tmp for each process.
        "-XX:-UsePerfData".to_owned(),
        format!("-XX:ErrorFile={}", layout.log("java-%p").display()),
        format!("-Djava.io.tmpdir={}", site::temporary(layout).display()),
        "-Djava.net.preferIPv4Stack=true".to_owned(),
        format!(
            "-Djdk.net.hosts.file={}",
            site::hosts_file(layout).display()
        ),
        format!("-Dlab.log={log}"),
        "-cp".to_owned(),
        format!("{}:{}", class_path(jars), site::directory(layout).display()),
    ]
}
