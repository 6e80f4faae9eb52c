use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// `serviceAccountToken.expirationSeconds` when it is absent.
pub const TOKEN_EXPIRATION_SECONDS: i64 = 3600;

/// The two credentials of a sidecar, with different permissions. At least one is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.application) || has(self.system)", "at least one of credentials.application and credentials.system must be set"),
    validation = ("!has(self.application) || !has(self.system) || !has(self.application.secretName) || !has(self.system.secretName) || self.application.secretName != self.system.secretName", "credentials.application.secretName and credentials.system.secretName must be different Secrets: each credential has its own permissions"),
    validation = ("!has(self.application) || !has(self.system) || !has(self.application.serviceAccountToken) || !has(self.system.serviceAccountToken) || self.application.serviceAccountToken.audience != self.system.serviceAccountToken.audience", "credentials.application.serviceAccountToken.audience and credentials.system.serviceAccountToken.audience must be different: both tokens are of the pod's service account, and only the audience tells their permissions apart"),
)]
pub struct Credentials {
    /// With this one the functions act for the application, e.g. when they call its upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Credential>,
    /// With this one the functions report to the system, e.g. to an audit service of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Credential>,
}

/// One credential: a bearer token. Exactly one of its fields is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.secretName) != has(self.serviceAccountToken)", "exactly one of secretName and serviceAccountToken must be set"))]
pub struct Credential {
    /// A Secret of the namespace with the key `token`. It is mounted into the sidecar's containers
    /// alone; the operator never reads it. While the Secret or the key is missing, the slots wait
    /// for it and the application's containers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// A token of the pod's service account for one audience, bound to the pod and renewed by
    /// kubelet. In function pods it is one of the service account `default` of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_token: Option<ServiceAccountToken>,
}

/// A token of the pod's service account.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// Who is to accept the token. A service must refuse tokens of other audiences.
    #[schemars(length(min = 1, max = 253))]
    pub audience: String,
    /// How long a token is valid, in seconds; 3600 when absent. It is renewed when 80 % of that
    /// time has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 600, max = 86400))]
    pub expiration_seconds: Option<i64>,
}

impl Credentials {
    /// With its defaults, so that what means the same is equal.
    pub fn effective(&self) -> Credentials {
        let effective = |found: &Option<Credential>| found.as_ref().map(Credential::effective);
        Credentials {
            application: effective(&self.application),
            system: effective(&self.system),
        }
    }
}

impl Credential {
    /// With its defaults, so that what means the same is equal.
    pub fn effective(&self) -> Credential {
        let token = self.service_account_token.as_ref();
        Credential {
            secret_name: self.secret_name.clone(),
            service_account_token: token.map(|token| ServiceAccountToken {
                audience: token.audience.clone(),
                // The default left out, as hashes of it were made that are in running pods.
                expiration_seconds: token
                    .expiration_seconds
                    .filter(|seconds| *seconds != TOKEN_EXPIRATION_SECONDS),
            }),
        }
    }
}

impl ServiceAccountToken {
    /// How long a token is valid, in seconds, with its default.
    pub fn effective_expiration_seconds(&self) -> i64 {
        self.expiration_seconds.unwrap_or(TOKEN_EXPIRATION_SECONDS)
    }
}
