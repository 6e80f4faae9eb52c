use std::fmt;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;

/// The oldest Kubernetes that the operator works with.
pub const MINIMUM_VERSION: ServerVersion = ServerVersion {
    major: 1,
    minor: 34,
};

/// Version of an API server. Patch releases make no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// Before the first point.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl ServerVersion {
    /// Reads the numbers; some providers write the minor one as `34+`.
    fn of(info: &Info) -> Option<ServerVersion> {
        let number = |text: &str| text.trim_end_matches('+').parse().ok();
        Some(ServerVersion {
            major: number(&info.major)?,
            minor: number(&info.minor)?,
        })
    }
}

/// The API server is none that the operator works with.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It does not say which it is.
    #[error("the API server's version cannot be read: {0}")]
    Unreadable(#[from] kube::Error),
    /// It is too old, or says something that is no version.
    #[error(
        "the API server is Kubernetes {found}; Outrigger needs {MINIMUM_VERSION} or later: upgrade the cluster, or remove Outrigger from it"
    )]
    Unsupported {
        /// What the API server calls its version.
        found: String,
    },
}

/// Asks the API server for its version and refuses one that is too old.
pub async fn require_version(client: &Client) -> Result<ServerVersion, VersionError> {
    supported(&client.apiserver_version().await?)
}

fn supported(info: &Info) -> Result<ServerVersion, VersionError> {
    ServerVersion::of(info)
        .filter(|version| *version >= MINIMUM_VERSION)
        .ok_or_else(|| VersionError::Unsupported {
            found: info.git_version.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(major: &str, minor: &str) -> Result<ServerVersion, VersionError> {
        supported(&Info {
            major: major.into(),
            minor: minor.into(),
            git_version: format!("v{major}.{minor}.2"),
            ..Info::default()
        })
    }

    #[test]
    fn the_minimum_and_all_later_versions_are_taken() {
        for (major, minor) in [
            ("1", "34"),
            ("1", "34+"),
            ("1", "35"),
            ("1", "100"),
            ("2", "0"),
        ] {
            assert!(answer(major, minor).is_ok(), "{major}.{minor}");
        }
    }

    #[test]
    fn older_versions_and_nonsense_are_refused_by_name() {
        for (major, minor) in [
            ("1", "33"),
            ("1", "33+"),
            ("1", "9"),
            ("0", "99"),
            ("1", ""),
        ] {
            assert!(answer(major, minor).is_err(), "{major}.{minor}");
        }
        assert_eq!(
            answer("1", "33").unwrap_err().to_string(),
            "the API server is Kubernetes v1.33.2; Outrigger needs 1.34 or later: upgrade the cluster, or remove Outrigger from it"
        );
    }
}
