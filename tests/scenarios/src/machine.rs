//! A machine of its own for each test: config, state, a tree to watch, and the program.

use crate::mounts::Mounted;
use crate::report::{Change, Report};
use crate::schema::Schemas;
use crate::skip::skip;
use crate::watching::{Unread, Watching};
use crate::{binary, files, tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// No command of a scenario takes longer, unless it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(180);

/// Directories and options for one run of the program, apart from everything on the real machine.
pub struct Machine {
    home: TempDir,
    tree: PathBuf,
    state: PathBuf,
    user: Option<u32>,
}

/// What a command printed, and how it ended.
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, as bytes.
    pub stdout: Vec<u8>,
    /// Standard error, where people's messages go.
    pub stderr: String,
}

impl fmt::Debug for Output {
    /// Readable where a test fails: at most a screen of each stream, with nothing that steers the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {:?}, signal {:?}", self.code, self.signal)?;
        for (name, text) in
            [("stdout", String::from_utf8_lossy(&self.stdout)), ("stderr", self.stderr.as_str().into())]
        {
            for line in text.lines().take(40) {
                writeln!(f, "{name}: {}", line.escape_debug().to_string().replace("\\\"", "\""))?;
            }
        }
        Ok(())
    }
}

impl Output {
    /// Standard output as text; bytes that are not UTF-8 fail the test.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("output is UTF-8")
    }

    /// The objects of standard output, one a line; a line that is none fails the test.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(parse_line).collect()
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }
}

/// One line of machine output, which must be what the documentation says of lines of its type.
pub(crate) fn parse_line(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in line {line:?}"));
    let problems = Schemas::get().problems(&value);
    assert!(problems.is_empty(), "{}\nby the schema of its type, in line {line}", problems.join("\n"));
    value
}

impl Machine {
    /// A machine whose tree lies in the temporary directory.
    pub fn new() -> Self {
        let home = TempDir::with_prefix("waxseal-").expect("a temporary directory");
        let tree = home.path().join("tree");
        fs::create_dir(&tree).expect("the tree");
        let state = home.path().join("state");
        Self { home, tree, state, user: None }
    }

    /// A machine whose tree is given; state and config lie in the temporary directory.
    pub fn with_tree(tree: &Path) -> Self {
        let home = TempDir::with_prefix("waxseal-").expect("a temporary directory");
        let state = home.path().join("state");
        Self { home, tree: tree.to_owned(), state, user: None }
    }

    /// The same machine with its state somewhere else.
    pub fn with_state(mut self, state: &Path) -> Self {
        self.state = state.to_owned();
        self
    }

    /// A machine, and a filesystem of so little room ("8m") for its state; where none can be mounted, says so.
    pub fn with_little_room(size: &str) -> Option<(Self, Mounted)> {
        match Mounted::tmpfs_of(size) {
            Ok(mounted) => Some((Self::new(), mounted)),
            Err(why) => {
                skip(&why);
                None
            }
        }
    }

    /// A machine with a sealed tree of one file, `file`, whose state is on a disk of 8 MiB: also the disk, and where the state is.
    pub fn sealed_with_little_room() -> Option<(Self, Mounted, PathBuf)> {
        let (machine, mounted) = Self::with_little_room("8m")?;
        files::write(machine.at("file"), "x");
        machine.watch_tree("");
        let state = mounted.root().join("state");
        machine.waxseal_in(&state, ["init"]).expect_code(0);
        Some((machine, mounted, state))
    }

    /// The same machine, whose commands run as an ordinary user that owns everything made so far.
    /// Where the tests do not run as root, they are that user already.
    pub fn as_ordinary_user(mut self) -> Self {
        if crate::is_root() {
            const NOBODY: u32 = 65534;
            chown(self.home.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
            chown(&self.tree, Some(NOBODY), Some(NOBODY)).expect("chown");
            for path in files::below(&self.tree) {
                std::os::unix::fs::lchown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
            }
            // The user may not be able to reach the build directory.
            let program = self.home.path().join("program");
            // Not written by this process: a child of another test would hold it open for writing, and a file that
            // is open for writing cannot be run.
            tools::run("cp", [binary::waxseal(), &program]);
            self.user = Some(NOBODY);
        }
        self
    }

    /// A directory for whatever else a test needs.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The watched tree.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// A path in the watched tree.
    pub fn at(&self, name: &str) -> PathBuf {
        self.tree.join(name)
    }

    /// Where the config is.
    pub fn config_file(&self) -> PathBuf {
        self.home.path().join("waxseal.toml")
    }

    /// Where the state is.
    pub fn state_dir(&self) -> PathBuf {
        self.state.clone()
    }

    /// Writes the config.
    pub fn configure(&self, toml: &str) {
        let file = self.config_file();
        fs::write(&file, toml).expect("the config");
        // A config that others may write is no config.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("the config's mode");
        if let Some(user) = self.user {
            chown(&file, Some(user), Some(user)).expect("chown");
        }
    }

    /// Writes a config with one watch on the tree; `rule` holds further keys of the watch, and further tables.
    pub fn watch_tree(&self, rule: &str) {
        self.configure(&watch("tree", &[&self.tree], rule));
    }

    /// The program with this machine's options, to be run as `user` says.
    pub(crate) fn command(
        &self,
        state: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Command {
        let mut command = self.bare_command();
        command.arg("--config").arg(self.config_file()).arg("--state-dir").arg(state);
        command.args(arguments.into_iter().map(Into::into));
        command
    }

    /// The program without any options, away from the real machine's settings.
    fn bare_command(&self) -> Command {
        let copy = self.home.path().join("program");
        let mut command = Command::new(if self.user.is_some() { &copy } else { binary::waxseal() });
        for variable in [
            "XDG_CONFIG_HOME",
            "XDG_STATE_HOME",
            "WAXSEAL_CONFIG",
            "WAXSEAL_STATE_DIR",
            "WAXSEAL_LOG",
            "NO_COLOR",
            "FORCE_COLOR",
        ] {
            command.env_remove(variable);
        }
        command.env("HOME", self.home.path()).current_dir(self.home.path()).stdin(Stdio::null());
        if let Some(user) = self.user {
            // As root, the standard library also gives up the supplementary groups.
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a command to its end.
    pub fn waxseal(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Output {
        self.waxseal_in(&self.state_dir(), arguments)
    }

    /// Runs a command to its end, with the state somewhere else.
    pub fn waxseal_in(
        &self,
        state: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Output {
        self.start_in(state, arguments).finish(HANGS_AFTER)
    }

    /// Runs a command to its end with nothing but these arguments: the test says where config and state are.
    pub fn waxseal_bare(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Output {
        let mut command = self.bare_command();
        command.args(arguments.into_iter().map(Into::into));
        Running::start(command).finish(HANGS_AFTER)
    }

    /// Begins a command with nothing but these arguments.
    pub fn start_bare(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Running {
        let mut command = self.bare_command();
        command.args(arguments.into_iter().map(Into::into));
        Running::start(command)
    }

    /// Runs a command to its end by way of another program, which is named with its arguments.
    pub fn waxseal_under(
        &self,
        by: &[&str],
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Output {
        Running::start(self.under(by, &self.command(&self.state_dir(), arguments))).finish(HANGS_AFTER)
    }

    /// A command by way of another program, which is named with its arguments.
    pub(crate) fn under(&self, by: &[&str], inner: &Command) -> Command {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command whose standard output nobody reads any more.
    pub fn waxseal_into_closed_pipe(
        &self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Output {
        let mut command = self.command(&self.state_dir(), arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("waxseal starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("wait");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Output { code: output.status.code(), signal: output.status.signal(), stdout: Vec::new(), stderr }
    }

    /// Begins a command, to be ended or waited for by the test.
    pub fn start(&self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Running {
        self.start_in(&self.state_dir(), arguments)
    }

    /// Begins a command, with the state somewhere else.
    pub fn start_in(
        &self,
        state: &Path,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Running {
        Running::start(self.command(state, arguments))
    }

    /// `init` with the config that is there; it must succeed.
    #[track_caller]
    pub fn init(&self) -> Output {
        self.waxseal(["init"]).expect_code(0)
    }

    /// A full check.
    #[track_caller]
    pub fn check(&self) -> Report {
        Report::new(self.waxseal(["--json", "check"]), false)
    }

    /// A quick check.
    #[track_caller]
    pub fn check_quick(&self) -> Report {
        Report::new(self.waxseal(["--json", "check", "--quick"]), true)
    }

    /// Waits until everything that happened before is recorded by the running monitor.
    #[track_caller]
    pub fn sync(&self) {
        self.waxseal(["sync"]).expect_code(0);
    }

    /// The open changes that are on record, whoever found them.
    #[track_caller]
    pub fn recorded(&self) -> Vec<Change> {
        let output = self.waxseal(["--json", "changes"]);
        assert!(matches!(output.code, Some(0 | 1)), "{output:?}");
        output.lines().into_iter().filter(|line| line["type"] == "change").map(Change).collect()
    }

    /// The monitor, running and ready.
    #[track_caller]
    pub fn watch(&self) -> Watching {
        Watching::start(self.command(&self.state_dir(), ["--json", "watch"]))
    }

    /// The monitor, running and ready, with the state somewhere else.
    #[track_caller]
    pub fn watch_in(&self, state: &Path) -> Watching {
        Watching::start(self.command(state, ["--json", "watch"]))
    }

    /// The monitor, running and ready, as root without the right to mark whole filesystems: it has to take inotify.
    #[track_caller]
    pub fn watch_without_marks(&self) -> Watching {
        let inner = self.command(&self.state_dir(), ["--json", "watch"]);
        let command = self.under(&["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"], &inner);
        Watching::start(command)
    }

    /// The monitor, running and ready, by way of another program, which is named with its arguments.
    #[track_caller]
    pub fn watch_under(&self, by: &[&str]) -> Watching {
        Watching::start(self.under(by, &self.command(&self.state_dir(), ["--json", "watch"])))
    }

    /// The monitor, whose output nobody reads yet; nor is waited until it is ready.
    pub fn watch_unread(&self, arguments: &[&str]) -> Unread {
        Unread::start(self.command(&self.state_dir(), arguments))
    }

    /// The same by way of another program, which is named with its arguments.
    pub fn watch_unread_under(&self, by: &[&str], arguments: &[&str]) -> Unread {
        Unread::start(self.under(by, &self.command(&self.state_dir(), arguments)))
    }

    /// The monitor, started on these paths.
    #[track_caller]
    pub fn watch_paths(&self, paths: &[&Path]) -> Watching {
        let mut arguments: Vec<OsString> = vec!["--json".into(), "watch".into()];
        arguments.extend(paths.iter().map(Into::into));
        Watching::start(self.command(&self.state_dir(), arguments))
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// The text of one watch.
pub fn watch(name: &str, paths: &[&Path], rule: &str) -> String {
    let paths: Vec<String> =
        paths.iter().map(|path| toml_string(path.to_str().expect("a UTF-8 path"))).collect();
    format!("[[watch]]\nname = {}\npaths = [{}]\n{rule}\n", toml_string(name), paths.join(", "))
}

/// Quotes text for TOML, whose basic strings take JSON's escapes.
pub fn toml_string(text: &str) -> String {
    Value::from(text).to_string()
}

/// A command that has been begun.
pub struct Running {
    child: Child,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("waxseal starts");
        let stdout = drain(child.stdout.take().expect("stdout"));
        let stderr = drain(child.stderr.take().expect("stderr"));
        Self { child, stdout, stderr }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL, as a power cut would, if it has not ended within this time by itself.
    pub fn kill_after(mut self, time: Duration) -> Output {
        let rest = self.stdout.recv_timeout(time);
        if rest.is_err() {
            self.child.kill().expect("kill");
        }
        let stdout = rest.unwrap_or_else(|_| self.stdout.recv().unwrap_or_default());
        self.collect(stdout)
    }

    /// Ends it as the service manager would, and waits until it has ended.
    pub fn end(self, limit: Duration) -> Output {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("kill");
        self.finish(limit)
    }

    /// Waits for its end; one that does not come fails the test.
    pub fn finish(mut self, limit: Duration) -> Output {
        match self.stdout.recv_timeout(limit) {
            Ok(stdout) => self.collect(stdout),
            Err(_) => {
                self.child.kill().expect("kill");
                panic!("waxseal hung for {limit:?}");
            }
        }
    }

    fn collect(mut self, stdout: Vec<u8>) -> Output {
        let status: ExitStatus = self.child.wait().expect("wait");
        let stderr = String::from_utf8_lossy(&self.stderr.recv().unwrap_or_default()).into_owned();
        Output { code: status.code(), signal: status.signal(), stdout, stderr }
    }
}

/// Reads to the end on a thread of its own, so that no full pipe stops the program.
fn drain(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}
