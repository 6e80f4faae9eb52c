//! The lab's client of HDFS: a process of its own, asked over its standard input.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Settings, java};
use crate::cgroup::Cgroups;
use crate::daemon;
use crate::error::{Error, FileContext, Result};
use crate::layout::Layout;

/// Its control group, and the name of its log.
pub(super) const GROUP: &str = "hdfs-client";
/// Enough for the bytes of a file that is put.
const HEAP_MIB: u32 = 256;

/// A running client. It ends when it is dropped; files that it holds open stay open.
#[derive(Debug)]
pub(super) struct Client {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    layout: Layout,
}

#[derive(Deserialize)]
struct Answer {
    output: Option<String>,
    error: Option<String>,
}

impl Client {
    pub(super) fn start(layout: &Layout, settings: &Settings) -> Result<Self> {
        let log = layout.log(GROUP);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .at("open", &log)?;
        let program = java::program("java");
        let mut words = Cgroups::detect()?.join_command(GROUP)?.into_iter();
        let mut process = Command::new(words.next().unwrap_or_default())
            .args(words)
            .arg(&program)
            .args(settings.java(layout, HEAP_MIB, "WARN"))
            .arg("Client")
            .env_remove("JAVA_TOOL_OPTIONS")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .at("start", &program)?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(requests), Some(answers)) => Ok(Self {
                process,
                requests,
                answers: BufReader::new(answers),
                layout: layout.clone(),
            }),
            _ => Err(dead(layout, "start the client")),
        }
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks for one thing; `action` names it in an error.
    pub(super) fn ask(&mut self, action: &str, request: &Value) -> Result<String> {
        let mut line = request.to_string();
        line.push('\n');
        let mut answer = String::new();
        let asked = self
            .requests
            .write_all(line.as_bytes())
            .and_then(|()| self.requests.flush())
            .and_then(|()| self.answers.read_line(&mut answer));
        let answer = asked
            .ok()
            .and_then(|_| serde_json::from_str::<Answer>(&answer).ok());
        match answer {
            Some(Answer {
                error: Some(said), ..
            }) => Err(Error::Hdfs {
                action: action.to_owned(),
                said: without_stack(&said),
            }),
            Some(answer) => Ok(answer.output.unwrap_or_default()),
            None => Err(dead(&self.layout, action)),
        }
    }

    /// Runs one of Hadoop's own commands; `lenient` takes its output whatever its exit status.
    pub(super) fn tool(&mut self, tool: &str, arguments: &[&str], lenient: bool) -> Result<String> {
        let action = format!("run `{tool} {}`", arguments.join(" "));
        self.ask(
            &action,
            &json!({ "request": "tool", "tool": tool, "arguments": arguments, "lenient": lenient }),
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a Java exception says, without where it came from.
fn without_stack(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("\tat "));
    lines.collect::<Vec<_>>().join("\n")
}

fn dead(layout: &Layout, action: &str) -> Error {
    let said = format!(
        "the client ended; the end of {}:\n{}",
        layout.log(GROUP).display(),
        daemon::log_tail(layout, GROUP)
    );
    Error::Hdfs {
        action: action.to_owned(),
        said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_told_without_its_stack() {
        let text =
            "SafeModeException: Cannot create file/a.\nIt was turned on.\n\tat a.b(C.java:1)";
        let told = without_stack(text);
        assert_eq!(
            told,
            "SafeModeException: Cannot create file/a.\nIt was turned on."
        );
    }
}
