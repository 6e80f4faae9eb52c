//! `check`: what the cluster lacks, and what to do about it.

use futures::StreamExt;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use outrigger_api::{Dataset, GROUP, IntegratedApp, IntegrationSidecar};
use outrigger_runtime::{ClientMetrics, MINIMUM_VERSION, connect, require_version};

use crate::arguments::{CheckArguments, Place};
use crate::identity::username;
use crate::permissions::{Permission, Scope, permissions};

/// Reviews of permissions at a time.
const CONCURRENCY: usize = 8;

/// One finding.
#[derive(Debug, PartialEq)]
struct Finding {
    what: String,
    /// What is wrong, and what to do.
    trouble: Option<(String, String)>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            trouble: None,
        }
    }

    fn bad(what: impl Into<String>, found: impl ToString, advice: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            trouble: Some((found.to_string(), advice.into())),
        }
    }

    fn print(&self) {
        match &self.trouble {
            None => println!("ok    {}", self.what),
            Some((found, advice)) => {
                println!(
                    "FAIL  {}\n      found: {found}\n      do:    {advice}",
                    self.what
                );
            }
        }
    }
}

/// Prints what was found; whether all is well.
pub(crate) async fn run(arguments: &CheckArguments) -> bool {
    let findings = match connect(ClientMetrics::default()).await {
        Ok(client) => findings(&client, &arguments.place).await,
        Err(error) => vec![Finding::bad("API server", error, "say where it is")],
    };
    findings.iter().for_each(Finding::print);
    findings.iter().all(|finding| finding.trouble.is_none())
}

async fn findings(client: &Client, place: &Place) -> Vec<Finding> {
    let server = format!("API server is Kubernetes {MINIMUM_VERSION} or later");
    let mut findings = match require_version(client).await {
        Ok(version) => vec![Finding::good(format!("{server}: {version}"))],
        // The rest would fail the same way.
        Err(error) => {
            let advice = "upgrade the cluster, or check the way to it";
            return vec![Finding::bad(server, error, advice)];
        }
    };
    findings.extend(kinds(client).await);
    findings.extend(rights(client, place).await);
    findings
}

/// The kinds, as anybody sees them.
async fn kinds(client: &Client) -> Vec<Finding> {
    let version = IntegratedApp::api_version(&());
    let served = client.list_api_group_resources(&version).await;
    let names = [
        IntegratedApp::plural(&()),
        IntegrationSidecar::plural(&()),
        Dataset::plural(&()),
    ];
    let finding = |name: &str| {
        let what = format!("{name}.{GROUP} is served in version {version}");
        let advice = "install the kinds: helm install outrigger-crds charts/outrigger-crds, or kubectl apply --server-side -k config/default";
        match &served {
            Ok(list) if list.resources.iter().any(|found| found.name == name) => {
                Finding::good(what)
            }
            Ok(_) => Finding::bad(what, "the group without this kind", advice),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Finding::bad(what, "no such group", advice)
            }
            Err(error) => Finding::bad(what, error, "check the way to the API server"),
        }
    };
    names.iter().map(|name| finding(name)).collect()
}

/// The permissions of whoever asks: run it in the operator's pod to ask about the operator.
async fn rights(client: &Client, place: &Place) -> Vec<Finding> {
    let user = username(client).await.unwrap_or("the user".to_owned());
    let questions: Vec<_> = permissions(&place.cluster_role)
        .into_iter()
        .flat_map(|permission| {
            permission
                .verbs
                .iter()
                .map(move |verb| question(&permission, verb, place))
                .collect::<Vec<_>>()
        })
        .collect();
    let count = questions.len();
    let answers = futures::stream::iter(questions)
        .map(|question| ask(client, question, &user))
        .buffered(CONCURRENCY);
    let troubles: Vec<Finding> = answers
        .filter_map(|finding| async { finding.trouble.is_some().then_some(finding) })
        .collect()
        .await;
    match troubles.is_empty() {
        true => vec![Finding::good(format!(
            "{user} has all {count} permissions of the operator"
        ))],
        false => troubles,
    }
}

fn question(permission: &Permission, verb: &str, place: &Place) -> ResourceAttributes {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    ResourceAttributes {
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        name: permission.name.as_deref().map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: match permission.scope {
            Scope::Cluster => None,
            Scope::Own => Some(place.namespace.clone()),
        },
        ..ResourceAttributes::default()
    }
}

async fn ask(client: &Client, attributes: ResourceAttributes, user: &str) -> Finding {
    let what = describe(&attributes, user);
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) => match answer.status {
            Some(status) if status.allowed => Finding::good(what),
            _ => Finding::bad(
                what,
                "not allowed",
                "install the roles of charts/outrigger, and run this in the operator's pod",
            ),
        },
        Err(error) => Finding::bad(what, error, "check the way to the API server"),
    }
}

fn describe(attributes: &ResourceAttributes, user: &str) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let subresource = attributes.subresource.as_ref();
    let resource = match subresource {
        Some(subresource) => format!("{}/{subresource}", text(&attributes.resource)),
        None => text(&attributes.resource),
    };
    let group = match text(&attributes.group) {
        group if group.is_empty() => group,
        group => format!(".{group}"),
    };
    let name = attributes.name.as_ref();
    let name = name.map_or(String::new(), |name| format!(" {name}"));
    let place = match &attributes.namespace {
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in the whole cluster".to_owned(),
    };
    let verb = text(&attributes.verb);
    format!("{user} may {verb} {resource}{group}{name} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named_in_words() {
        let place = Place {
            namespace: "outrigger-system".into(),
            cluster_role: "outrigger".into(),
        };
        let said: Vec<String> = permissions("outrigger")
            .iter()
            .map(|permission| describe(&question(permission, "get", &place), "operator"))
            .collect();
        for expected in [
            "operator may get integratedapps/status.outrigger.dev in the whole cluster",
            "operator may get pods in the whole cluster",
            "operator may get leases.coordination.k8s.io outrigger-operator in namespace outrigger-system",
        ] {
            assert!(said.iter().any(|said| said == expected), "{said:#?}");
        }
    }
}
