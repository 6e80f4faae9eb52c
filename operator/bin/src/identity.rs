//! Who the operator is to the API server.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};

/// The operator's own name cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the API server does not tell who the operator is: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server knows the operator by no name")]
    Nameless,
}

/// The name that the API server puts into requests of this client, for the webhook among others.
pub(crate) async fn username(client: &Client) -> Result<String, IdentityError> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    answer
        .status
        .and_then(|status| status.user_info?.username)
        .ok_or(IdentityError::Nameless)
}
