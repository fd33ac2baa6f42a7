//! A filesystem that a test answers for: a directory of files, of which some are never answered about.
//!
//! Speaks as much of the FUSE protocol (`include/uapi/linux/fuse.h`, version 7.31) as looking and reading takes.

use crate::tools;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// What is answered, and what has not been.
#[derive(Default)]
struct State {
    /// Names whose content is not to be had.
    silent: BTreeSet<String>,
    /// Requests that wait for an answer.
    waiting: Vec<Vec<u8>>,
}

/// A mounted FUSE filesystem with some files. It goes when this is dropped.
pub struct Fuse {
    device: File,
    point: PathBuf,
    files: Arc<Vec<(String, String)>>,
    state: Arc<Mutex<State>>,
}

impl Fuse {
    /// Mounts a filesystem that holds these files, by name and content.
    pub fn mount(point: &Path, files: &[(&str, &str)]) -> Result<Fuse, String> {
        let device = mount(point)?;
        let fuse = Fuse {
            device,
            point: point.to_owned(),
            files: Arc::new(
                files.iter().map(|(name, content)| (name.to_string(), content.to_string())).collect(),
            ),
            state: Arc::default(),
        };
        let (device, files, state) = (
            fuse.device.try_clone().map_err(|e| e.to_string())?,
            Arc::clone(&fuse.files),
            Arc::clone(&fuse.state),
        );
        std::thread::spawn(move || serve(device, &files, &state));
        Ok(fuse)
    }

    /// From now on nobody who reads this file gets an answer.
    pub fn be_silent_about(&self, name: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).silent.insert(name.to_owned());
    }

    /// Answers everything, also what was asked before.
    pub fn answer_again(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.silent.clear();
        for request in std::mem::take(&mut state.waiting) {
            answer(&self.device, &request, &self.files);
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = tools::try_run("umount", ["--lazy".as_ref(), self.point.as_os_str()]);
    }
}

/// A mount of which nobody answers anything. It goes when this is dropped.
pub struct Dead(PathBuf, #[allow(dead_code, reason = "the mount ends with it")] File);

impl Dead {
    /// Mounts it.
    pub fn mount(point: &Path) -> Result<Dead, String> {
        Ok(Dead(point.to_owned(), mount(point)?))
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        let _ = tools::try_run("umount", ["--lazy".as_ref(), self.0.as_os_str()]);
    }
}

/// Mounts; what is asked is to be read from the file that is returned. `mount` inherits it as its standard input.
fn mount(point: &Path) -> Result<File, String> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.map_err(|error| format!("no FUSE here: /dev/fuse: {error}"))?;
    let stdin = device.try_clone().map_err(|error| error.to_string())?;
    let mut mount = Command::new("mount");
    mount
        .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "waxseal-test"])
        .arg(point);
    let output = mount.stdin(Stdio::from(stdin)).output().map_err(|error| format!("mount: {error}"))?;
    if output.status.success() {
        Ok(device)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn serve(mut device: File, files: &[(String, String)], state: &Mutex<State>) {
    let mut request = vec![0; 128 * 1024];
    // The read fails when the filesystem is gone.
    while let Ok(len) = device.read(&mut request) {
        let request = &request[..len];
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let name = file(number(request, 16), files).map(|(name, _)| name);
        if number32(request, 4) == READ && name.is_some_and(|name| state.silent.contains(name)) {
            state.waiting.push(request.to_vec());
        } else {
            answer(&device, request, files);
        }
    }
}

/// The files have the node numbers from 2 on; 1 is the directory.
fn file(node: u64, files: &[(String, String)]) -> Option<&(String, String)> {
    files.get(usize::try_from(node.checked_sub(2)?).ok()?)
}

fn answer(mut device: &File, request: &[u8], files: &[(String, String)]) {
    let (opcode, node) = (number32(request, 4), number(request, 16));
    let body = match opcode {
        FORGET | BATCH_FORGET | INTERRUPT => return,
        INIT => Ok([u32s(&[7, 31, 65536, 0, 0, 65536, 1, 0]), vec![0; 32]].concat()),
        GETATTR => Ok([u64s(&[0, 0]), attributes(node, files)].concat()),
        LOOKUP => lookup(request, files),
        OPEN | OPENDIR => Ok(u64s(&[0, 0])),
        READDIR => Ok(if number(request, 48) == 0 { entries(files) } else { Vec::new() }),
        READ => Ok(content(request, file(node, files))),
        STATFS => Ok(vec![0; 80]),
        RELEASE | RELEASEDIR | FLUSH => Ok(Vec::new()),
        _ => Err(ENOSYS),
    };
    let (error, body) = match body {
        Ok(body) => (0, body),
        Err(error) => (-error, Vec::new()),
    };
    let len = u32::try_from(16 + body.len()).expect("a short answer");
    let mut out = len.to_ne_bytes().to_vec();
    out.extend(error.to_ne_bytes());
    out.extend(&request[8..16]);
    out.extend(body);
    // Refused when whoever asked has been killed meanwhile.
    let _ = device.write_all(&out);
}

fn lookup(request: &[u8], files: &[(String, String)]) -> Result<Vec<u8>, i32> {
    let name = &request[40..request.len() - 1];
    let at = files.iter().position(|(known, _)| known.as_bytes() == name).ok_or(ENOENT)?;
    let node = at as u64 + 2;
    Ok([u64s(&[node, 0, 0, 0, 0]), attributes(node, files)].concat())
}

fn content(request: &[u8], file: Option<&(String, String)>) -> Vec<u8> {
    let content = file.map_or(&b""[..], |(_, content)| content.as_bytes());
    let start = (number(request, 48) as usize).min(content.len());
    let end = (start + number32(request, 56) as usize).min(content.len());
    content[start..end].to_vec()
}

fn entries(files: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, (name, _)) in files.iter().enumerate() {
        let i = i as u64;
        out.extend(u64s(&[i + 2, i + 1]));
        // Its type is that of a regular file: `S_IFREG >> 12`.
        out.extend(u32s(&[name.len() as u32, 8]));
        out.extend(name.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64, files: &[(String, String)]) -> Vec<u8> {
    let size = file(node, files).map_or(0, |(_, content)| content.len() as u64);
    let mode = if node == 1 { 0o040755 } else { 0o100644 };
    let time = 1_700_000_000;
    [u64s(&[node, size, 1, time, time, time]), u32s(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64s(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}

fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}
