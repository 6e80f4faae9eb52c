use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};

/// What a call asks for, by the names of authorization rules; an apply is a patch of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of Kubernetes")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    /// A create that is only tried.
    DryRun,
    Update,
    Patch,
    Apply,
    Delete,
}

impl Verb {
    /// Whether it may change something.
    pub fn is_write(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Watch | Verb::DryRun)
    }
}

/// A call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it asks for.
    pub verb: Verb,
    /// Path of the object or of the collection.
    pub path: String,
    /// The API server's answer, whether the client received it or not; absent while there is none.
    pub status: Option<StatusCode>,
}

impl Call {
    pub(crate) fn of<B>(request: &Request<B>) -> Call {
        let path = request.uri().path();
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_apply = content_type.is_some_and(|form| form == "application/apply-patch+yaml");
        let query = request.uri().query().unwrap_or_default();
        let has = |pair: &str| query.split('&').any(|found| found == pair);
        let verb = match *request.method() {
            Method::POST if has("dryRun=All") => Verb::DryRun,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH if is_apply => Verb::Apply,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if has("watch=true") => Verb::Watch,
            _ if is_collection(path) => Verb::List,
            _ => Verb::Get,
        };
        Call {
            verb,
            path: path.to_owned(),
            status: None,
        }
    }

    /// The resource, with its subresource: `pods/eviction`.
    pub fn resource(&self) -> String {
        match within_namespace(&self.path)[..] {
            [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
            [resource, ..] => resource.to_owned(),
            [] => String::new(),
        }
    }

    /// Whether the API server has carried it out.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

fn is_collection(path: &str) -> bool {
    within_namespace(path).len() == 1
}

/// The segments of a path after its group, version and namespace: resource, name, subresource.
fn within_namespace(path: &str) -> Vec<&str> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let roots = if segments[0] == "api" { 2 } else { 3 };
    match segments.get(roots..).unwrap_or_default() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        rest => rest.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_tried_is_no_write() {
        let request = Request::post("/api/v1/namespaces/store/pods?&dryRun=All");
        let call = Call::of(&request.body(()).unwrap());
        assert!(call.verb == Verb::DryRun && !call.verb.is_write());
    }

    #[test]
    fn a_call_is_named_by_verb_and_resource() {
        let call = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let call = Call::of(&request);
            (call.verb, call.resource())
        };
        let pods = "/api/v1/namespaces/store/pods";
        let named = |verb, resource: &str| (verb, resource.to_owned());
        assert_eq!(call("GET", pods), named(Verb::List, "pods"));
        assert_eq!(
            call("GET", "/api/v1/namespaces/store"),
            named(Verb::Get, "namespaces")
        );
        let watch = format!("{pods}?&watch=true&timeoutSeconds=290");
        assert_eq!(call("GET", &watch), named(Verb::Watch, "pods"));
        let eviction = format!("{pods}/web/eviction?");
        assert_eq!(
            call("POST", &eviction),
            named(Verb::Create, "pods/eviction")
        );
        let status = "/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/shop/status";
        assert_eq!(
            call("PATCH", status),
            named(Verb::Patch, "integratedapps/status")
        );
    }
}
