//! Images, built by buildah from what is on this machine and pushed to the lab's registry. A tag
//! names the content, so that an image that is there is not built again.

use std::path::Path;

use anyhow::{Context, ensure};
use http::Method;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{command, fetch, project};

const ACCEPT: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// An image in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// How pods name it: `registry/repository:tag`.
    pub reference: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
}

impl Image {
    /// The part before the tag.
    pub fn repository(&self) -> &str {
        self.reference
            .rsplit_once(':')
            .map_or(&self.reference, |(repository, _)| repository)
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        self.reference.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

/// Where images go.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Its address for this machine: `host:port`.
    pub push: String,
    /// Its name for pods: `name:port`.
    pub pull: String,
}

/// A file of an image.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path in the build's context.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it is a program.
    pub executable: bool,
}

/// What an image is built from.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The repository, without the registry.
    pub repository: String,
    /// The beginning of the tag.
    pub version: String,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// The stage in it; the last when absent.
    pub target: Option<String>,
    /// `linux/amd64`, or another platform that the image says it is for.
    pub platform: String,
    /// Whether the tag is that of an index, as of images for several platforms.
    pub index: bool,
    /// All files of the context.
    pub files: Vec<File>,
}

impl Recipe {
    /// One of the product's images (`operator`, `sidecar`), or of the examples' (`checkout`, `risk`,
    /// `redact`, `tickets`), from the one Dockerfile.
    ///
    /// # Errors
    /// When the program has not been built.
    pub fn product(target: &str, version: &str) -> anyhow::Result<Recipe> {
        let program = match target {
            "checkout" | "risk" | "redact" | "tickets" => target.to_owned(),
            _ => format!("outrigger-{target}"),
        };
        let path = project::binaries().join(&program);
        let content = std::fs::read(&path).with_context(|| {
            format!("cannot read {}; `make binaries` builds it", path.display())
        })?;
        let file = project::root().join("Dockerfile");
        let dockerfile = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Recipe {
            repository: format!("outrigger/{target}"),
            version: version.to_owned(),
            dockerfile,
            target: Some(target.to_owned()),
            platform: "linux/amd64".to_owned(),
            index: false,
            files: vec![File {
                path: program,
                content,
                executable: true,
            }],
        })
    }

    /// An image of its own for a test.
    pub fn of(name: &str, dockerfile: impl Into<String>, files: Vec<File>) -> Recipe {
        Recipe {
            repository: format!("e2e/{name}"),
            version: "1".to_owned(),
            dockerfile: dockerfile.into(),
            target: None,
            platform: "linux/amd64".to_owned(),
            index: false,
            files,
        }
    }

    /// The version and a hash of everything that decides what the image is.
    fn tag(&self) -> String {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(self.version.as_bytes());
        part(self.dockerfile.as_bytes());
        part(self.target.as_deref().unwrap_or_default().as_bytes());
        part(self.platform.as_bytes());
        part(&[u8::from(self.index)]);
        for file in &self.files {
            part(file.path.as_bytes());
            part(&file.content);
            part(&[u8::from(file.executable)]);
        }
        let hash = digest.finalize();
        let hash: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hash}", self.version)
    }
}

/// The part of a manifest that tells of sizes.
#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    size: u64,
}

/// Builds and pushes.
#[derive(Debug)]
pub struct Builder {
    registry: Registry,
    work: tempfile::TempDir,
}

impl Builder {
    /// A builder that leaves nothing on this machine.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(registry: Registry) -> anyhow::Result<Builder> {
        let work = tempfile::tempdir().context("cannot make a temporary directory")?;
        Ok(Builder { registry, work })
    }

    /// Makes sure that an image is in the registry.
    ///
    /// # Errors
    /// When it cannot be built or pushed, with what buildah said.
    pub async fn ensure(&self, recipe: &Recipe) -> anyhow::Result<Image> {
        let tag = recipe.tag();
        let image = |digest| Image {
            reference: format!("{}/{}:{tag}", self.registry.pull, recipe.repository),
            digest,
        };
        if let Some(digest) = self.digest(&recipe.repository, &tag).await? {
            return Ok(image(digest));
        }
        self.build(recipe, &tag).await?;
        let digest = self.digest(&recipe.repository, &tag).await?;
        let digest = digest.context("the image was pushed and the registry does not have it")?;
        Ok(image(digest))
    }

    /// The size of an image as it is pulled, in bytes.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub async fn size(&self, image: &Image) -> anyhow::Result<u64> {
        let repository = image.repository();
        let name = repository.strip_prefix(&self.registry.pull);
        let name = name.with_context(|| format!("{repository} is elsewhere"))?;
        let digest = &image.digest;
        let url = format!("http://{}/v2{name}/manifests/{digest}", self.registry.push);
        let accept = [("accept", ACCEPT)];
        let answer = fetch::send(Method::GET, &url, &accept, Default::default()).await?;
        let manifest: Manifest = answer.json()?;
        Ok(manifest.layers.iter().map(|layer| layer.size).sum())
    }

    /// The digest of a tag, if the registry has it.
    async fn digest(&self, repository: &str, tag: &str) -> anyhow::Result<Option<String>> {
        let url = format!(
            "http://{}/v2/{repository}/manifests/{tag}",
            self.registry.push
        );
        let accept = [("accept", ACCEPT)];
        let answer = fetch::send(Method::HEAD, &url, &accept, Default::default()).await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(answer.status.is_success(), "HEAD {url}: {}", answer.status);
        let digest = answer.headers.get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok());
        Ok(Some(
            digest.context("the registry names no digest")?.to_owned(),
        ))
    }

    async fn build(&self, recipe: &Recipe, tag: &str) -> anyhow::Result<()> {
        let context = tempfile::tempdir_in(self.work.path())?;
        for file in &recipe.files {
            write(&context.path().join(&file.path), file)?;
        }
        let dockerfile = self.work.path().join("Dockerfile");
        std::fs::write(&dockerfile, &recipe.dockerfile)?;

        let name = format!("{}:{tag}", recipe.repository);
        let mut arguments: Vec<String> = self.storage();
        let words = "build --quiet --isolation chroot --format oci --timestamp 0 --layers=false";
        arguments.extend(words.split(' ').map(str::to_owned));
        arguments.extend(["--platform".to_owned(), recipe.platform.clone()]);
        arguments.extend(["--file".to_owned(), dockerfile.display().to_string()]);
        if let Some(target) = &recipe.target {
            arguments.extend(["--target".to_owned(), target.clone()]);
            arguments.extend(["--build-arg".to_owned(), "BINARIES=.".to_owned()]);
            let version = format!("VERSION={}", recipe.version);
            arguments.extend(["--build-arg".to_owned(), version]);
        }
        let name_as = if recipe.index { "--manifest" } else { "--tag" };
        arguments.extend([name_as.to_owned(), name.clone()]);
        arguments.push(context.path().display().to_string());
        command::run("buildah", arguments).await?;

        let mut arguments = self.storage();
        let words = match recipe.index {
            true => "manifest push --quiet --all --tls-verify=false --format oci",
            false => "push --quiet --tls-verify=false --format oci",
        };
        arguments.extend(words.split(' ').map(str::to_owned));
        arguments.extend([
            name.clone(),
            format!("docker://{}/{name}", self.registry.push),
        ]);
        command::run("buildah", arguments).await?;
        Ok(())
    }

    /// Storage of our own: nothing is mounted, nothing stays.
    fn storage(&self) -> Vec<String> {
        let path = |name: &str| self.work.path().join(name).display().to_string();
        [
            "--storage-driver",
            "vfs",
            "--root",
            &path("root"),
            "--runroot",
            &path("run"),
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, &file.content)?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_or_file_is_another_tag() {
        let recipe = Recipe::of("x", "FROM scratch", Vec::new());
        let other = Recipe {
            version: "2".into(),
            ..recipe.clone()
        };
        let more = Recipe {
            files: vec![File {
                path: "a".into(),
                content: Vec::new(),
                executable: false,
            }],
            ..recipe.clone()
        };
        assert_eq!(recipe.tag(), recipe.tag());
        assert_ne!(recipe.tag(), other.tag());
        assert_ne!(recipe.tag(), more.tag());
        assert!(other.tag().starts_with("2-"));
    }
}
