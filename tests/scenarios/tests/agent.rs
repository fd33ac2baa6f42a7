//! A sealing key that a real SSH agent holds.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use waxseal_scenarios::files::*;
use waxseal_scenarios::{Machine, Output, skip};

/// An agent, which ends with the value.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(home: &Path) -> Option<Agent> {
        let socket = home.join("agent.sock");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            skip("ssh-agent is not installed");
            return None;
        };
        while !socket.exists() {
            assert!(child.try_wait().unwrap().is_none(), "ssh-agent ended");
            std::thread::yield_now();
        }
        Some(Agent { child, socket })
    }

    fn add(&self, key: &Path, more: &[&str]) {
        let status =
            Command::new("ssh-add").arg("-q").args(more).arg(key).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(status.unwrap().success());
    }

    fn run(&self, machine: &Machine, arguments: &[&str]) -> Output {
        let socket = format!("SSH_AUTH_SOCK={}", self.socket.display());
        machine.waxseal_under(&["env", &socket], arguments.iter().copied())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(home: &Path, kind: &str, name: &str) -> PathBuf {
    let path = home.join(name);
    let status =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-C", name, "-f"]).arg(&path).status();
    assert!(status.unwrap().success());
    path
}

fn fingerprint(key: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(key).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

fn machine() -> Machine {
    let machine = Machine::new();
    write(machine.at("a"), "a");
    machine.watch_tree("");
    machine
}

#[test]
fn an_agent_seals_and_approves_and_nothing_of_its_key_is_on_the_machine() {
    let machine = machine();
    let Some(agent) = Agent::start(machine.home()) else { return };
    // No key, one of another kind, several.
    assert!(
        agent.run(&machine, &["init", "--key", "ssh-agent"]).expect_code(2).stderr.contains("no Ed25519 key")
    );
    agent.add(&key(machine.home(), "ecdsa", "other-kind"), &[]);
    agent.run(&machine, &["init", "--key", "ssh-agent"]).expect_code(2);
    let (mine, other) = (key(machine.home(), "ed25519", "mine"), key(machine.home(), "ed25519", "other"));
    agent.add(&mine, &[]);
    agent.add(&other, &[]);
    let refused = agent.run(&machine, &["init", "--key", "ssh-agent"]).expect_code(2);
    assert!(
        refused.stderr.contains(&fingerprint(&mine)) && refused.stderr.contains("several"),
        "{refused:?}"
    );
    let wanted = format!("ssh-agent:{}", fingerprint(&mine));
    agent.run(&machine, &["init", "--key", &wanted]).expect_code(0);
    assert!(!machine.state_dir().join("sealing.key").exists());
    // Verification does not know of agents.
    machine.check().expect_intact();
    machine.waxseal(["verify"]).expect_code(0);

    append(machine.at("a"), b"x");
    machine.check().expect_changed();
    machine.waxseal(["approve", "--all", "--yes"]).expect_code(2);
    agent.run(&machine, &["approve", "--all", "--yes", "--key", "ssh-agent:other"]).expect_code(2);
    agent.run(&machine, &["approve", "--all", "--yes", "--key", "ssh-agent"]).expect_code(0);
    machine.check().expect_intact();
    machine.waxseal(["verify"]).expect_code(0);
}

#[test]
fn an_agent_that_is_gone_refuses_or_forgets_seals_nothing() {
    let machine = machine();
    machine.waxseal_under(&["env", "-u", "SSH_AUTH_SOCK"], ["init", "--key", "ssh-agent"]).expect_code(2);
    let Some(agent) = Agent::start(machine.home()) else { return };
    let mine = key(machine.home(), "ed25519", "mine");
    agent.add(&mine, &[]);
    agent.run(&machine, &["init", "--key", "ssh-agent:mine"]).expect_code(0);
    append(machine.at("a"), b"x");
    machine.check().expect_changed();
    let approve = || agent.run(&machine, &["approve", "--all", "--yes", "--key", "ssh-agent"]);
    // One that must be confirmed, by a program that says no.
    agent.add(&mine, &["-c"]);
    let refused = approve().expect_code(2);
    assert!(refused.stderr.contains("refused"), "{refused:?}");
    let status = Command::new("ssh-add").args(["-q", "-D"]).env("SSH_AUTH_SOCK", &agent.socket).status();
    assert!(status.unwrap().success());
    let refused = approve().expect_code(2);
    assert!(refused.stderr.contains("does not hold the key"), "{refused:?}");
    let socket = format!("SSH_AUTH_SOCK={}", agent.socket.display());
    drop(agent);
    let gone = ["approve", "--all", "--yes", "--key", "ssh-agent"];
    let refused = machine.waxseal_under(&["env", &socket], gone).expect_code(2);
    assert!(refused.stderr.contains("could not be asked"), "{refused:?}");
    assert_eq!(machine.waxseal(["--json", "baseline", "list"]).expect_code(0).lines().len(), 1);
    machine.waxseal(["verify"]).expect_code(0);
    assert_eq!(machine.recorded().len(), 1);
}
