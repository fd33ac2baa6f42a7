//! Numbers that are given to another process at once: nobody is taken for a predecessor or a successor.

use crate::fixture::{Watched, is_root, program_of, with_record};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use waxseal_os::process::Processes;

pub const TIMES: usize = 500;

/// `struct clone_args` of the kernel (`include/uapi/linux/sched.h`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Runs `program` as the process of this number, and waits for its end. False when the number is taken.
#[allow(unsafe_code, reason = "only the bare system call can choose a number")]
fn run_as(pid: libc::pid_t, program: &[CString]) -> bool {
    let wanted = [pid];
    let args = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: wanted.as_ptr() as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let mut list: Vec<_> = program.iter().map(|arg| arg.as_ptr()).collect();
    list.push(std::ptr::null());
    let path = program.first().unwrap().as_ptr();
    // SAFETY: the child has a copy of all memory, and calls nothing but execve and _exit; all pointers are to C strings
    // and lists that outlive the calls.
    unsafe {
        match libc::syscall(libc::SYS_clone3, &args, size_of::<CloneArgs>()) {
            0 => {
                libc::execve(path, list.as_ptr(), std::ptr::null());
                libc::_exit(127);
            }
            child if child > 0 => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
                assert_eq!(status, 0);
                true
            }
            _ => {
                let error = std::io::Error::last_os_error();
                assert_eq!(error.raw_os_error(), Some(libc::EEXIST), "{error}");
                false
            }
        }
    }
}

/// A number that nobody has.
fn free_number() -> libc::pid_t {
    let free = |pid: &libc::pid_t| !Path::new(&format!("/proc/{pid}")).exists();
    (300..32_000).rev().find(free).unwrap()
}

fn c(text: &[u8]) -> CString {
    CString::new(text).unwrap()
}

/// Every process has the same number.
fn all_as_one(dir: &Path) {
    let pid = free_number();
    for number in 0..TIMES {
        let file = dir.join(number.to_string());
        let file = c(file.as_os_str().as_bytes());
        let touch = [c(b"/usr/bin/touch"), file.clone()];
        let shell = [c(b"/bin/sh"), c(b"-c"), c(b"echo x > $0"), file];
        let program = if number % 2 == 0 { &touch[..] } else { &shell[..] };
        while !run_as(pid, program) {
            std::thread::yield_now();
        }
    }
}

pub fn judge(watched: &mut Watched, pause: Duration) -> (usize, usize) {
    let ((), heard) = watched.while_doing(pause, all_as_one);
    let (mut right, mut unknown) = (0, 0);
    for number in 0..TIMES {
        let file = watched.path(&number.to_string()).to_str().unwrap().to_owned();
        for writer in heard.get(number.to_string().as_bytes()).unwrap() {
            match writer.as_ref().map(|writer| program_of(writer)) {
                None => unknown += 1,
                Some((exe, _)) if exe.is_empty() => unknown += 1,
                Some((_, args)) => {
                    assert!(args.contains(&file), "{file}: {writer:?}");
                    right += 1;
                }
            }
        }
    }
    println!(
        "one number for all, {pause:?} a read, {:?}: {right} right, {unknown} unknown",
        watched.processes.source()
    );
    (right, unknown)
}

#[test]
fn nobody_is_taken_for_another_who_had_the_number() {
    for pause in [0, 5, 50] {
        let Some(mut watched) = with_record("nobody_is_taken_for_another_who_had_the_number") else { return };
        judge(&mut watched, Duration::from_millis(pause));
    }
}

#[test]
fn nobody_is_taken_for_another_when_the_connector_tells() {
    for pause in [0, 5] {
        let name = "nobody_is_taken_for_another_when_the_connector_tells";
        let Some(processes) = crate::fixture::from_connector(name) else { return };
        judge(&mut Watched::new(processes), Duration::from_millis(pause));
    }
}

#[test]
fn nobody_is_taken_for_another_when_asked_after_the_event() {
    if !is_root() {
        println!("SKIPPED nobody_is_taken_for_another_when_asked_after_the_event: needs root");
        return;
    }
    for pause in [0, 5] {
        let mut watched = Watched::new(Processes::without_record().unwrap());
        judge(&mut watched, Duration::from_millis(pause));
    }
}
