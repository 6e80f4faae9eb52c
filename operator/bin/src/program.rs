//! The program itself, as something to put beside other images.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The program cannot be copied.
#[derive(Debug, thiserror::Error)]
#[error("the program cannot be copied to {}: {error}", path.display())]
pub(crate) struct CopyError {
    path: PathBuf,
    error: io::Error,
}

/// Copies the running program to a path. The copy can be executed, as the program can.
pub(crate) fn copy_to(path: &Path) -> Result<(), CopyError> {
    let copied = env::current_exe().and_then(|program| fs::copy(program, path));
    copied.map(drop).map_err(|error| CopyError {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::process::Command;

    use super::*;

    #[test]
    fn the_copy_is_the_program_and_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        copy_to(&path).unwrap();
        let original = Command::new(env::current_exe().unwrap())
            .arg("--list")
            .output();
        let copy = Command::new(&path).arg("--list").output().unwrap();
        assert!(copy.status.success());
        assert_eq!(copy.stdout, original.unwrap().stdout);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = copy_to(Path::new("/nowhere/program")).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("the program cannot be copied to /nowhere/program: "),
            "{message}"
        );
    }
}
