use std::collections::BTreeMap;

use outrigger_control::{Document, SharedDocument, TenantDocument};

use crate::Functions;

/// What is in use of a shared document, for each application with a part that was ever good.
#[derive(Default)]
pub(crate) struct Parts(BTreeMap<String, Part>);

struct Part {
    document: Document,
    functions: Functions,
}

impl Parts {
    /// Takes a document, application by application. One whose part cannot be built keeps its
    /// former part, and is in the result with the reason.
    ///
    /// `kept` yields the part of an application that was good before this process began.
    pub(crate) fn take(
        &mut self,
        shared: &SharedDocument,
        build: impl Fn(&Document) -> Result<Functions, String>,
        kept: impl Fn(&str) -> Option<Document>,
    ) -> BTreeMap<String, String> {
        let mut refused = BTreeMap::new();
        let mut former = std::mem::take(&mut self.0);
        for TenantDocument { document, .. } in &shared.tenants {
            let name = &document.application.name;
            let part = match build(document) {
                Ok(functions) => Some(Part {
                    document: document.clone(),
                    functions,
                }),
                Err(reason) => {
                    refused.insert(name.clone(), reason);
                    former.remove(name).or_else(|| {
                        let document = kept(name)?;
                        let functions = build(&document).ok()?;
                        Some(Part {
                            document,
                            functions,
                        })
                    })
                }
            };
            self.0.extend(part.map(|part| (name.clone(), part)));
        }
        refused
    }

    /// The functions of an application, if any were ever good.
    pub(crate) fn functions(&self, application: &str) -> Option<&Functions> {
        Some(&self.0.get(application)?.functions)
    }

    /// A shared document with the parts in use in place of its own.
    pub(crate) fn good(&self, shared: &SharedDocument) -> SharedDocument {
        let tenants = shared.tenants.iter().filter_map(|tenant| {
            let part = self.0.get(&tenant.document.application.name)?;
            Some(TenantDocument {
                document: part.document.clone(),
                limits: tenant.limits.clone(),
            })
        });
        SharedDocument {
            tenants: tenants.collect(),
            ..shared.clone()
        }
    }
}
