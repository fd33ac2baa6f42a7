//! Stores through a shared memory map: of the ways to write a file, the one of which the kernel tells nobody until it is
//! over, and of which it does not always move the times.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use waxseal_scenarios::files::*;
use waxseal_scenarios::tools::{self, sha256};
use waxseal_scenarios::{Expect, Fs, Machine, Report, Watching, for_each_filesystem, is_root, mismatch};

/// On an overlay the kernel does not say that a file is mapped, and the map is of another file after the first write.
const FILESYSTEMS: &[Fs] = &[Fs::Ext4, Fs::Xfs, Fs::Btrfs, Fs::Tmpfs];

/// Maps the file that it is given, closes it, and then does as it is told, one letter and perhaps an offset and a
/// byte a line; each line is answered when it is done.
const MAPPER: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct stat about;
    int file = count == 2 ? open(arguments[1], O_RDWR) : -1;
    if (file < 0 || fstat(file, &about) != 0) return 1;
    size_t size = (size_t)about.st_size;
    volatile char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED || close(file) != 0) return 2;
    puts("mapped");
    fflush(stdout);
    char what, byte;
    size_t offset;
    while (scanf(" %c", &what) == 1) {
        if (what == 's' && scanf("%zu %c", &offset, &byte) == 2 && offset < size) map[offset] = byte;
        else if (what == 'u' && munmap((void *)map, size) == 0) size = 0;
        else return 3;
        puts("done");
        fflush(stdout);
    }
    return 0;
}
"#;

/// The program above, compiled; `None` where there is no compiler, which is said.
struct Mapper {
    directory: TempDir,
}

impl Mapper {
    fn compile() -> Option<Mapper> {
        if !tools::has("cc") {
            return None;
        }
        let directory = TempDir::with_prefix("waxseal-mapper-").unwrap();
        let mapper = Mapper { directory };
        let source = mapper.directory.path().join("mapper.c");
        write(&source, MAPPER);
        tools::run("cc", ["-o".as_ref(), mapper.program().as_os_str(), source.as_os_str()]);
        Some(mapper)
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("mapper")
    }

    /// Maps a file.
    fn map(&self, file: &Path) -> Mapped {
        let mut command = Command::new(self.program());
        let mut child = command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let to = child.stdin.take().unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut mapped = Mapped { child, to, from };
        mapped.expect("mapped");
        mapped
    }
}

/// A file that another process has mapped, and not open.
struct Mapped {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Mapped {
    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "{:?}", self.child.try_wait());
    }

    fn store(&mut self, offset: usize, byte: char) {
        writeln!(self.to, "s {offset} {byte}").unwrap();
        self.expect("done");
    }

    fn unmap(&mut self) {
        writeln!(self.to, "u").unwrap();
        self.expect("done");
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn furnished(root: &Path) -> Machine {
    let tree = root.join("tree");
    write(tree.join("file"), vec![b'x'; 3 * 4096]);
    write(tree.join("other"), "untouched");
    let machine = Machine::with_tree(&tree);
    machine.watch_tree("");
    machine
}

#[track_caller]
fn modified(machine: &Machine, report: Report) -> Value {
    let report = report.expect_changed();
    let expected = [Expect::modified("file").field("content")];
    assert_eq!(mismatch(machine.tree(), &expected, &report.changes), None, "{:#?}", report.output);
    // What is reported is what is there now.
    assert_eq!(report.changes[0].0["after"]["sha256"], sha256(&machine.at("file")));
    report.changes[0].0.clone()
}

/// The first store moves the times; further ones to the same page need not. So a full check finds each of them, and a
/// quick one the first.
#[test]
fn stores_are_found_while_the_file_is_mapped() {
    let Some(mapper) = Mapper::compile() else { return };
    for_each_filesystem(FILESYSTEMS, |root| {
        let machine = furnished(root);
        machine.init();
        let mut mapped = mapper.map(&machine.at("file"));
        machine.check().expect_intact();
        mapped.store(5000, '1');
        let first = modified(&machine, machine.check_quick());
        let full = modified(&machine, machine.check());
        assert_eq!((&full["id"], &full["after"]["sha256"]), (&first["id"], &first["after"]["sha256"]));
        // To the page that is dirty already, just after it was read.
        mapped.store(5001, '2');
        let second = modified(&machine, machine.check());
        assert_eq!(second["id"], first["id"]);
        assert_ne!(second["after"]["sha256"], first["after"]["sha256"]);
        mapped.store(5000, 'x');
        mapped.store(5001, 'x');
        let report = machine.check();
        let content = report.change_at(machine.at("file")).is_some_and(|c| c.fields().contains(&"content"));
        assert!(!content, "the content is as it was sealed: {:#?}", report.output);
    });
}

/// A quick check trusts no times that are within two seconds of the seal, and nobody can set a ctime.
fn wait_until_times_are_trusted(file: &Path) {
    let changed = fs::metadata(file).unwrap().ctime();
    while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() < changed.unsigned_abs() + 3 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The page was dirty when the baseline was taken: nothing but the content tells of the next store.
#[test]
fn a_store_to_a_page_that_was_dirty_when_it_was_sealed() {
    let Some(mapper) = Mapper::compile() else { return };
    for_each_filesystem(FILESYSTEMS, |root| {
        let machine = furnished(root);
        let mut mapped = mapper.map(&machine.at("file"));
        mapped.store(0, '1');
        wait_until_times_are_trusted(&machine.at("file"));
        machine.init();
        machine.check().expect_intact();
        mapped.store(1, '2');
        let found = modified(&machine, machine.check());
        // What a full check found by the content is not taken back by one that only looks at the times.
        assert_eq!(modified(&machine, machine.check_quick())["id"], found["id"]);
        mapped.unmap();
        modified(&machine, machine.check_quick());
    });
}

/// The monitor hears of it when the map is given up, and not before.
#[test]
fn the_monitor_tells_of_stores_when_the_file_is_unmapped() {
    let Some(mapper) = Mapper::compile() else { return };
    for_each_filesystem(FILESYSTEMS, |root| {
        let machine = furnished(root);
        machine.init();
        let mut ways: Vec<fn(&Machine) -> Watching> = vec![Machine::watch];
        if is_root() && tools::has("setpriv") {
            ways.push(Machine::watch_without_marks);
        }
        for (round, watch) in ways.into_iter().enumerate() {
            let mut watching = watch(&machine);
            let mut mapped = mapper.map(&machine.at("file"));
            mapped.store(4096, if round == 0 { '1' } else { '2' });
            let sum = sha256(&machine.at("file"));
            mapped.unmap();
            watching.wait_for_changes(|changes| {
                let expected = [Expect::modified("file").field("content").after("sha256", sum.as_str())];
                mismatch(machine.tree(), &expected, changes)
            });
            watching.stop();
        }
        fs::remove_file(machine.at("file")).unwrap();
    });
}
