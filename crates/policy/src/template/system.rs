//! What is worth watching on a system nobody has described, and what moves on it by itself.
//!
//! The excludes are what is known to change without anybody's doing on Debian, Ubuntu, Fedora, openSUSE, Alpine and
//! Arch. What only changes when a package is installed stays watched.

use super::SystemFacts;
use crate::escape_literal;

/// A watch of the default config. Empty texts and lists stand for the default.
pub(super) struct Suggested {
    pub name: &'static str,
    pub about: &'static str,
    pub paths: Vec<String>,
    pub exclude: &'static [(&'static str, &'static str)],
    pub include: &'static [&'static str],
    pub severity: &'static str,
    pub keep: bool,
    pub optional: bool,
}

impl Default for Suggested {
    fn default() -> Suggested {
        Suggested {
            name: "",
            about: "",
            paths: Vec::new(),
            exclude: &[],
            include: &[],
            severity: "",
            keep: true,
            optional: false,
        }
    }
}

/// Directories with the programs and libraries of the system. Where they are links into /usr they are not real.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const LOCAL: [&str; 2] = ["/usr/local", "/opt"];
const BOOT: [&str; 1] = ["/boot"];
const JOBS: [&str; 2] = ["/var/spool/cron", "/var/spool/at"];
const WEB: [&str; 3] = ["/var/www", "/srv/www", "/srv/http"];

/// The directories of which [`SystemFacts::existing`] says which exist.
pub fn candidates() -> impl Iterator<Item = &'static str> {
    SYSTEM.into_iter().chain(LOCAL).chain(BOOT).chain(JOBS).chain(WEB)
}

/// The default watches; the first one is always there.
pub(super) fn watches(facts: &SystemFacts) -> Vec<Suggested> {
    let arch = facts.distribution.as_deref().is_some_and(|d| d.split_whitespace().any(|word| word == "arch"));
    let of = |candidates: &[&str]| -> Vec<String> {
        candidates
            .iter()
            .filter(|c| facts.existing.iter().any(|e| e == *c))
            .map(|c| (*c).to_owned())
            .collect()
    };
    let all = vec![
        Suggested {
            name: "etc",
            about: "Configuration: who may log in, what is started, who is trusted.",
            paths: vec!["/etc".to_owned()],
            exclude: if arch { ETC_ARCH } else { ETC },
            severity: "high",
            ..Suggested::default()
        },
        Suggested {
            name: "system",
            about: "Programs and libraries. The package manager can put these back, so no copies are kept.\n\
                    Python's __pycache__ directories are watched: what is in them runs. Should one fill up by itself\n\
                    on this machine, exclude just that one.",
            paths: of(&SYSTEM),
            exclude: USR,
            severity: "high",
            keep: false,
            ..Suggested::default()
        },
        Suggested {
            name: "local software",
            about: "Programs that no package manager can put back, so copies of small files are kept.",
            paths: of(&LOCAL),
            exclude: LOCAL_NOISE,
            severity: "high",
            ..Suggested::default()
        },
        Suggested {
            name: "boot",
            about: "Kernels and boot loader. An EFI partition mounted at /boot/efi is a filesystem of its own: add it to\n\
                    `paths` if it is always mounted.",
            paths: of(&BOOT),
            exclude: BOOT_NOISE,
            severity: "high",
            keep: false,
            ..Suggested::default()
        },
        Suggested {
            name: "ssh keys",
            about: "Who may log in by key. Private keys are left out, so that no copy of them is kept, and so is\n\
                    known_hosts, which ssh writes by itself.",
            paths: vec!["/root/.ssh".to_owned(), "/home/*/.ssh".to_owned()],
            include: &["authorized_keys*", "config", "rc", "environment", "*.pub"],
            severity: "high",
            optional: true,
            ..Suggested::default()
        },
        Suggested {
            name: "waxseal",
            about: "The monitor itself: program, config and unit. Its state directory is guarded while it runs, whatever\n\
                    stands here.",
            // What a config cannot name is watched with the directory it is in.
            paths: facts.own.iter().filter_map(escape_literal).collect(),
            severity: "critical",
            ..Suggested::default()
        },
        Suggested {
            name: "scheduled jobs",
            about: "What users have scheduled.",
            paths: of(&JOBS),
            exclude: JOB_NOISE,
            severity: "high",
            ..Suggested::default()
        },
        Suggested {
            name: "web root",
            about: "What the web server hands out. If the site writes files by itself (uploads, compiled templates), add\n\
                    a watch with `change = \"additions-allowed\"` for that directory, or exclude it.",
            paths: of(&WEB),
            exclude: WEB_NOISE,
            severity: "high",
            ..Suggested::default()
        },
    ];
    all.into_iter().filter(|watch| !watch.paths.is_empty()).collect()
}

macro_rules! etc_noise {
    ($($more:expr),*) => {
        &[
            ("/mtab", "mounts; a link to /proc on most systems"),
            ("/adjtime", "the clock's drift, written at shutdown"),
            ("/resolv.conf", "written by DHCP and VPN clients; watch it where DNS is configured by hand"),
            ("/resolv.conf.*", "copies of it that such clients keep"),
            ("/blkid.tab*", "devices seen, by older systems"),
            ("/cups/subscriptions.conf*", "CUPS rewrites this while it runs"),
            ("/cups/printers.conf*", "holds the printers' state"),
            ("/lvm/archive/", "LVM writes these itself"),
            ("/lvm/backup/", "LVM writes these itself"),
            ("/lvm/cache/", "LVM writes these itself"),
            ("/lvm/devices/backup/", "LVM writes these itself"),
            ("/zfs/zpool.cache", "rewritten when pools are imported"),
            ("/zfs/zfs-list.cache/", "rewritten by the ZFS event daemon"),
            ("/letsencrypt/{archive,csr,keys,live,renewal}/", "renewed by itself; hooks stay watched"),
            ("*status.log", "OpenVPN's status, in its own directory by default"),
            (".*.sw[a-px]", "an editor's swap files"),
            ("*~", "an editor's backups")
            // ld.so.cache is not here: it only changes with libraries, and it decides which ones are loaded.
            $(, $more)*
        ]
    };
}

const ETC: &[(&str, &str)] = etc_noise!();
const ETC_ARCH: &[(&str, &str)] = etc_noise!(
    ("/pacman.d/gnupg/", "the keyring is refreshed by a timer; `pacman-key --list-keys` shows it"),
    ("/pacman.d/mirrorlist", "rewritten where reflector runs")
);

const USR: &[(&str, &str)] = &[
    ("/src/", "sources and kernel headers: many files, and nothing runs from there"),
    ("/share/GeoIP/", "updated by a timer"),
    ("/lib/sysimage/", "the package database of rpm systems, written by queries too"),
    ("/rc/cache/", "OpenRC writes this at boot, in /lib"),
];

const LOCAL_NOISE: &[(&str, &str)] =
    &[("/src/", "sources"), ("*.log", "logs that programs write beside themselves")];

const BOOT_NOISE: &[(&str, &str)] = &[
    ("grubenv", "GRUB and the system write to it at every boot"),
    ("**/loader/random-seed", "systemd-boot rewrites it at every boot"),
];

const JOB_NOISE: &[(&str, &str)] = &[
    (".SEQ", "the number of the last job of at"),
    ("cron.update", "a note to Alpine's crond that it takes away again"),
    ("/atspool/", "output of running jobs, on Debian"),
    ("/spool/", "output of running jobs, on Fedora"),
];

const WEB_NOISE: &[(&str, &str)] =
    &[("**/cache/**", "caches; watch them if nothing there is compiled"), ("*.log", "logs")];
