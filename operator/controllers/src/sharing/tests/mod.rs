mod apply;
mod function_pods;
mod report;
mod tenants;
