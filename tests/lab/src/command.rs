//! External commands, run with errors that say which command failed and what it said.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::namespace::Namespaces;

/// A command could not be started, or failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program could not be started.
    #[error("cannot run `{line}`: {source}")]
    Start {
        /// The command line.
        line: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The command ended with an error.
    #[error("`{line}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
}

/// One run of an external program.
#[derive(Debug)]
pub(crate) struct Tool {
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
}

impl Tool {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            words: vec![program.as_ref().to_owned()],
            env: Vec::new(),
            directory: None,
            stdin: None,
        }
    }

    /// A command line without quoting, split at white space.
    pub(crate) fn line(line: &str) -> Self {
        Self {
            words: line.split_whitespace().map(OsString::from).collect(),
            ..Self::new("")
        }
    }

    /// Runs the program inside the namespaces.
    pub(crate) fn inside(mut self, namespaces: &Namespaces) -> Self {
        self.words.splice(0..0, namespaces.enter_command());
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.words.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn envs(
        self,
        variables: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        variables
            .into_iter()
            .fold(self, |tool, (name, value)| tool.env(name, value))
    }

    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    pub(crate) fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    /// Runs to the end and returns what the command wrote to its standard output.
    pub(crate) fn run(self) -> Result<String, CommandError> {
        self.run_watched(|_| ())
    }

    /// Like [`Tool::run`], and calls `on_line` with each line of the standard error as it comes.
    pub(crate) fn run_watched(self, mut on_line: impl FnMut(&str)) -> Result<String, CommandError> {
        const KEPT_LINES: usize = 40;
        let line = self
            .words
            .join(OsStr::new(" "))
            .to_string_lossy()
            .into_owned();
        let fail = |source| CommandError::Start {
            line: line.clone(),
            source,
        };

        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .envs(self.env)
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(fail)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());

        let (output, kept) = std::thread::scope(|scope| {
            if let (Some(mut pipe), Some(input)) = (stdin, self.stdin) {
                // A command that ends without reading its input tells why by its status.
                scope.spawn(move || pipe.write_all(&input));
            }
            let reader = scope.spawn(move || {
                let mut output = Vec::new();
                stdout
                    .map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut output))
                    .map(|_| output)
            });
            let mut kept: Vec<String> = Vec::new();
            for text in stderr
                .into_iter()
                .flat_map(|pipe| BufReader::new(pipe).split(b'\n'))
                .map_while(Result::ok)
            {
                let text = String::from_utf8_lossy(&text).into_owned();
                on_line(&text);
                if kept.len() == KEPT_LINES {
                    kept.remove(0);
                }
                kept.push(text);
            }
            (
                reader
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("the reader panicked"))),
                kept,
            )
        });
        let status = child.wait().map_err(fail)?;
        if status.success() {
            Ok(String::from_utf8_lossy(&output.map_err(fail)?).into_owned())
        } else {
            Err(CommandError::Failed {
                line,
                status,
                stderr: kept.join("\n"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = Tool::new("sh")
            .args(["-c", "echo no such thing >&2; exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no such thing"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Tool::line("no-such-program --flag")
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot run `no-such-program --flag`"),
            "{error}"
        );
    }

    #[test]
    fn input_larger_than_a_pipe_passes_through() {
        let input = "x".repeat(1 << 20);
        assert_eq!(Tool::line("cat").stdin(input.clone()).run().unwrap(), input);
    }
}
