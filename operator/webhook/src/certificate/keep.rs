use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use outrigger_api::FIELD_MANAGER;
use tokio_util::sync::CancellationToken;

use super::follow::Observed;
use super::issue::carry_out;
use super::{CERTIFICATE_SECRET, CertificateError, Certificates, Decision, Material, decide};

/// Longest sleep before a decision: timers do not notice that a machine was suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("Secret {CERTIFICATE_SECRET} cannot be written: {0}")]
    Write(#[from] kube::Error),
}

/// Keeps the Secret's certificate valid for the Service, until `stop`. Only the leader does so;
/// [`Certificates::follow`] has to run beside it. `clock` tells the time.
pub async fn keep_certificate(
    client: Client,
    certificates: &Certificates,
    namespace: &str,
    service: &str,
    clock: impl Fn() -> Timestamp,
    stop: CancellationToken,
) {
    let name = format!("{service}.{namespace}.svc");
    let secrets = Api::<Secret>::namespaced(client, namespace);
    let mut observed = certificates.observed();
    loop {
        let current = observed.borrow_and_update().clone();
        let pause = match current {
            Observed::Unknown => LONGEST_SLEEP,
            Observed::Absent => step(&secrets, None, &name, clock()).await,
            Observed::Present(secret) => step(&secrets, Some(&secret), &name, clock()).await,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = observed.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Decides and writes once; says how long to wait, unless the Secret changes before.
async fn step(
    secrets: &Api<Secret>,
    secret: Option<&Secret>,
    name: &str,
    now: Timestamp,
) -> Duration {
    let material = secret.and_then(|secret| Material::from_secret(secret).ok());
    let decision = decide(now, material.as_ref(), name);
    if let Decision::Keep { until } = decision {
        let rest = Duration::try_from(now.duration_until(until)).unwrap_or_default();
        return rest.min(LONGEST_SLEEP);
    }
    match write(secrets, secret, material.as_ref(), decision, name, now).await {
        Ok(()) => {
            tracing::info!(?decision, name, "serving certificate written");
            // The write comes back as a change.
            LONGEST_SLEEP
        }
        Err(error) => {
            tracing::warn!(%error, ?decision, "serving certificate not written; trying again");
            RETRY
        }
    }
}

async fn write(
    secrets: &Api<Secret>,
    secret: Option<&Secret>,
    material: Option<&Material>,
    decision: Decision,
    name: &str,
    now: Timestamp,
) -> Result<(), KeepError> {
    let Some(material) = carry_out(decision, now, material, name)? else {
        return Ok(());
    };
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match secret {
        None => {
            let fresh = Secret {
                metadata: ObjectMeta {
                    name: Some(CERTIFICATE_SECRET.to_owned()),
                    ..ObjectMeta::default()
                },
                type_: Some("kubernetes.io/tls".into()),
                data: Some(material.into_data()),
                ..Secret::default()
            };
            secrets.create(&parameters, &fresh).await?;
        }
        // With the resource version that was read, so that a former leader overwrites nothing.
        Some(secret) => {
            let mut changed = secret.clone();
            changed.data = Some(material.into_data());
            secrets
                .replace(CERTIFICATE_SECRET, &parameters, &changed)
                .await?;
        }
    }
    Ok(())
}
