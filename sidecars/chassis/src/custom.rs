use std::marker::PhantomData;
use std::sync::Arc;

use outrigger_control::parameters::CustomParameters;
use outrigger_control::{Document, FunctionKind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Builder, Function, Functions, InvalidDocument, Secrets};

/// A [`Builder`] for a sidecar of custom functions that are all made in one way.
///
/// `make` gets the parameters of one function, merged from all their sources and read as `P`. It
/// says of parameters that cannot be used what was found and what is allowed. Parameters that `P`
/// does not know should be refused: `#[serde(deny_unknown_fields)]`.
pub fn custom<P, F, M>(make: M) -> impl Builder
where
    P: DeserializeOwned + 'static,
    F: Function,
    M: Fn(P) -> Result<F, String> + Send + Sync + 'static,
{
    Custom {
        make,
        parameters: PhantomData::<fn(P) -> F>,
    }
}

struct Custom<P, F, M> {
    make: M,
    parameters: PhantomData<fn(P) -> F>,
}

impl<P, F, M> Builder for Custom<P, F, M>
where
    P: DeserializeOwned + 'static,
    F: Function,
    M: Fn(P) -> Result<F, String> + Send + Sync + 'static,
{
    fn build(&self, document: &Document, secrets: &Secrets) -> Result<Functions, InvalidDocument> {
        let mut functions = Functions::new();
        for function in &document.functions {
            let name = &function.name;
            let refused = |reason: String| InvalidDocument(format!("function {name}: {reason}"));
            let FunctionKind::Custom(layers) = &function.kind else {
                return Err(refused(
                    "it is not custom; this image knows custom functions only".to_owned(),
                ));
            };
            let parameters = CustomParameters::resolve(layers, &|name| secrets.read(name))
                .map_err(|error| refused(error.to_string()))?;
            let parameters = serde_json::from_value(Value::Object(parameters))
                .map_err(|error| refused(format!("custom: {error}")))?;
            let made = (self.make)(parameters).map_err(refused)?;
            functions.insert(name.clone(), Arc::new(made) as Arc<dyn Function>);
        }
        Ok(functions)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http::{Request, Response, StatusCode};
    use outrigger_control::{Application, FunctionDocument, Layer, Values};
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{RequestBody, ResponseBody};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        status: u16,
    }

    struct Fixed(StatusCode);

    impl Function for Fixed {
        fn call(
            self: Arc<Self>,
            _: Request<RequestBody>,
        ) -> BoxFuture<'static, Response<ResponseBody>> {
            async move { crate::json(self.0, &()) }.boxed()
        }
    }

    fn build(kind: FunctionKind) -> Result<Functions, String> {
        let builder = custom(|Parameters { status }| {
            StatusCode::from_u16(status)
                .map(Fixed)
                .map_err(|_| format!("status is {status}; allowed is 100 to 999"))
        });
        let document = Document {
            v: Document::VERSION,
            application: Application {
                namespace: "shop".into(),
                name: "orders".into(),
            },
            sidecar: "fixed".into(),
            functions: vec![FunctionDocument {
                name: "fixed".into(),
                port: 15000,
                kind,
            }],
            postgresql: None,
        };
        builder
            .build(&document, &Secrets::new("/nowhere"))
            .map_err(|error| error.to_string())
    }

    fn parameters(values: Value) -> FunctionKind {
        FunctionKind::Custom(vec![Layer {
            source: "sidecar".into(),
            values: Values::Parameters(values.as_object().unwrap().clone()),
        }])
    }

    #[test]
    fn parameters_reach_the_function_and_bad_ones_are_named() {
        assert!(build(parameters(json!({"status": 204}))).is_ok());
        let message = |kind| build(kind).err().unwrap();
        assert_eq!(
            message(parameters(json!({"status": 7}))),
            "function fixed: status is 7; allowed is 100 to 999"
        );
        assert_eq!(
            message(parameters(json!({"state": 7}))),
            "function fixed: custom: unknown field `state`, expected `status`"
        );
        assert_eq!(
            message(FunctionKind::Idempotency(Vec::new())),
            "function fixed: it is not custom; this image knows custom functions only"
        );
    }
}
