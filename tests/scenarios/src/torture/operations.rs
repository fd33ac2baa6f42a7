//! What the writers do. Each operation may find something else than it looked for, as another writer was there
//! before: then it fails, and is not counted.

use super::ground::{Ground, content};
use super::rng::Rng;
use super::walk::set_xattr;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Files grow no larger than this by appending.
const LARGE: u64 = 16 * 1024;
/// How many hard links and trees each writer keeps outside.
const KEPT: usize = 32;

/// One of the writers.
pub(super) struct Writer {
    pub ground: Ground,
    pub rng: Rng,
    /// Its own part of the names outside.
    number: usize,
    mapper: Option<Mapper>,
}

type Operation = fn(&mut Writer) -> io::Result<()>;

/// Name, how often in comparison to the others, and what is done.
pub(super) const OPERATIONS: &[(&str, usize, Operation)] = &[
    ("create", 12, Writer::create),
    ("append", 8, Writer::append),
    ("truncate", 4, Writer::truncate),
    ("chmod", 6, Writer::chmod),
    ("chown", 4, Writer::chown),
    ("xattr", 4, Writer::xattr),
    ("utimens", 3, Writer::utimens),
    ("rename", 8, Writer::rename),
    ("rename over", 6, Writer::rename_over),
    ("exchange of files", 4, Writer::exchange_files),
    ("exchange of directory and file", 1, Writer::exchange_directory),
    ("link", 4, Writer::link),
    ("unlink", 10, Writer::unlink),
    ("symlink", 3, Writer::symlink),
    ("mkdir -p and a file", 3, Writer::mkdirs),
    ("rename of a directory", 2, Writer::rename_directory),
    ("rm -rf", 1, Writer::remove_tree),
    ("O_TMPFILE and linkat", 3, Writer::nameless),
    ("store through a map", 3, Writer::map_store),
    ("tree moved in", 1, Writer::move_in),
    ("tree moved out, changed, moved back", 1, Writer::move_out),
    ("write through an outside link", 5, Writer::outside_link),
    ("fallocate", 3, Writer::allocate),
    ("punch hole", 3, Writer::punch_hole),
    ("copy_file_range", 3, Writer::copy_range),
    ("overwrite in place", 6, Writer::overwrite),
    ("mkfifo", 1, Writer::make_fifo),
];

impl Writer {
    pub fn new(ground: Ground, seed: u64, number: usize, mapper: Option<Mapper>) -> Self {
        Self { ground, rng: Rng::new(seed ^ ((number as u64 + 1) << 32)), number, mapper }
    }

    /// Does one operation: its place in the list, and whether it succeeded.
    pub fn step(&mut self) -> (usize, bool) {
        let total: usize = OPERATIONS.iter().map(|(_, weight, _)| weight).sum();
        let mut draw = self.rng.below(total);
        for (index, (_, weight, operation)) in OPERATIONS.iter().enumerate() {
            if draw < *weight {
                return (index, operation(self).is_ok());
            }
            draw -= weight;
        }
        unreachable!("the draw is below the sum of the weights")
    }

    fn file(&mut self) -> PathBuf {
        self.ground.file(&mut self.rng)
    }

    fn directory(&mut self) -> PathBuf {
        self.ground.moving(&mut self.rng)
    }

    /// A regular file, open for reading and writing. Nothing else is opened: a FIFO would wait, a link lead elsewhere.
    fn open(&mut self) -> io::Result<File> {
        open(&self.file())
    }

    fn create(&mut self) -> io::Result<()> {
        let path = self.file();
        let mut file = careful().create_new(true).open(path)?;
        file.write_all(&content(&mut self.rng))
    }

    fn append(&mut self) -> io::Result<()> {
        let file = self.open()?;
        let size = file.metadata()?.len();
        if size > LARGE {
            return file.set_len(0);
        }
        file.write_all_at(&content(&mut self.rng), size)
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let file = self.open()?;
        file.write_all_at(&self.rng.next().to_le_bytes(), 0)
    }

    fn truncate(&mut self) -> io::Result<()> {
        let file = self.open()?;
        let size = file.metadata()?.len();
        file.set_len(self.rng.next() % (size + 1))
    }

    fn chmod(&mut self) -> io::Result<()> {
        let path = if self.rng.once_in(4) { self.directory() } else { self.file() };
        let mode = 0o400 | self.rng.below(0o1000) as u32;
        let flags = if self.rng.once_in(50) { 0o4000 } else { 0 };
        // A link would lead to another path than the one that was drawn, which is as good.
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode | flags))?;
        Ok(())
    }

    fn chown(&mut self) -> io::Result<()> {
        let path = if self.rng.once_in(4) { self.directory() } else { self.file() };
        lchown(path, Some(self.rng.below(4) as u32), Some(self.rng.below(4) as u32))
    }

    fn xattr(&mut self) -> io::Result<()> {
        let path = if self.rng.once_in(4) { self.directory() } else { self.file() };
        let value = if self.rng.once_in(3) { None } else { Some(self.rng.next()) };
        set_xattr(&path, value)
    }

    fn utimens(&mut self) -> io::Result<()> {
        let (path, seconds) = (self.file(), 1_500_000_000 + self.rng.below(100_000_000) as i64);
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: self.rng.below(1_000_000_000) as i64 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        rustix::fs::renameat_with(CWD, self.file(), CWD, self.file(), RenameFlags::NOREPLACE)?;
        Ok(())
    }

    fn rename_over(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        fs::symlink_metadata(&to)?;
        fs::rename(from, to)
    }

    fn exchange_files(&mut self) -> io::Result<()> {
        rustix::fs::renameat_with(CWD, self.file(), CWD, self.file(), RenameFlags::EXCHANGE)?;
        Ok(())
    }

    fn exchange_directory(&mut self) -> io::Result<()> {
        rustix::fs::renameat_with(CWD, self.directory(), CWD, self.file(), RenameFlags::EXCHANGE)?;
        Ok(())
    }

    fn link(&mut self) -> io::Result<()> {
        fs::hard_link(self.file(), self.file())
    }

    fn unlink(&mut self) -> io::Result<()> {
        fs::remove_file(self.file())
    }

    fn symlink(&mut self) -> io::Result<()> {
        let target = format!("f{}", self.rng.below(1000));
        symlink(target, self.file())
    }

    fn mkdirs(&mut self) -> io::Result<()> {
        let directory = self.directory().join(format!("s{}", self.rng.below(4)));
        fs::create_dir_all(&directory)?;
        put(&directory.join(format!("f{}", self.rng.below(16))), &content(&mut self.rng))
    }

    fn rename_directory(&mut self) -> io::Result<()> {
        fs::rename(self.directory(), self.directory())
    }

    fn remove_tree(&mut self) -> io::Result<()> {
        fs::remove_dir_all(self.directory())
    }

    fn nameless(&mut self) -> io::Result<()> {
        let (path, mode) = (self.file(), Mode::from_raw_mode(0o600));
        let parent = path.parent().unwrap_or(&self.ground.tree);
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(parent, flags, mode)?);
        file.write_all(&content(&mut self.rng))?;
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, itself, CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
        if self.rng.once_in(2) {
            file.write_all(b"and more, since it has a name")?;
        }
        Ok(())
    }

    fn map_store(&mut self) -> io::Result<()> {
        let path = self.file();
        match &mut self.mapper {
            Some(mapper) => mapper.store(&path),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn move_in(&mut self) -> io::Result<()> {
        let tree = self.kept("in");
        for name in ["f0", "f1", "s0/f0", "s0/s1/f2"] {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&tree))?;
            put(&path, &content(&mut self.rng))?;
        }
        fs::rename(tree, self.directory())
    }

    fn move_out(&mut self) -> io::Result<()> {
        let (from, kept) = (self.directory(), self.kept("out"));
        let _ = fs::remove_dir_all(&kept);
        fs::rename(from, &kept)?;
        if self.rng.once_in(2) {
            let _ = put(&kept.join("f1"), &content(&mut self.rng));
            let _ = put(&kept.join("s0/f0"), &content(&mut self.rng));
            return fs::rename(&kept, self.directory());
        }
        Ok(())
    }

    fn outside_link(&mut self) -> io::Result<()> {
        let link = self.kept("link");
        match open(&link) {
            Ok(file) if self.rng.once_in(2) => file.write_all_at(&self.rng.next().to_le_bytes(), 0),
            Ok(_) if self.rng.once_in(2) => {
                rustix::fs::chmod(&link, Mode::from_raw_mode(0o400 | self.rng.below(0o1000) as u32))?;
                Ok(())
            }
            _ => {
                let _ = fs::remove_file(&link);
                fs::hard_link(self.file(), link)
            }
        }
    }

    fn allocate(&mut self) -> io::Result<()> {
        let file = self.open()?;
        let size = file.metadata()?.len().min(LARGE);
        rustix::fs::fallocate(&file, FallocateFlags::empty(), size, 1 + self.rng.next() % 4096)?;
        Ok(())
    }

    fn punch_hole(&mut self) -> io::Result<()> {
        let file = self.open()?;
        let size = file.metadata()?.len().max(1);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, flags, self.rng.next() % size, 1 + self.rng.next() % size)?;
        Ok(())
    }

    fn copy_range(&mut self) -> io::Result<()> {
        let (from, to) = (self.open()?, self.open()?);
        let at = self.rng.next() % (to.metadata()?.len() + 1).min(LARGE);
        let copied = rustix::fs::copy_file_range(&from, Some(&mut 0), &to, Some(&mut at.clone()), 1024)?;
        if copied > 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn make_fifo(&mut self) -> io::Result<()> {
        rustix::fs::mknodat(CWD, self.file(), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        Ok(())
    }

    /// One of the writer's own names outside.
    fn kept(&mut self, kind: &str) -> PathBuf {
        self.ground.outside.join(format!("{kind}-{}-{}", self.number, self.rng.below(KEPT)))
    }
}

/// Without waiting for the other end of a FIFO.
fn careful() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

fn open(path: &Path) -> io::Result<File> {
    let file = careful().read(true).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Writes a file, new or not.
fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    careful().create(true).truncate(true).open(path)?.write_all(content)
}

/// A process that stores through memory maps: the tests themselves have no `unsafe` code.
pub(super) struct Mapper {
    child: Child,
    paths: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Mapper {
    pub fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let paths = child.stdin.take();
        let answers = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, paths, answers: BufReader::new(answers) })
    }

    fn store(&mut self, path: &Path) -> io::Result<()> {
        let paths = self.paths.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(paths, "{}", path.display())?;
        let mut answer = String::new();
        self.answers.by_ref().take(8).read_line(&mut answer)?;
        if answer.trim_end() == "1" { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // It ends when it is told nothing more.
        drop(self.paths.take());
        let _ = self.child.wait();
    }
}
