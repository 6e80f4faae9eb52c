//! A container image of one static program, as an archive of the OCI image layout
//! (opencontainers/image-spec 1.1, image-layout.md).

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::daemon::hex;
use crate::error::{FileContext, Result};

/// Writes the archive of an image named `reference` whose only file and entry point is `program`.
pub(crate) fn write_archive(program: &Path, reference: &str, archive: &Path) -> Result<()> {
    let name = program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let content = fs::read(program).at("read", program)?;
    let partial = archive.with_extension("partial");
    let output = File::create(&partial).at("create", &partial)?;
    write(&name, &content, reference, output).at("write", &partial)?;
    fs::rename(&partial, archive).at("create", archive)
}

fn write(name: &str, content: &[u8], reference: &str, output: impl io::Write) -> io::Result<()> {
    let mut layer = Builder::new(Vec::new());
    append(&mut layer, name, content, 0o755)?;
    let layer = Blob::new(
        "application/vnd.oci.image.layer.v1.tar",
        layer.into_inner()?,
    );
    let config = Blob::json(
        "application/vnd.oci.image.config.v1+json",
        &json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Entrypoint": [format!("/{name}")], "User": "65535:65535" },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
        }),
    );
    let manifest = Blob::json(
        "application/vnd.oci.image.manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    );
    let mut described = manifest.descriptor();
    described["annotations"] = json!({ "io.containerd.image.name": reference });
    let index = json!({ "schemaVersion": 2, "manifests": [described] });

    let mut archive = Builder::new(output);
    append(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
    )?;
    append(
        &mut archive,
        "index.json",
        index.to_string().as_bytes(),
        0o644,
    )?;
    for blob in [&layer, &config, &manifest] {
        append(
            &mut archive,
            &format!("blobs/sha256/{}", blob.hash),
            &blob.bytes,
            0o644,
        )?;
    }
    archive.into_inner()?.flush()
}

fn append(
    archive: &mut Builder<impl io::Write>,
    path: &str,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, content)
}

struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
    hash: String,
}

impl Blob {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        let hash = hex(&Sha256::digest(&bytes));
        Self { kind, bytes, hash }
    }

    fn json(kind: &'static str, value: &Value) -> Self {
        Self::new(kind, value.to_string().into_bytes())
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": self.digest(), "size": self.bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_descriptor_names_a_blob_of_its_size() {
        let mut bytes = Vec::new();
        write("pause", b"program", "registry.lab:5000/pause:1", &mut bytes).unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
            let content = &files[&format!("blobs/{digest}")];
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "registry.lab:5000/pause:1"
        );
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/pause"]));
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
        blob(&manifest["layers"][0]);
    }
}
