mod function_pods;
mod tenants;
