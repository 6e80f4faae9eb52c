//! A sidecar with one function: it takes personal fields out of JSON documents.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use outrigger_chassis::http::{Request, Response, StatusCode};
use outrigger_chassis::{BoxFuture, Function, Problem, RequestBody, ResponseBody};
use outrigger_chassis::{custom, json, read_body};
use serde::Deserialize;
use serde_json::Value;

const MAX_BODY_BYTES: usize = 1 << 20;

/// Posted a JSON document, it answers with the same document in which the value of each of the
/// `fields`, at any depth, is `mask`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redact {
    fields: BTreeSet<String>,
    mask: Value,
}

impl Redact {
    fn redact(&self, document: &mut Value) {
        match document {
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(members) => {
                members
                    .iter_mut()
                    .for_each(|(name, value)| match self.fields.contains(name) {
                        true => value.clone_from(&self.mask),
                        false => self.redact(value),
                    })
            }
            _ => {}
        }
    }

    async fn answer(&self, body: RequestBody) -> Result<Response<ResponseBody>, Problem> {
        let text = read_body(body, MAX_BODY_BYTES).await?;
        let mut document = serde_json::from_slice(&text).map_err(|error| {
            let detail = format!("the body is not JSON: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "not-json", detail)
        })?;
        self.redact(&mut document);
        Ok(json(StatusCode::OK, &document))
    }
}

impl Function for Redact {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        let body = request.into_body();
        Box::pin(async move {
            self.answer(body)
                .await
                .unwrap_or_else(Problem::into_response)
        })
    }
}

fn main() -> ExitCode {
    outrigger_chassis::main(|| custom(Ok::<Redact, String>))
}
