//! Controllers of IntegratedApp and IntegrationSidecar.
