//! What tests stand on: the installed operator, images, and for each test a namespace and a
//! database that go when it has ended.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use outrigger_e2e::cluster::{self, Cluster};
use outrigger_e2e::database::Database;
use outrigger_e2e::example::Example;
use outrigger_e2e::images::{File, Image, Recipe};
use outrigger_e2e::progress::Progress;
use outrigger_e2e::shop::{Images, SELECTOR, Shop};
use outrigger_e2e::site::Site;
use outrigger_e2e::{install, project};
use outrigger_lab::Hdfs;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::mended;

/// Longest wait for what takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// A static program with many tools in it (Debian's busybox-static).
const BUSYBOX: &str = "/bin/busybox";

/// One test: the promise that it shows, and how.
#[derive(Clone)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Scene<'_>) -> BoxFuture<'_, anyhow::Result<()>>,
}

/// A [`Test`] of an async function, named like it.
macro_rules! test {
    ($run:ident) => {
        $crate::scene::Test {
            name: stringify!($run),
            run: |scene| Box::pin($run(scene)),
        }
    };
}
pub(crate) use test;

/// What all tests share.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) operator: Image,
    pub(crate) checkout: Image,
    /// The sidecar in two versions, two images.
    pub(crate) sidecars: [Image; 2],
    /// A shell and tools.
    pub(crate) tools: Image,
    pub(crate) progress: Progress,
    /// The last panic, with its place.
    panic: Arc<Mutex<String>>,
    /// Namespaces that are being deleted, with their databases.
    going: Mutex<Vec<(JoinHandle<anyhow::Result<()>>, Database)>>,
    /// Started by the first test that uses it.
    hdfs: OnceCell<Hdfs>,
}

/// What one test has.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) namespace: &'a str,
    pub(crate) database: &'a Database,
}

impl Stage {
    /// Builds the images, and installs the operator.
    pub(crate) async fn set() -> anyhow::Result<Stage> {
        let progress = Progress::default();
        let panic = Arc::new(Mutex::new(String::new()));
        let last = Arc::clone(&panic);
        // Told with the test that it ends.
        std::panic::set_hook(Box::new(move |panic| *last.lock() = panic.to_string()));
        let site = Site::open().await?;
        let built = async {
            let product = |name: &str| Recipe::product(name, project::VERSION);
            let next = Recipe::product("sidecar", &format!("{}-next", project::VERSION))?;
            let images = &site.images;
            Ok((
                images.ensure(&product("operator")?).await?,
                images.ensure(&product("checkout")?).await?,
                [
                    images.ensure(&product("sidecar")?).await?,
                    images.ensure(&next).await?,
                ],
                images.ensure(&tools("ENTRYPOINT [\"/bin/sh\"]")?).await?,
            ))
        };
        let (operator, checkout, sidecars, tools) =
            progress.step("images built and pushed", built).await?;
        progress
            .step(
                "Outrigger installed with Helm",
                install::install(&site, &operator),
            )
            .await?;
        Ok(Stage {
            site,
            operator,
            checkout,
            sidecars,
            tools,
            progress,
            panic,
            going: Mutex::default(),
            hdfs: OnceCell::new(),
        })
    }

    /// HDFS with two NameNodes, the first of them active, and all that tests broke mended.
    pub(crate) async fn hdfs(&self) -> anyhow::Result<&Hdfs> {
        let start = async { mended::hdfs(&self.site.lab) };
        self.hdfs
            .get_or_try_init(|| self.progress.step("HDFS brought up", start))
            .await
    }

    /// Plays a test in a scene of its own. What it made goes while the next one is played.
    pub(crate) async fn play(&self, test: &Test) -> anyhow::Result<()> {
        let namespace = format!("e2e-{}", short(test.name));
        let cluster = &self.site.cluster;
        // What an earlier, interrupted run left.
        cluster.delete_namespace(&namespace, PATIENCE).await?;
        let database = Database::ensure(&self.site.lab, &namespace).await?;
        database.remove().await?;
        let database = Database::ensure(&self.site.lab, &namespace).await?;
        let begin = Instant::now();
        let scene = Scene {
            stage: self,
            namespace: &namespace,
            database: &database,
        };
        let played = AssertUnwindSafe((test.run)(scene)).catch_unwind().await;
        let took = begin.elapsed().as_secs_f64();
        let played = played.unwrap_or_else(|_| Err(anyhow!("{}", self.panic.lock())));
        print!("{took:6.1} s  ");
        let played = match played {
            Ok(()) => Ok(()),
            Err(error) => Err(anyhow!("{error:#}\n\n{}", self.describe(&namespace).await)),
        };
        if self.hdfs.initialized() {
            mended::cluster(&self.site).await?;
            mended::hdfs(&self.site.lab)?;
        }
        let kept = std::env::var_os("OUTRIGGER_E2E_KEEP").is_some();
        if played.is_err() && kept {
            return played;
        }
        let cluster = cluster.clone();
        let going = async move { cluster.delete_namespace(&namespace, PATIENCE).await };
        self.going.lock().push((tokio::spawn(going), database));
        played
    }

    /// Waits until all that the tests made has gone.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let going = std::mem::take(&mut *self.going.lock());
        for (namespace, database) in going {
            namespace.await??;
            database.remove().await?;
        }
        Ok(())
    }

    /// The state of a namespace in words, for messages.
    async fn describe(&self, namespace: &str) -> String {
        let mut text = String::new();
        for line in [
            "get iapp,iside,ods,pods -o wide".to_owned(),
            "get iapp,iside,ods -o yaml".to_owned(),
            "get events --sort-by=.metadata.creationTimestamp".to_owned(),
            "logs -l !none --all-containers --prefix --tail 8".to_owned(),
            format!(
                "logs -n {} -l {} --tail 15 --prefix",
                install::NAMESPACE,
                install::SELECTOR
            ),
        ] {
            let line = match line.contains(install::NAMESPACE) {
                true => line,
                false => format!("-n {namespace} {line}"),
            };
            let said = self.site.kubectl(&line).await;
            let said = said.unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(text, "$ kubectl {line}\n{said}");
        }
        text
    }
}

impl<'a> Scene<'a> {
    /// The API server, as administrator.
    pub(crate) fn cluster(&self) -> &'a Cluster {
        &self.stage.site.cluster
    }

    /// Says one line.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        print!("\n    {text}");
    }

    /// The example with its sidecar's first image, for this namespace and database: one pod, and a
    /// short soak.
    pub(crate) fn example(&self) -> anyhow::Result<Example> {
        let images = Images {
            checkout: &self.stage.checkout,
            sidecar: &self.stage.sidecars[0],
        };
        let mut example = Shop::files(self.namespace, images, self.database)?;
        example.object("Deployment")?["spec"]["replicas"] = json!(1);
        example.object("IntegrationSidecar")?["spec"]["update"] = json!({"soakSeconds": 1});
        Ok(example)
    }

    /// Applies an example.
    pub(crate) async fn open(&self, example: &Example) -> anyhow::Result<Shop> {
        Shop::open(&self.stage.site, self.namespace, example).await
    }

    /// Applies the example without its Deployment, and waits until new pods get their sidecars.
    ///
    /// `rules` are objects of the namespace that are there before.
    pub(crate) async fn adopt_by_label(&self, rules: &[Value]) -> anyhow::Result<()> {
        self.adopt_by_label_at_once(rules).await?;
        self.ready_application("checkout").await
    }

    /// [`Scene::adopt_by_label`] without the wait.
    pub(crate) async fn adopt_by_label_at_once(&self, rules: &[Value]) -> anyhow::Result<()> {
        let mut example = self.example()?;
        self.cluster()
            .apply(&example.of_kinds(&["Namespace"]))
            .await?;
        self.cluster().apply(rules).await?;
        let (label, value) = SELECTOR.split_once('=').context("a label")?;
        let spec = &mut example.object("IntegratedApp")?["spec"];
        remove(spec, "workloadRef");
        spec["selector"] = json!({"matchLabels": {label: value}});
        let kinds = ["Secret", "IntegrationSidecar", "IntegratedApp"];
        self.cluster().apply(&example.of_kinds(&kinds)).await
    }

    /// Waits until an IntegratedApp is Ready.
    pub(crate) async fn ready_application(&self, name: &str) -> anyhow::Result<()> {
        let api = self
            .cluster()
            .objects::<outrigger_api::IntegratedApp>(self.namespace);
        cluster::wait(&api, name, "Ready", PATIENCE, |found| {
            found.status.as_ref().is_some_and(|status| {
                status.observed_generation == found.metadata.generation
                    && outrigger_e2e::shop::condition_is(&status.conditions, "Ready", "True")
            })
        })
        .await
        .map(drop)
    }

    /// Waits for the message of an IntegratedApp whose condition Ready is False for a reason.
    pub(crate) async fn unready_application(
        &self,
        name: &str,
        reason: &str,
    ) -> anyhow::Result<String> {
        let api = self
            .cluster()
            .objects::<outrigger_api::IntegratedApp>(self.namespace);
        let message = |found: &outrigger_api::IntegratedApp| {
            let status = found.status.as_ref()?;
            let mut conditions = status.conditions.iter();
            let ready = conditions.find(|found| {
                found.type_ == "Ready" && found.status == "False" && found.reason == reason
            })?;
            (status.observed_generation == found.metadata.generation).then(|| ready.message.clone())
        };
        let what = format!("Ready=False with reason {reason}");
        let found = cluster::wait(&api, name, &what, PATIENCE, |found| {
            message(found).is_some()
        });
        message(&found.await?).context("it has gone")
    }

    /// A pod of the application of [`Scene::adopt_by_label`], with the restricted security that its
    /// namespace asks for.
    pub(crate) fn pod(&self, name: &str) -> Value {
        let (label, value) = SELECTOR.split_once('=').unwrap_or_default();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name, "namespace": self.namespace, "labels": {label: value},
            },
            "spec": restricted(json!({
                "containers": [{"name": "app", "image": self.stage.checkout.reference}],
            })),
        })
    }

    /// The pods of the namespace.
    pub(crate) fn pods(&self) -> Api<Pod> {
        self.cluster().objects(self.namespace)
    }

    /// The refusal of an object, in the API server's words.
    pub(crate) async fn refusal(&self, object: &Value) -> anyhow::Result<String> {
        match self.cluster().apply_one(object).await {
            Ok(taken) => Err(anyhow!("the API server took {taken:?}")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }
}

/// Takes a field out of an object.
pub(crate) fn remove(object: &mut Value, field: &str) {
    let fields = object.as_object_mut();
    fields.and_then(|fields| fields.remove(field)).expect(field);
}

/// A pod's spec with what the Pod Security Standard `restricted` asks for.
pub(crate) fn restricted(mut spec: Value) -> Value {
    spec["automountServiceAccountToken"] = json!(false);
    spec["terminationGracePeriodSeconds"] = json!(5);
    spec["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
    });
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        container["securityContext"] = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        });
    }
    spec
}

/// A static program with many tools in it, as a file `busybox` of an image.
pub(crate) fn busybox() -> anyhow::Result<File> {
    let content = std::fs::read(BUSYBOX)
        .with_context(|| format!("cannot read {BUSYBOX} of the package busybox-static"))?;
    Ok(File {
        path: "busybox".to_owned(),
        content,
        executable: true,
    })
}

/// An image of one static program and lines of a Dockerfile.
pub(crate) fn tools(lines: &str) -> anyhow::Result<Recipe> {
    Ok(program("tools", lines, busybox()?.content))
}

/// An image of one program, found as `/bin/busybox` and `/bin/sh`, and lines of a Dockerfile.
pub(crate) fn program(name: &str, lines: &str, content: Vec<u8>) -> Recipe {
    let dockerfile =
        format!("FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n{lines}\n");
    let file = File {
        path: "busybox".to_owned(),
        content,
        executable: true,
    };
    Recipe::of(name, dockerfile, vec![file])
}

/// A test's name cut to what a namespace may be called, and told apart by its hash.
fn short(name: &str) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(name.as_bytes());
    let words: String = name.chars().take(30).collect();
    let words = words.replace('_', "-");
    format!(
        "{}-{:02x}{:02x}",
        words.trim_end_matches('-'),
        hash[0],
        hash[1]
    )
}
