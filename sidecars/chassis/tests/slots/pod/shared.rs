//! A function pod: a pod of two slots that several applications share.

use std::net::Ipv4Addr;

use outrigger_control::{
    Document, Limits, SharedDocument, Slot, TenantDocument, Tenants, content_hash, layout,
};

use super::{Pod, with};

impl Pod {
    /// A function pod for applications with their limits, with both slots at rest.
    pub(crate) async fn shared_by(applications: &[(&str, Limits)]) -> Pod {
        let mut pod = Pod::create();
        let tenants = applications.iter().map(|(name, limits)| {
            let mut document = pod.document.clone();
            document.application.name = (*name).to_owned();
            TenantDocument {
                document,
                limits: limits.clone(),
            }
        });
        pod.common = Some(SharedDocument {
            v: Document::VERSION,
            sidecar: pod.document.sidecar.clone(),
            tenants: tenants.collect(),
        });
        pod.publish_common();
        pod.order(1, Slot::A);
        pod.rest().await;
        pod
    }

    /// Makes a new common document, which is the old one with one parameter of an application's
    /// first function. The next order names it.
    pub(crate) fn configure_tenant(&mut self, application: &str, parameter: &str, value: &str) {
        let common = self.common.as_mut().unwrap();
        let mut tenants = common.tenants.iter_mut();
        let tenant = tenants.find(|tenant| tenant.document.application.name == application);
        tenant.unwrap().document.functions[0].kind = with(parameter, value);
        self.publish_common();
    }

    fn publish_common(&mut self) {
        let text = serde_json::to_string(&self.common).unwrap();
        self.config = content_hash(&self.common).unwrap();
        self.replace(&layout::document_file(&self.config), &text);
    }

    /// Names the addresses of applications.
    pub(crate) fn name_tenants(&self, applications: &[(&str, Ipv4Addr)]) {
        let named = applications.iter();
        let tenants = Tenants {
            v: Tenants::VERSION,
            addresses: named
                .map(|(name, address)| ((*name).to_owned(), vec![(*address).into()]))
                .collect(),
        };
        self.replace(
            layout::TENANTS_FILE,
            &serde_json::to_string(&tenants).unwrap(),
        );
    }
}
