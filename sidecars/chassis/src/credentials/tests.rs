use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A directory of credentials as kubelet makes and changes it.
struct Mounted {
    root: TempDir,
    versions: u32,
}

impl Mounted {
    fn new() -> Mounted {
        Mounted {
            root: tempfile::tempdir().unwrap(),
            versions: 0,
        }
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(self.root.path())
    }

    /// Puts keys into a folder: a new folder, then the link, then the former folder goes.
    fn write(&mut self, name: &str, keys: &[(&str, &str)]) {
        self.versions += 1;
        let folder = self.root.path().join(name);
        let version = format!("..{}", self.versions);
        std::fs::create_dir_all(folder.join(&version)).unwrap();
        let former = std::fs::read_link(folder.join(CURRENT)).ok();
        for (key, value) in keys {
            std::fs::write(folder.join(&version).join(key), value).unwrap();
            // There already, after the first time.
            let _ = symlink(Path::new(CURRENT).join(key), folder.join(key));
        }
        symlink(&version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join(CURRENT)).unwrap();
        if let Some(former) = former {
            std::fs::remove_dir_all(folder.join(former)).unwrap();
        }
    }

    /// The complaint about the credential `system`, without the directory.
    fn complaint(&self) -> String {
        let error = self.credentials().system().unwrap_err().to_string();
        error.replace(&self.root.path().display().to_string(), "ROOT")
    }
}

#[test]
fn each_credential_has_its_own_header() {
    let mut mounted = Mounted::new();
    mounted.write("application", &[("token", "for-orders\n"), ("ca.crt", "x")]);
    mounted.write("system", &[("token", "for-audit")]);
    let credentials = mounted.credentials();
    let application = credentials.application().unwrap();
    assert_eq!(application.authorization(), "Bearer for-orders");
    assert_eq!(application.token(), "for-orders");
    assert_eq!(credentials.system().unwrap().token(), "for-audit");
}

#[test]
fn what_is_waited_for_and_what_was_found_is_told() {
    let mut mounted = Mounted::new();
    assert_eq!(
        mounted.complaint(),
        "credential system is not in this container; set it in spec.credentials of the IntegrationSidecar, and create the pods anew"
    );
    mounted.write("system", &[]);
    assert_eq!(
        mounted.complaint(),
        "credential system waits for the key \"token\" of its Secret in ROOT/system; found no keys"
    );
    mounted.write("system", &[("username", "u"), ("password", "p")]);
    assert_eq!(
        mounted.complaint(),
        "credential system waits for the key \"token\" of its Secret in ROOT/system; found \"password\", \"username\""
    );
    mounted.write("system", &[("token", " \n")]);
    assert_eq!(
        mounted.complaint(),
        "credential system has the file ROOT/system/token, which is empty; allowed is a token of visible ASCII characters without spaces"
    );
    mounted.write("system", &[("token", "abc\ndef")]);
    assert_eq!(
        mounted.complaint(),
        "credential system has the file ROOT/system/token with another character at byte 3; allowed is a token of visible ASCII characters without spaces"
    );
}

#[test]
fn a_credential_that_is_rotated_meanwhile_is_one_of_both() {
    let mut mounted = Mounted::new();
    mounted.write("system", &[("token", "0")]);
    let credentials = mounted.credentials();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !done.load(SeqCst) {
                let found = credentials.system().unwrap();
                let found: u32 = found.token().parse().unwrap();
                assert!(found >= last, "{found} after {last}");
                last = found;
            }
        });
        for version in 1..=500 {
            if reader.is_finished() {
                break;
            }
            mounted.write("system", &[("token", &version.to_string())]);
        }
        done.store(true, SeqCst);
        reader.join().unwrap();
    });
    assert_eq!(credentials.system().unwrap().token(), "500");
}

proptest! {
    /// A token is sent as it is, or refused with its place; neither way does a value get into a
    /// text.
    #[test]
    fn a_token_is_carried_whole_or_refused_and_never_shown(value in "[!-~é \t]{6,40}[\n]?") {
        let mut mounted = Mounted::new();
        mounted.write("application", &[("token", &value)]);
        let token = value.trim_ascii_end();
        let shown = match mounted.credentials().application() {
            Ok(credential) => {
                prop_assert_eq!(credential.token(), token);
                let header = credential.authorization();
                prop_assert_eq!(header.to_str().unwrap(), format!("Bearer {token}"));
                format!("{credential:?} {header:?}")
            }
            Err(error) => {
                prop_assert!(!token.bytes().all(|byte| byte.is_ascii_graphic()) || token.is_empty());
                format!("{error} {error:?}")
            }
        };
        prop_assert!(token.len() < 6 || !shown.contains(token), "{}", shown);
    }
}
