//! The scan of `init` with nothing stored: what `cargo xtask bench` holds `init` against, to know the store's share.
//!
//! In: a directory. Out: how much it held.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use waxseal_model::{Digest, FileType, RawPath};
use waxseal_observe::probe::Hashing;
use waxseal_observe::{Algorithms, Entry, FileError, Look, Node, Options, Progress, Root, Visitor, scan};

/// Looks at everything that lies on the device of the top, as `init` does, and keeps nothing.
#[derive(Default)]
struct Nothing {
    entries: AtomicU64,
}

impl Visitor for Nothing {
    type Dir = ();

    fn wants_stat(&self, _: &Node<()>) -> bool {
        false
    }

    fn plan(&self, _: &Node<()>, entries: &mut Vec<Entry<()>>) {
        for entry in entries {
            entry.look = Look::Full;
            let is_dir =
                |state: &waxseal_model::FileState| state.file_type == FileType::Dir && !state.mount_root;
            entry.descend = entry.state.as_ref().filter(|state| is_dir(state)).map(|_| Box::new(()));
        }
    }

    fn done(&self, _: &Node<()>, entries: Vec<Entry<()>>, _: Option<FileError>) -> Option<Digest> {
        self.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
        None
    }
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1).map(OsString::into_vec) else { return ExitCode::FAILURE };
    let roots = vec![Root { path: RawPath::new(path) }];
    let hashing = Hashing { algorithms: Algorithms::default(), max_sparse: u64::MAX, from_disk: false };
    let options = Options { hashing, threads: None, bottom_up: true };
    let (visitor, progress) = (Nothing::default(), Progress::default());
    scan(roots, (), &visitor, &options, &progress);
    println!("{} entries, {} bytes", visitor.entries.into_inner(), progress.bytes.into_inner());
    ExitCode::SUCCESS
}
