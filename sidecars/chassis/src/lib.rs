//! Process life of a sidecar: supervisor, slots, handover, configuration, admin port.
//!
//! A sidecar is a program whose `main` gives a [`Builder`] to [`main`]. The builder makes
//! [`Function`]s out of the configuration that the operator writes; the chassis does the rest. It
//! listens, counts, shows `/status` and `/metrics`, takes new configuration completely or not at
//! all, tries images in preflights, and passes every connection to the next version of the program
//! without a request lost.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use outrigger_chassis::{BoxFuture, Function, RequestBody, ResponseBody, custom, json, read_body};
//! use outrigger_chassis::http::{Request, Response, StatusCode};
//! use serde::Deserialize;
//!
//! /// What an IntegrationSidecar and its applications may write under `custom`.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Parameters {
//!     greeting: String,
//! }
//!
//! struct Greeter(Parameters);
//!
//! impl Function for Greeter {
//!     fn call(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> {
//!         Box::pin(async move {
//!             match read_body(request.into_body(), 1 << 10).await {
//!                 Ok(name) => {
//!                     let name = String::from_utf8_lossy(&name);
//!                     json(StatusCode::OK, &format!("{}, {name}", self.0.greeting))
//!                 }
//!                 Err(problem) => problem.into_response(),
//!             }
//!         })
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     outrigger_chassis::main(|| custom(|parameters: Parameters| Ok(Greeter(parameters))))
//! }
//! ```
//!
//! What a function promises in return is little: it reads every request's body to its end before it
//! answers ([`read_body`] does), since a connection with an unread body cannot be handed over, and
//! what it has in memory and needs after a swap is [`Exclusive`].

mod admin;
mod body;
mod command;
mod configuration;
mod connection;
mod control_files;
mod credentials;
mod custom;
mod exclusive;
mod function;
mod handover;
mod limits;
mod listeners;
mod log;
mod ownership;
mod packet;
mod preflight;
mod problem;
mod restart;
mod roles;
mod server;
mod settings;
mod state;
mod status;
mod stream;
mod supervisor;
mod tenancy;
mod traffic;
mod warmth;
mod worker;

pub use body::{full, json, read_body};
pub use command::main;
pub use connection::upgrade::{HandOver, Leave, Upgraded, switch_protocols};
pub use credentials::{Credential, CredentialUnusable, Credentials};
pub use custom::custom;
pub use function::{
    BoxError, Builder, Exclusive, Function, Functions, InvalidDocument, NotWarm, RequestBody,
    ResponseBody, Secrets,
};
pub use futures::future::BoxFuture;
pub use http;
pub use outrigger_control::parameters::CustomParameters;
pub use outrigger_control::{Document, FunctionDocument, FunctionKind};
pub use problem::Problem;
pub use prometheus_client;
pub use state::State;
