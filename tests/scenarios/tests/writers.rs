//! Who made a change, where somebody hides it or the kernel makes it hard to tell: right, or said to be unknown.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Watching, is_root, skip, tools, watch};

/// A monitor that knows who writes from programs in the kernel; `None`, said aloud, where that is refused.
fn watch_on(machine: &Machine) -> Option<Watching> {
    let watching = machine.watch();
    if watching.ready["actors"] == "exec-cache" {
        return Some(watching);
    }
    skip(&format!("who wrote is only known by {} here", watching.ready["actors"]));
    None
}

/// A machine with some sealed files, whose watch has these further keys.
fn machine(rule: &str, files: &[&str]) -> Machine {
    let machine = Machine::new();
    files.iter().for_each(|file| write(machine.at(file), "x"));
    machine.watch_tree(rule);
    machine.init();
    machine
}

/// A program of `tests/scenarios/c`; `None`, said aloud, where there is no compiler for it.
fn helper(machine: &Machine, name: &str, source: &str) -> Option<PathBuf> {
    if !tools::has("cc") {
        return None;
    }
    let program = machine.home().join(name);
    match tools::compile(source, &program) {
        Ok(()) => Some(program),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

/// The open change of a path.
fn change_of(machine: &Machine, name: &str) -> Value {
    machine.sync();
    let path = machine.at(name);
    let found = machine.recorded().into_iter().find(|change| change.0["path"] == path.to_str().unwrap());
    found.unwrap_or_else(|| panic!("{name} has no change")).0
}

/// All who made a change.
fn actors(change: &Value) -> Vec<Value> {
    let all = change.get("actors").and_then(Value::as_array).cloned();
    all.unwrap_or_else(|| vec![change["actor"].clone()])
}

/// Everything that an actor was.
fn programs(actor: &Value) -> Vec<String> {
    let earlier = actor.get("earlier").and_then(Value::as_array).cloned().unwrap_or_default();
    earlier.iter().chain([&actor["exe"]]).filter_map(|exe| exe.as_str().map(str::to_owned)).collect()
}

fn real(program: &str) -> String {
    let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program));
    let found = found.into_iter().find(|path| path.exists()).unwrap();
    fs::canonicalize(found).unwrap().to_str().unwrap().to_owned()
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

#[test]
fn who_writes_and_then_becomes_an_allowed_program_is_not_allowed() {
    const TIMES: usize = 60;
    let sleep = real("sleep");
    let names: Vec<String> = (0..TIMES).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let machine = machine(&format!("severity = \"low\"\n[[watch.actor]]\nprograms = [{sleep:?}]"), &names);
    let Some(watching) = watch_on(&machine) else { return };
    // Others write a lot, so that the monitor is behind.
    let noise = machine.home().join("noise");
    fs::create_dir(&noise).unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let script = "i=0; while [ $i -lt 4000 ]; do echo x > f$i; i=$((i+1)); done";
            run(Command::new("sh").args(["-c", script]).current_dir(&noise));
        });
        for n in 0..TIMES {
            let exec = format!("echo evil >> a{n}; exec sleep 0");
            run(Command::new("sh").args(["-c", &exec]).current_dir(machine.tree()));
            // The shell's child empties the file, and is another program then.
            run(Command::new("sh")
                .args(["-c", &format!("sleep 0 > b{n}; true")])
                .current_dir(machine.tree()));
        }
        busy.join().unwrap();
    });
    machine.sync();
    let shell = real("sh");
    let changes = machine.recorded();
    assert_eq!(changes.len(), 2 * TIMES);
    for change in &changes {
        let all = actors(&change.0);
        assert!(all.iter().any(|actor| programs(actor).contains(&shell)), "{}", change.0);
        assert_eq!(change.0["severity"], "critical", "{}", change.0);
    }
    let output = machine.waxseal(["--json", "changes", "--actor", &shell]);
    assert_eq!(output.lines().iter().filter(|line| line["type"] == "change").count(), 2 * TIMES);
    watching.stop();
}

#[test]
fn people_are_told_what_a_process_was_before() {
    let machine = machine("", &["file"]);
    let Some(watching) = watch_on(&machine) else { return };
    // Nothing is read while the monitor stands still.
    watching.signal(rustix::process::Signal::STOP);
    run(Command::new("sh").args(["-c", "echo y >> file; exec sleep 0"]).current_dir(machine.tree()));
    watching.signal(rustix::process::Signal::CONT);
    let change = change_of(&machine, "file");
    let actor = &change["actor"];
    assert_eq!(actor["exe"], real("sleep"), "{change}");
    assert!(programs(actor).contains(&real("sh")), "{change}");
    let shown = machine.waxseal(["show", change["id"].as_str().unwrap()]).expect_code(1);
    let words = format!("{} a moment before", real("sh"));
    assert!(shown.text().contains(&words) && shown.text().contains(", which had been "), "{}", shown.text());
    watching.stop();
}

#[test]
fn whoever_execs_in_a_loop_is_one_process_that_was_many_programs() {
    let machine = machine("", &["file"]);
    let source = include_str!("../c/exec_loop.c");
    let (Some(one), Some(two)) = (helper(&machine, "one", source), helper(&machine, "two", source)) else {
        return;
    };
    let Some(watching) = watch_on(&machine) else { return };
    let mut child = Command::new(&one).arg("300").arg(machine.at("file")).args([&one, &two]).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let change = change_of(&machine, "file");
    let me = fs::canonicalize(std::env::current_exe().unwrap()).unwrap();
    let own = [&one, &two, &me].map(|path| path.to_str().unwrap().to_owned());
    for actor in actors(&change) {
        assert_eq!(actor["pid"], pid, "{change}");
        assert!(programs(&actor).iter().all(|exe| own.contains(exe)), "{change}");
        assert!(programs(&actor).len() <= 9, "{change}");
        assert_eq!(actor["parents"][0]["pid"], std::process::id(), "{change}");
    }
    watching.stop();
}

#[test]
fn a_disguise_is_seen_through_also_when_the_executable_is_gone() {
    let dpkg = "/usr/bin/dpkg";
    let machine = machine(&format!("severity = \"low\"\n[[watch.actor]]\nprograms = [{dpkg:?}]"), &["file"]);
    let Some(program) = helper(&machine, "a long name of its own", include_str!("../c/disguise.c")) else {
        return;
    };
    let Some(watching) = watch_on(&machine) else { return };
    run(Command::new(&program).arg(dpkg).arg(machine.at("file")));
    assert!(!program.exists());
    let change = change_of(&machine, "file");
    let actor = &change["actor"];
    assert_eq!(actor["exe"], program.to_str().unwrap(), "{change}");
    assert_eq!(actor["args"][0], program.to_str().unwrap(), "{change}");
    assert_eq!(actor["args"][2], machine.at("file").to_str().unwrap(), "{change}");
    assert_eq!(change["severity"], "critical", "{change}");
    watching.stop();
}

#[test]
fn a_megabyte_of_arguments_is_cut_and_nothing_in_it_does_harm() {
    let machine = machine("", &["file", "other"]);
    let Some(watching) = watch_on(&machine) else { return };
    let long = "y".repeat(120_000);
    let strange = OsStr::from_bytes(b"\x1b[2J\r\n\xff\xfe\xe2\x80\xae");
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo y >> file; true", "--password=hunter2", "--token", "hunter3"]).arg(strange);
    run(shell.args(vec![long; 9]).current_dir(machine.tree()));
    // A secret that is cut in its midst.
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo y >> other; true"]).arg("z".repeat(940));
    run(shell.arg(format!("--password={}", "hunter4".repeat(100))).current_dir(machine.tree()));
    for (name, last) in [("file", None), ("other", Some("--password="))] {
        let change = change_of(&machine, name);
        let args = change["actor"]["args"].as_array().unwrap();
        assert_eq!(change["actor"]["args_cut"], true, "{change}");
        assert!(change.to_string().len() < 20_000);
        assert!(!change.to_string().contains("hunter"), "{change}");
        let tail = args.last().unwrap().as_str().unwrap();
        assert!(last.is_none_or(|last| tail.starts_with(last)), "{change}");
        let raw = machine.waxseal(["--json", "changes"]);
        assert!(!raw.stdout.iter().any(|byte| *byte < b' ' && *byte != b'\n'), "control characters in JSON");
        let shown = machine.waxseal(["show", change["id"].as_str().unwrap()]).expect_code(1);
        assert!(!shown.text().contains("hunter") && !shown.text().contains('\u{202e}'), "{}", shown.text());
        assert!(!shown.text().contains("\u{1b}[2J") && !shown.text().contains('\r'), "{}", shown.text());
    }
    for file in ["waxseal.db", "waxseal.db-wal"] {
        let database = fs::read(machine.state_dir().join(file)).unwrap_or_default();
        assert!(!database.windows(6).any(|part| part == b"hunter"), "{file} has a secret");
    }
    watching.stop();
}

#[test]
fn a_write_by_io_uring_is_its_processs_own() {
    let machine = machine("", &["sealed"]);
    let Some(program) = helper(&machine, "uring", include_str!("../c/uring_write.c")) else { return };
    let Some(watching) = watch_on(&machine) else { return };
    let mut child = Command::new(&program).arg(machine.at("new")).spawn().unwrap();
    let pid = child.id();
    match child.wait().unwrap().code() {
        Some(0) => {}
        Some(3) => return skip("this kernel has no io_uring, or refuses it"),
        other => panic!("{other:?}"),
    }
    let change = change_of(&machine, "new");
    assert_eq!(fs::read(machine.at("new")).unwrap(), b"by io_uring\n");
    for actor in actors(&change) {
        assert_eq!(
            (&actor["pid"], &actor["exe"]),
            (&pid.into(), &program.to_str().unwrap().into()),
            "{change}"
        );
    }
    watching.stop();
}

/// A loop device of a high number, whose node the kernel makes and removes.
struct LoopDevice(String);

impl LoopDevice {
    const NUMBER: &str = "219";

    fn add() -> Result<LoopDevice, String> {
        let script = "import fcntl,sys; fcntl.ioctl(open('/dev/loop-control'), int(sys.argv[1], 16), int(sys.argv[2]))";
        // LOOP_CTL_ADD
        tools::try_run("python3", ["-c", script, "4c80", Self::NUMBER])?;
        Ok(LoopDevice(script.into()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // LOOP_CTL_REMOVE
        let _ = tools::try_run("python3", ["-c", &self.0, "4c81", Self::NUMBER]);
    }
}

#[test]
fn a_thread_of_the_kernel_is_named_as_one() {
    if !is_root() {
        return skip("needs root");
    }
    let machine = Machine::new();
    machine.configure(&watch("dev", &[Path::new("/dev")], "recursion = 1"));
    machine.init();
    let Some(watching) = watch_on(&machine) else { return };
    let node = format!("/dev/loop{}", LoopDevice::NUMBER);
    let device = match LoopDevice::add() {
        Ok(device) => device,
        Err(why) => return skip(&why),
    };
    machine.sync();
    let change = machine.recorded().into_iter().find(|change| change.0["path"] == node.as_str());
    let Some(change) = change else { return skip("the kernel does not make device nodes here") };
    let actor = &change.0["actor"];
    assert_eq!(actor["args"][0], "[kdevtmpfs]", "{}", change.0);
    assert!(actor.get("exe").is_none() && actor.get("earlier").is_none(), "{}", change.0);
    assert_eq!(actor["parents"][0]["pid"], 2, "{}", change.0);
    let shown = machine.waxseal(["show", change.0["id"].as_str().unwrap()]).expect_code(1);
    assert!(shown.text().contains("[kdevtmpfs]"), "{}", shown.text());
    drop(device);
    watching.stop();
}

#[test]
fn a_process_of_another_pid_namespace_is_known_by_its_number_here() {
    let machine = machine("", &["file"]);
    if let Err(why) = tools::try_run("unshare", ["--pid", "--fork", "true"]) {
        return skip(&why);
    }
    let Some(watching) = watch_on(&machine) else { return };
    let script = "echo $$ >> file; true";
    run(Command::new("unshare").args(["--pid", "--fork", "sh", "-c", script]).current_dir(machine.tree()));
    let change = change_of(&machine, "file");
    assert_eq!(fs::read(machine.at("file")).unwrap(), b"x1\n");
    let actor = &change["actor"];
    assert_ne!(actor["pid"], 1, "{change}");
    assert_eq!(actor["exe"], real("sh"), "{change}");
    assert_eq!(actor["parents"][0]["exe"], real("unshare"), "{change}");
    assert_eq!(actor["parents"][1]["pid"], std::process::id(), "{change}");
    watching.stop();
}

#[test]
fn where_bpf_is_refused_the_next_source_takes_over_and_says_why() {
    if !is_root() {
        return skip("needs root");
    }
    let sleep = real("sleep");
    let rule = format!("severity = \"low\"\n[[watch.actor]]\nprograms = [{sleep:?}]");
    for (refuse, left) in [("bpf", "proc-connector"), ("netlink", "pidfd")] {
        let machine = machine(&rule, &["file", "exec"]);
        let Some(without) = helper(&machine, "without-bpf", include_str!("../c/without_bpf.c")) else {
            return;
        };
        let watching = machine.watch_under(&[without.to_str().unwrap(), refuse]);
        if watching.ready.get("actors").is_none() {
            return skip("events name no process here");
        }
        if watching.ready["actors"] == "audit" {
            return skip("this system audits which programs begin, which is better than what is tested");
        }
        assert_eq!(watching.ready["actors"], left, "{}", watching.ready);
        let refused = watching.ready["actors_refused"].as_array().unwrap().clone();
        assert_eq!(refused[0]["source"], "exec-cache", "{}", watching.ready);
        assert!(refused[0]["error"].as_str().unwrap().contains("not permitted"), "{}", watching.ready);
        let no_connector = refused.iter().any(|refused| refused["source"] == "proc-connector");
        assert_eq!(no_connector, left == "pidfd", "{}", watching.ready);
        let status = machine.waxseal(["status", "--json"]).lines();
        assert_eq!(status[0]["monitor"]["actors_refused"], watching.ready["actors_refused"]);
        let shown = machine.waxseal(["status"]);
        assert!(shown.text().contains("actors    no exec-cache: "), "{}", shown.text());
        // Whatever it knows, who wrote and became something allowed is not taken for that alone.
        run(Command::new("sh").args(["-c", "echo y >> file; exec sleep 0"]).current_dir(machine.tree()));
        run(Command::new("sh").args(["-c", "echo y >> exec; exec sleep 1"]).current_dir(machine.tree()));
        for name in ["file", "exec"] {
            let change = change_of(&machine, name);
            assert_eq!(change["severity"], "critical", "{change}");
            for actor in actors(&change) {
                let is_honest = actor["source"] == "unknown"
                    || actor["earlier_cut"] == true
                    || programs(&actor).contains(&real("sh"))
                    || actor.get("exe").is_none();
                assert!(is_honest, "{change}");
            }
        }
        watching.stop();
    }
}
