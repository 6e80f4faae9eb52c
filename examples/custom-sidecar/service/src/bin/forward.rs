//! A sidecar whose function has two credentials: it files each ticket with an upstream as the
//! application, and reports it to the system.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger_chassis::http::header::{AUTHORIZATION, CONTENT_TYPE};
use outrigger_chassis::http::{Request, Response, StatusCode};
use outrigger_chassis::{BoxFuture, Function, NotWarm, Problem, RequestBody, ResponseBody};
use outrigger_chassis::{Credential, Credentials, custom, json, read_body};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

const MAX_BODY_BYTES: usize = 1 << 16;
const MAX_ANSWER_BYTES: usize = 1 << 16;
/// Longest time of an upstream to answer, to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ConfigMap `kube-root-ca.crt`, which every namespace has, gives `ca.crt`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(rename = "ca.crt", default)]
    authorities: String,
    /// URL to which tickets are posted.
    tickets: String,
    /// URL to which each ticket's report is posted.
    reports: String,
    report: Value,
}

/// Posted a ticket, it answers with both answers.
struct Forward {
    parameters: Parameters,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    credentials: Credentials,
}

#[derive(Serialize)]
struct Filed {
    ticket: Answer,
    report: Answer,
}

#[derive(Serialize)]
struct Answer {
    status: u16,
    body: Value,
}

impl Forward {
    fn new(parameters: Parameters, credentials: Credentials) -> anyhow::Result<Forward> {
        let mut roots = RootCertStore::empty();
        for found in CertificateDer::pem_slice_iter(parameters.authorities.as_bytes()) {
            roots.add(found.context("ca.crt")?).context("ca.crt")?;
        }
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Forward {
            client: Client::builder(TokioExecutor::new()).build(connector),
            parameters,
            credentials,
        })
    }

    async fn file(&self, ticket: Bytes) -> anyhow::Result<Filed> {
        let Parameters {
            tickets, reports, ..
        } = &self.parameters;
        let report = self.parameters.report.to_string().into();
        let application = self.credentials.application()?;
        let ticket = self.post(tickets, &application, ticket).await?;
        let system = self.credentials.system()?;
        let report = self.post(reports, &system, report).await?;
        Ok(Filed { ticket, report })
    }

    async fn post(
        &self,
        url: &str,
        credential: &Credential,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let request = Request::post(url)
            .header(AUTHORIZATION, credential.authorization())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answered = async {
            let answer = self.client.request(request).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
            let body = body.collect().await.map_err(|error| anyhow!(error))?;
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            Ok(Answer { status, body })
        };
        let answered = timeout(PATIENCE, answered).await;
        answered.with_context(|| format!("{url} did not answer within {PATIENCE:?}"))?
    }
}

impl Function for Forward {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let body = request.into_body();
        Box::pin(async move {
            let ticket = match read_body(body, MAX_BODY_BYTES).await {
                Ok(ticket) => ticket,
                Err(problem) => return problem.into_response(),
            };
            match self.file(ticket).await {
                Ok(filed) => json(StatusCode::OK, &filed),
                Err(error) => {
                    let detail = format!("{error:#}");
                    Problem::new(StatusCode::BAD_GATEWAY, "not-filed", detail).into_response()
                }
            }
        })
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        Box::pin(async move {
            self.credentials.application()?;
            self.credentials.system()?;
            Ok(())
        })
    }
}

fn main() -> ExitCode {
    let credentials = Credentials::mounted();
    outrigger_chassis::main(move || {
        custom(move |parameters: Parameters| {
            Forward::new(parameters, credentials.clone()).map_err(|error| format!("{error:#}"))
        })
    })
}
