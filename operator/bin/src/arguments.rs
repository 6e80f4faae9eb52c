use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use outrigger_hdfs::Network;
use outrigger_injection::{COPY_COMMAND, PULLED_COMMAND, Settings};
use outrigger_runtime::LogFormat;
use outrigger_webhook::{ConfigurationSettings, FailurePolicy};

/// Gives pods their integration sidecars, and replaces a sidecar's image without a restart.
#[derive(Debug, Parser)]
#[command(name = "outrigger-operator", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a replica of the operator.
    Run(RunArguments),
    /// Say whether the cluster has what the operator needs, and what to do if not.
    Check(CheckArguments),
    /// Keep a function pod running, and say whether one of its slots serves.
    Hold(HoldArguments),
    /// Stop the operator and let every pod go that waits for a node, so that the operator can be
    /// removed.
    Release(ReleaseArguments),
    /// Copy this program to a path, so that a container of another image can run it.
    #[command(name = COPY_COMMAND, hide = true)]
    CopyTo {
        /// The path, in a volume that both containers have.
        path: PathBuf,
    },
    /// Do nothing: that it runs shows that the image around it was pulled.
    #[command(name = PULLED_COMMAND, hide = true)]
    Pulled,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Name of the webhook's Service in that namespace.
    #[arg(long, default_value = "outrigger")]
    pub(crate) webhook_service: String,
    /// Image of the holders of function pods: the operator's own.
    #[arg(long, default_value = concat!("outrigger/operator:", env!("CARGO_PKG_VERSION")))]
    pub(crate) holder_image: String,
    /// What happens to new pods of applications while no replica answers.
    #[arg(long, value_enum, default_value_t = Policy::Fail, ignore_case = true)]
    pub(crate) failure_policy: Policy,
    /// User ID that slots run as.
    #[arg(long, default_value_t = Settings::default().slot_user, value_parser = id())]
    pub(crate) slot_user: i64,
    /// Group ID that slots run as.
    #[arg(long, default_value_t = Settings::default().slot_group, value_parser = id())]
    pub(crate) slot_group: i64,
    /// An address, or a network such as 10.0.0.0/8, that a Dataset may lead to though it is loopback,
    /// link-local, or the API server's. May be repeated.
    #[arg(long = "hdfs-allowed-address", value_name = "ADDRESS")]
    pub(crate) hdfs_allowed_addresses: Vec<Network>,
    /// How log lines look: json or text. RUST_LOG says which are written.
    #[arg(long, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
    /// Name of this replica's pod.
    #[arg(long, env = "POD_NAME")]
    pub(crate) pod_name: String,
    /// Port of the admission webhook.
    #[arg(long, default_value_t = 8443)]
    pub(crate) webhook_port: u16,
    /// Port of /livez, /readyz and /metrics.
    #[arg(long, default_value_t = 8080)]
    pub(crate) http_port: u16,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct HoldArguments {
    /// Port of /readyz.
    #[arg(long)]
    pub(crate) port: u16,
    /// Admin port of a slot of the pod. May be repeated.
    #[arg(long = "slot-port", value_name = "PORT", required = true)]
    pub(crate) slot_ports: Vec<u16>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArguments {
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Where the operator is installed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// Namespace that the operator runs in.
    #[arg(long, default_value = "outrigger-system")]
    pub(crate) namespace: String,
    /// ClusterRole of the operator, which owns the webhook configuration.
    #[arg(long, default_value = "outrigger")]
    pub(crate) cluster_role: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Policy {
    /// They are refused.
    Fail,
    /// They run without sidecars.
    Ignore,
}

/// Never the superuser.
fn id() -> clap::builder::RangedI64ValueParser<i64> {
    clap::value_parser!(i64).range(1..=4_294_967_294)
}

impl RunArguments {
    pub(crate) fn slots(&self) -> Settings {
        Settings {
            slot_user: self.slot_user,
            slot_group: self.slot_group,
        }
    }

    pub(crate) fn configuration(&self) -> ConfigurationSettings {
        ConfigurationSettings {
            namespace: self.place.namespace.clone(),
            service: self.webhook_service.clone(),
            cluster_role: self.place.cluster_role.clone(),
            failure_policy: match self.failure_policy {
                Policy::Fail => FailurePolicy::Fail,
                Policy::Ignore => FailurePolicy::Ignore,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn run(arguments: &[&str]) -> Result<RunArguments, clap::Error> {
        let all = ["outrigger-operator", "run", "--pod-name=outrigger-0"];
        let parsed = Arguments::try_parse_from(all.iter().chain(arguments))?;
        match parsed.command {
            Command::Run(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    /// The container's arguments in the manifest that the chart renders.
    #[test]
    fn the_arguments_of_the_manifests_are_taken() {
        let manifest = include_str!("../../../config/operator/deployment.yaml");
        let value: serde_json::Value = serde_saphyr::from_str(manifest).unwrap();
        let container = &value["spec"]["template"]["spec"]["containers"][0];
        let arguments: Vec<&str> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| argument.as_str().unwrap())
            .collect();
        assert_eq!(arguments[0], "run");
        let arguments = run(&arguments[1..]).unwrap();
        assert_eq!(arguments.slots(), Settings::default());
        assert_eq!(arguments.place.namespace, "outrigger-system");
        assert_eq!(arguments.webhook_service, "outrigger");
        let port = |index: usize| container["ports"][index]["containerPort"].as_u64();
        assert_eq!(port(0), Some(arguments.webhook_port.into()));
        assert_eq!(port(1), Some(arguments.http_port.into()));
        assert_eq!(container["env"][1]["name"], "POD_NAME");
    }

    /// What the preflight pod of an image that is not built on the chassis runs.
    #[test]
    fn the_arguments_of_preflight_pods_are_taken() {
        let parse = |arguments: &[&str]| {
            let program = ["outrigger-operator"];
            let parsed = Arguments::try_parse_from(program.iter().chain(arguments));
            parsed.unwrap().command
        };
        let copy = parse(&[COPY_COMMAND, "/volume/program"]);
        assert!(matches!(copy, Command::CopyTo { path } if path.as_os_str() == "/volume/program"));
        assert!(matches!(parse(&[PULLED_COMMAND]), Command::Pulled));
    }

    #[test]
    fn addresses_for_hdfs_may_be_several() {
        let some = ["10.1.0.0/16", "fd00::1"];
        let flags = some.map(|address| format!("--hdfs-allowed-address={address}"));
        let arguments = run(&flags.each_ref().map(String::as_str)).unwrap();
        let found: Vec<String> = arguments
            .hdfs_allowed_addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.1.0.0/16", "fd00::1/128"]);
        assert!(run(&[]).unwrap().hdfs_allowed_addresses.is_empty());
    }

    #[test]
    fn slots_never_run_as_the_superuser() {
        let error = run(&["--slot-user=0"]).unwrap_err().to_string();
        assert!(error.contains("0 is not in 1..=4294967294"), "{error}");
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is_allowed() {
        let error = run(&["--failure-policy=Maybe"]).unwrap_err().to_string();
        assert!(error.contains("[possible values: fail, ignore]"), "{error}");
        let error = run(&["--log-format=xml"]).unwrap_err().to_string();
        assert!(error.contains("allowed are json and text"), "{error}");
        let error = run(&["--hdfs-allowed-address=namenode"]);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("no address and no network such as 10.0.0.0/8"),
            "{error}"
        );
    }
}
