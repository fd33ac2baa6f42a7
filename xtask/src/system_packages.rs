//! The system's tools that the tests drive: installed when they are missing and may be.

use crate::project::find_program;
use std::process::{Command, Stdio};

/// A program that tests run, and the Debian package it comes in.
const TOOLS: &[(&str, &str)] = &[
    ("getfacl", "acl"),
    ("setfacl", "acl"),
    ("getfattr", "attr"),
    ("setfattr", "attr"),
    ("getcap", "libcap2-bin"),
    ("setcap", "libcap2-bin"),
    ("chattr", "e2fsprogs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mount", "mount"),
    ("losetup", "mount"),
    ("unshare", "util-linux"),
    ("ssh-agent", "openssh-client"),
];

/// Installs what is missing, as far as this user on this system may. What then still is missing is printed and
/// not fatal: the tests that need it say that they were skipped.
pub fn install_missing() {
    install_missing_of(TOOLS);
}

/// As [`install_missing`], for other programs: each a name or an absolute path, and the Debian package it comes in.
pub fn install_missing_of(tools: &[(&str, &'static str)]) {
    let missing = missing_packages(tools);
    if missing.is_empty() {
        return;
    }
    if !rustix::process::geteuid().is_root() || find_program("apt-get").is_none() {
        println!("missing, and not installable here: {}", missing.join(" "));
        return;
    }
    println!("installing {}", missing.join(" "));
    if !apt_get(&["install"], &missing) {
        // A fresh container has no package lists.
        apt_get(&["update"], &[]);
        apt_get(&["install"], &missing);
    }
    let missing = missing_packages(tools);
    if !missing.is_empty() {
        println!("could not install: {}", missing.join(" "));
    }
}

fn missing_packages(tools: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn apt_get(action: &[&str], packages: &[&str]) -> bool {
    Command::new("apt-get")
        .args(["-qq", "-y", "--no-install-recommends"])
        .args(action)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
