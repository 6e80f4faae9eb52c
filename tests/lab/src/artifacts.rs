//! Programs built from Go modules, kept outside the checkout by the hash of what they are built
//! from. The modules' files are part of this program, so that the hash is of what is built.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::command::Tool;
use crate::daemon::hex;
use crate::error::{FileContext, Result};
use crate::layout::{Layout, remove_tree};
use crate::lock::Lock;
use crate::progress::Step;

/// One program and the Go module that it is built from.
#[derive(Debug)]
pub(crate) struct Program {
    /// The binary's name.
    pub(crate) name: &'static str,
    /// What progress calls it.
    pub(crate) title: &'static str,
    files: &'static [(&'static str, &'static str)],
    package: &'static str,
    /// Linker flags that set variables: `-X NAME=VALUE`.
    variables: &'static str,
    /// Further names of the binary.
    links: &'static [&'static str],
}

macro_rules! module {
    ($directory:literal: $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../", $directory, "/", $file)))),+]
    };
}

pub(crate) const KUBE: Program = Program {
    name: "kube",
    title: "Kubernetes 1.35.4",
    files: module!("kube": "go.mod", "go.sum", "main.go"),
    package: ".",
    // Without a version the API server says v0.0.0 and clients misbehave.
    variables: "-X k8s.io/component-base/version.gitVersion=v1.35.4 \
                -X k8s.io/component-base/version.gitMajor=1 \
                -X k8s.io/component-base/version.gitMinor=35 \
                -X k8s.io/component-base/version.gitTreeState=clean",
    links: &[
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    ],
};

pub(crate) const COREDNS: Program = Program {
    name: "coredns",
    title: "CoreDNS 1.15.0",
    files: module!("coredns": "go.mod", "go.sum", "main.go"),
    package: ".",
    variables: "",
    links: &[],
};

pub(crate) const HELM: Program = Program {
    name: "helm",
    title: "Helm 3.22.0",
    files: module!("helm": "go.mod", "go.sum"),
    package: "helm.sh/helm/v3/cmd/helm",
    variables: "-X helm.sh/helm/v3/internal/version.version=v3.22.0",
    links: &[],
};

pub(crate) const PAUSE: Program = Program {
    name: "pause",
    title: "pause",
    files: module!("pause": "go.mod", "main.go"),
    package: ".",
    variables: "",
    links: &[],
};

/// All of them.
const PROGRAMS: [&Program; 4] = [&KUBE, &COREDNS, &HELM, &PAUSE];

/// What every build is run with, beside the package and the linker flags.
const BUILD_ENV: [(&str, &str); 5] = [
    ("CGO_ENABLED", "0"),
    ("GOOS", "linux"),
    ("GOARCH", "amd64"),
    ("GOFLAGS", "-buildvcs=false"),
    ("GOWORK", "off"),
];

/// The version of the Go tool chain.
pub(crate) fn go_version() -> Result<String> {
    Ok(Tool::line("go env GOVERSION").run()?.trim().to_owned())
}

/// Whether nothing is left to be built.
pub(crate) fn all_built(layout: &Layout) -> bool {
    go_version().is_ok_and(|go| {
        PROGRAMS
            .into_iter()
            .all(|program| program.directory(layout, &go).is_dir())
    })
}

/// Makes a directory of the cache, if it is not there: `build` is given a directory to work in and
/// one to fill, and says what it did.
pub(crate) fn ensure_built(
    layout: &Layout,
    built: &Path,
    step: &Step,
    build: impl FnOnce(&Path, &Path) -> Result<String>,
) -> Result<()> {
    if built.is_dir() {
        step.note("cached");
        return Ok(());
    }
    let wait = || step.note("another lab builds");
    let _lock = Lock::acquire(&layout.cache().join("build.lock"), wait)?;
    if built.is_dir() {
        step.note("cached");
        return Ok(());
    }
    // What an earlier build left that was killed: only one build runs at a time.
    let work = layout.cache().join("building");
    remove_tree(&work)?;
    let (source, output) = (work.join("source"), work.join("output"));
    for directory in [&source, &output] {
        fs::create_dir_all(directory).at("create", directory)?;
    }
    let outcome = build(&source, &output)?;
    fs::rename(&output, built).at("create", built)?;
    remove_tree(&work)?;
    step.note(outcome);
    Ok(())
}

impl Program {
    /// The directory of the binary and its links, whether it is there or not.
    pub(crate) fn directory(&self, layout: &Layout, go: &str) -> PathBuf {
        layout
            .cache()
            .join(format!("{}-{}", self.name, self.hash(go)))
            .join("bin")
    }

    /// The directory of the binary and its links, built if it is not there.
    pub(crate) fn ensure(&self, layout: &Layout, go: &str, step: &Step) -> Result<PathBuf> {
        let binaries = self.directory(layout, go);
        if let Some(directory) = binaries.parent() {
            ensure_built(layout, directory, step, |source, output| {
                self.build(source, output, step)
            })?;
        }
        Ok(binaries)
    }

    fn build(&self, source: &Path, output: &Path, step: &Step) -> Result<String> {
        let binaries = output.join("bin");
        fs::create_dir_all(&binaries).at("create", &binaries)?;
        for (name, text) in self.files {
            let file = source.join(name);
            fs::write(&file, text).at("write", &file)?;
        }
        let mut packages = 0_u32;
        step.note("downloading modules");
        Tool::line("go build -v -trimpath -ldflags")
            .arg(self.linker_flags())
            .arg("-o")
            .arg(binaries.join(self.name))
            .arg(self.package)
            .envs(BUILD_ENV)
            .directory(source)
            .run_watched(|line| {
                if !line.starts_with("go: ") {
                    packages += 1;
                    step.note(format!("{packages} packages compiled"));
                }
            })?;
        for link in self.links {
            let link = binaries.join(link);
            symlink(self.name, &link).at("link", &link)?;
        }
        Ok(format!("built, {packages} packages compiled"))
    }

    fn linker_flags(&self) -> String {
        format!("-s -w {}", self.variables).trim_end().to_owned()
    }

    /// Everything that decides what the binary is.
    fn hash(&self, go: &str) -> String {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update(text.len().to_le_bytes());
            digest.update(text);
        };
        part(go);
        part(self.package);
        part(&self.linker_flags());
        self.links.iter().for_each(|link| part(link));
        for (name, value) in BUILD_ENV {
            part(name);
            part(value);
        }
        for (name, text) in self.files {
            part(name);
            part(text);
        }
        hex(&digest.finalize()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_tool_chain_is_another_artifact() {
        assert_eq!(KUBE.hash("go1.26.8"), KUBE.hash("go1.26.8"));
        assert_ne!(KUBE.hash("go1.26.8"), KUBE.hash("go1.26.9"));
        assert_ne!(KUBE.hash("go1.26.8"), HELM.hash("go1.26.8"));
    }
}
