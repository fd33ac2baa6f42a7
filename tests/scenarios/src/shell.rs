//! A directory that the kernel makes up, and what changes it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A shell that does what it is told, such as opening a file. It is ended when this is dropped.
pub struct Shell {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts it; it takes orders when this returns.
    pub fn start() -> Shell {
        let mut shell = Command::new("sh");
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell starts");
        let answers = BufReader::new(child.stdout.take().expect("stdout"));
        let orders = child.stdin.take().expect("stdin");
        let mut shell = Shell { child, orders, answers };
        shell.order(":");
        shell
    }

    /// Has it do something, and waits until it has.
    pub fn order(&mut self, command: &str) {
        writeln!(self.orders, "{command}; echo done").expect("the shell listens");
        self.answers.read_line(&mut String::new()).expect("the shell answers");
    }

    /// The directory in which the kernel shows its open files, by number.
    pub fn descriptors(&self) -> PathBuf {
        format!("/proc/{}/fd", self.child.id()).into()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
