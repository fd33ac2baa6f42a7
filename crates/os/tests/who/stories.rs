//! What is told of one writer, and what it cannot fake.

use crate::fixture::{Heard, program_of, real, with_record};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use waxseal_os::process::Writer;

fn only<'a>(heard: &'a Heard, name: &str) -> &'a Arc<Writer> {
    let writers = heard.get(name.as_bytes()).unwrap();
    let first = writers.first().unwrap().as_ref().unwrap();
    assert!(writers.iter().all(|writer| writer.as_ref() == Some(first)), "{writers:?}");
    first
}

fn shell(script: &str, dir: &std::path::Path) {
    let script = format!("cd '{}' && {script}", dir.display());
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{script}");
}

#[test]
fn copies_without_a_program_of_their_own_are_their_parents() {
    let Some(mut watched) = with_record("copies_without_a_program_of_their_own_are_their_parents") else {
        return;
    };
    let (_, heard) = watched.while_doing(Duration::ZERO, |dir| {
        shell("for i in 1 2 3 4 5; do (echo x > $i; true) & done; wait", dir);
    });
    let mut pids = Vec::new();
    for name in ["1", "2", "3", "4", "5"] {
        let writer = only(&heard, name);
        let (exe, args) = program_of(writer);
        assert_eq!(exe, real("sh"));
        assert!(args[2].contains("for i in 1 2 3"), "{args:?}");
        let parent = writer.parents.first().unwrap();
        assert_eq!(parent.program, writer.program);
        // Below it are this test and, in the end, the first process of all.
        let me = writer.parents.iter().any(|ancestor| ancestor.pid == std::process::id());
        assert!(me, "{:?}", writer.parents);
        assert!(writer.parents.last().unwrap().pid <= 1, "{:?}", writer.parents);
        pids.push(writer.key.pid);
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 5);
}

#[test]
fn a_script_is_run_by_its_interpreter_and_a_relative_name_is_found() {
    let Some(mut watched) = with_record("a_script_is_run_by_its_interpreter") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let own = scratch.path().canonicalize().unwrap().join("deep/er");
    let (_, heard) = watched.while_doing(Duration::ZERO, |dir| {
        std::fs::create_dir_all(&own).unwrap();
        std::fs::copy(real("touch"), own.join("own touch")).unwrap();
        let script = own.join("script");
        std::fs::write(&script, format!("#!/bin/sh\necho x > {}/by-script\n", dir.display())).unwrap();
        Command::new("chmod").args(["+x", script.to_str().unwrap()]).status().unwrap();
        Command::new(&script).status().unwrap();
        // It calls itself something else, and removes itself from the disk.
        Command::new("./own touch").arg0("sshd").current_dir(&own).arg(dir.join("by-own")).status().unwrap();
        shell(
            &format!(
                "cd '{}'; (rm 'own touch'; exec sleep 0) ; echo x > {}/gone",
                own.display(),
                dir.display()
            ),
            dir,
        );
    });
    let (exe, args) = program_of(only(&heard, "by-script"));
    assert_eq!((exe, args[1].ends_with("/script")), (real("sh"), true), "{args:?}");
    let (exe, args) = program_of(only(&heard, "by-own"));
    assert_eq!((exe.as_str(), args[0].as_str()), (own.join("own touch").to_str().unwrap(), "sshd"));
}

#[test]
fn arguments_are_kept_as_they_are_and_cut_at_a_kibibyte() {
    let Some(mut watched) = with_record("arguments_are_kept_as_they_are_and_cut") else { return };
    let long = "y".repeat(100_000);
    let ((), heard) = watched.while_doing(Duration::ZERO, |dir| {
        let strange = std::ffi::OsStr::from_bytes(b"\x1b[2J\n\xff");
        use std::os::unix::ffi::OsStrExt;
        Command::new("sh").args(["-c", "echo x > \"$0\""]).arg(dir.join("a")).arg(strange).status().unwrap();
        Command::new("sh").args(["-c", "echo x > \"$0\""]).arg(dir.join("b")).arg(&long).status().unwrap();
    });
    let program = only(&heard, "a").program.clone().unwrap();
    assert!(program.args.ends_with(b"\0\x1b[2J\n\xff\0") && !program.args_cut);
    let program = only(&heard, "b").program.clone().unwrap();
    assert!(program.args.len() == 1024 && program.args_cut && program.args.ends_with(b"yyyy"));
}

#[test]
fn another_user_is_seen_even_without_another_program() {
    let Some(mut watched) = with_record("another_user_is_seen_even_without_another_program") else { return };
    let processes = Arc::clone(&watched.processes);
    let script = "import os,sys; os.setuid(65534); open(sys.argv[1], 'w').write('x')";
    let Ok(version) = Command::new("python3").arg("--version").output() else {
        println!("SKIPPED another_user_is_seen_even_without_another_program: needs python3");
        return;
    };
    assert!(version.status.success());
    let (_, heard) = watched.while_doing(Duration::ZERO, |dir| {
        Command::new("chmod").args(["777", dir.to_str().unwrap()]).status().unwrap();
        Command::new("python3").args(["-c", script]).arg(dir.join("a")).status().unwrap();
    });
    let writer = heard.get(&b"a"[..]).unwrap().last().unwrap().clone().unwrap();
    assert_eq!(processes.state_now(&writer).uid, 65534);
}

/// What is told of everything that had a part in a file: each process, with what it was before.
fn parts(heard: &Heard, name: &str) -> Vec<(String, Vec<String>)> {
    let writers = heard.get(name.as_bytes()).unwrap();
    let text = |exe: &waxseal_model::RawPath| exe.to_string();
    let known = writers.iter().map(|writer| writer.as_ref().unwrap());
    known.map(|writer| (program_of(writer).0, writer.earlier.iter().map(text).collect())).collect()
}

#[test]
fn who_writes_and_becomes_another_program_is_not_taken_for_that_alone() {
    for pause in [0, 5, 50] {
        let Some(mut watched) =
            with_record("who_writes_and_becomes_another_program_is_not_taken_for_that_alone")
        else {
            return;
        };
        let (_, heard) = watched.while_doing(Duration::from_millis(pause), |dir| {
            for n in 0..100 {
                shell(&format!("echo x > a{n}; exec sleep 0"), dir);
                // The shell's child opens the file, and then becomes another program.
                shell(&format!("sleep 0 > b{n}; true"), dir);
                shell(&format!("echo x > c{n}; exec env env env sh -c 'exec sleep 0'"), dir);
            }
        });
        let shell = real("sh");
        let mut late = 0;
        for n in 0..100 {
            for kind in ["a", "b", "c"] {
                let parts = parts(&heard, &format!("{kind}{n}"));
                let by_shell =
                    |(exe, earlier): &(String, Vec<String>)| *exe == shell || earlier.contains(&shell);
                assert!(parts.iter().all(by_shell), "{kind}{n}: {parts:?}");
                late += usize::from(parts.iter().any(|(exe, _)| *exe != shell));
            }
        }
        println!("{pause} ms a read: {late} of 300 had become another program when they were told");
        assert!(late > 0 || pause == 0);
    }
}

#[test]
fn who_becomes_a_program_while_nothing_waits_was_nothing_else() {
    let Some(mut watched) = with_record("who_becomes_a_program_while_nothing_waits_was_nothing_else") else {
        return;
    };
    let mut alone = 0;
    for n in 0..50 {
        watched.read(Duration::ZERO);
        let file = watched.path(&n.to_string());
        assert!(Command::new("touch").arg(file).status().unwrap().success());
        let (_, heard) = watched.while_doing(Duration::ZERO, |_| ());
        let parts = parts(&heard, &n.to_string());
        assert!(parts.iter().all(|(exe, _)| *exe == real("touch")), "{parts:?}");
        alone += usize::from(parts.iter().all(|(_, earlier)| earlier.is_empty()));
    }
    // Others may write on the same filesystem just then.
    assert!(alone > 0, "{alone}");
    println!("{alone} of 50");
}
