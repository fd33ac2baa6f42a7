//! Who is measured: the program, its peers as far as they are installed, and the limit.

use super::Programs;
use super::measure::{self, Run};
use crate::project::find_program;
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One program with its options, to be run on one tree.
pub struct Contender {
    /// The name in tables, goals and `--only`.
    pub name: &'static str,
    /// Whether it takes minutes, and may sit out some rounds.
    pub is_slow_peer: bool,
    prepare: Option<Box<dyn Fn() -> Result<()>>>,
    command: Box<dyn Fn() -> Result<Command>>,
}

impl Contender {
    /// Makes what its runs need, not measured.
    pub fn prepare(&self) -> Result<()> {
        self.prepare.as_ref().map_or(Ok(()), |prepare| prepare())
    }

    /// One measured run.
    pub fn run(&self, cold: bool) -> Result<Run> {
        measure::run((self.command)()?, cold)
    }
}

/// Everyone who can take part here; who cannot is named.
pub fn all(programs: &Programs, work: &Path, tree: &Path) -> Result<Vec<Contender>> {
    let mut contenders = waxseal(&programs.waxseal, work, tree)?;
    contenders.push(scan_only(&programs.scan_only, tree));
    contenders.extend(["walk", "read", "sha256"].map(|what| limit(&programs.xtask, what, tree)));
    for (program, make) in
        [("aide", aide as fn(&Path, &Path) -> Result<Vec<Contender>>), ("hashdeep", hashdeep)]
    {
        if find_program(program).is_some() {
            contenders.extend(make(work, tree)?);
        } else {
            println!("{program} is not installed: not compared");
        }
    }
    contenders.push(sha256sum(tree));
    Ok(contenders)
}

fn waxseal(program: &Path, work: &Path, tree: &Path) -> Result<Vec<Contender>> {
    let config = work.join("waxseal.toml");
    let paths = serde_json::Value::from(tree.to_str().context("the tree's name is not UTF-8")?);
    let text = format!("[[watch]]\nname = \"bench\"\npaths = [{paths}]\nkeep = {{ content = false }}\n");
    fs::write(&config, text)?;
    let command = {
        let program = program.to_owned();
        move |state: &Path, words: &[&str]| {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&config).arg("--state-dir").arg(state).args(words);
            command
        }
    };
    let (state, counter) = (work.join("state"), Cell::new(0));
    let fresh = {
        let (command, work) = (command.clone(), work.to_owned());
        move || {
            counter.set(counter.get() + 1);
            Ok(command(&work.join(format!("state-{}", counter.get())), &["init"]))
        }
    };
    let prepare = {
        let (command, state) = (command.clone(), state.clone());
        move || if state.exists() { Ok(()) } else { must_succeed(command(&state, &["init"])) }
    };
    let checking = |name, words: &'static [&'static str]| {
        let (command, state) = (command.clone(), state.clone());
        contender(name, Some(Box::new(prepare.clone())), move || Ok(command(&state, words)))
    };
    Ok(vec![
        contender("waxseal init", None, fresh),
        checking("waxseal check", &["check"]),
        checking("waxseal check --quick", &["check", "--quick"]),
    ])
}

fn scan_only(program: &Path, tree: &Path) -> Contender {
    let (program, tree) = (program.to_owned(), tree.to_owned());
    contender("waxseal's scan alone", None, move || {
        let mut command = Command::new(&program);
        command.arg(&tree);
        Ok(command)
    })
}

fn limit(xtask: &Path, what: &'static str, tree: &Path) -> Contender {
    let name = match what {
        "walk" => "limit: walk + statx",
        "read" => "limit: walk + read",
        _ => "limit: walk + read + SHA-256 of one stream",
    };
    let (xtask, tree) = (xtask.to_owned(), tree.to_owned());
    contender(name, None, move || {
        let mut command = Command::new(&xtask);
        command.args(["bench-limit", what]).arg(&tree);
        Ok(command)
    })
}

/// AIDE with everything that Waxseal looks at, as far as it can, and SHA-256.
fn aide(work: &Path, tree: &Path) -> Result<Vec<Contender>> {
    let config = work.join("aide.conf");
    let (database, fresh) = (work.join("aide.db"), work.join("aide.db.new"));
    let text = format!(
        "database_in=file:{}\ndatabase_out=file:{}\ngzip_dbout=no\nreport_url=stdout\nnum_workers=1\n\
         Rule=p+u+g+s+m+c+i+n+l+acl+xattrs+sha256\n{} Rule\n",
        database.display(),
        fresh.display(),
        as_regex(tree)?
    );
    fs::write(&config, text)?;
    let command = move |what: &str| {
        let mut command = Command::new("aide");
        command.arg("--config").arg(&config).arg(what);
        command
    };
    let prepare = {
        let command = command.clone();
        move || {
            must_succeed(command("--init"))?;
            fs::rename(&fresh, &database).context("aide left no database")
        }
    };
    let check = command.clone();
    Ok(vec![
        slow(contender("aide --init", None, move || Ok(command("--init")))),
        slow(contender("aide --check", Some(Box::new(prepare)), move || Ok(check("--check")))),
    ])
}

fn hashdeep(_work: &Path, tree: &Path) -> Result<Vec<Contender>> {
    let tree = tree.to_owned();
    Ok(vec![slow(contender("hashdeep -c sha256 -r -j2", None, move || {
        let mut command = Command::new("hashdeep");
        command.args(["-c", "sha256", "-r", "-j2"]).arg(&tree);
        Ok(command)
    }))])
}

fn sha256sum(tree: &Path) -> Contender {
    let tree = tree.to_owned();
    contender("find | xargs -P2 sha256sum", None, move || {
        let mut command = Command::new("sh");
        command
            .args(["-c", "find \"$1\" -xdev -type f -print0 | xargs -0 -P2 -n64 sha256sum", "sh"])
            .arg(&tree);
        Ok(command)
    })
}

fn contender(
    name: &'static str,
    prepare: Option<Box<dyn Fn() -> Result<()>>>,
    command: impl Fn() -> Result<Command> + 'static,
) -> Contender {
    Contender { name, is_slow_peer: false, prepare, command: Box::new(command) }
}

fn slow(contender: Contender) -> Contender {
    Contender { is_slow_peer: true, ..contender }
}

fn must_succeed(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let program = PathBuf::from(command.get_program());
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A path as AIDE's regular expression for itself.
fn as_regex(path: &Path) -> Result<String> {
    let text = path.to_str().context("the tree's name is not UTF-8")?;
    let escape = |c: char| {
        if c.is_ascii_alphanumeric() || "/_-".contains(c) { c.to_string() } else { format!("\\{c}") }
    };
    Ok(text.chars().map(escape).collect())
}
