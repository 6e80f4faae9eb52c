//! Java, as the lab's HDFS is run with.

use std::path::{Path, PathBuf};

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

/// What a virtual machine is started with.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) heap_mib: u32,
    /// The directory of the jars.
    pub(super) jars: PathBuf,
    /// The directory of the settings.
    pub(super) settings: PathBuf,
    /// The file of all names and addresses that it knows.
    pub(super) hosts: PathBuf,
    pub(super) temporary: PathBuf,
    /// log4j's name of the least that is logged.
    pub(super) log: &'static str,
}

impl Machine {
    /// The options: small and quick to start rather than fast, without a trace outside of its
    /// directories, and without a question to any DNS.
    pub(super) fn options(&self) -> Vec<String> {
        let temporary = self.temporary.display();
        vec![
            format!("-Xmx{}m", self.heap_mib),
            "-Xss512k".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-XX:CICompilerCount=1".to_owned(),
            // A file in /tmp for each process.
            "-XX:-UsePerfData".to_owned(),
            format!("-XX:ErrorFile={temporary}/java-%p.log"),
            format!("-Djava.io.tmpdir={temporary}"),
            "-Djava.net.preferIPv4Stack=true".to_owned(),
            format!("-Djdk.net.hosts.file={}", self.hosts.display()),
            format!("-Dlab.log={}", self.log),
            // Not on its standard output, where answers are.
            "-Xlog:disable".to_owned(),
            "-Xlog:all=error:stderr".to_owned(),
            "-cp".to_owned(),
            // The archive of classes is of the jars, which therefore come first.
            format!("{}:{}", class_path(&self.jars), self.settings.display()),
        ]
    }
}
