use super::*;
use crate::{Config, WatchPath, parse};

fn facts(distribution: &str, existing: &[&str], given: &[&[u8]]) -> SystemFacts {
    SystemFacts {
        distribution: (!distribution.is_empty()).then(|| distribution.to_owned()),
        existing: existing.iter().map(|e| (*e).to_owned()).collect(),
        own: vec![RawPath::new(*b"/usr/bin/waxseal"), RawPath::new(*b"/usr/b\xff")],
        given_paths: given.iter().map(|p| RawPath::new(*p)).collect(),
    }
}

fn read(text: &str) -> Config {
    parse(text, "template").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[test]
fn every_system_gets_a_config_that_parses() {
    let everything: Vec<&str> = candidates().collect();
    for distribution in
        ["", "debian", "ubuntu debian", "fedora", "alpine", "arch", "endeavouros arch", "opensuse suse"]
    {
        for existing in [&[][..], &["/usr", "/boot"], &everything] {
            let text = template(&facts(distribution, existing, &[])).unwrap();
            let config = read(&text);
            assert_eq!(config.watches[0].name, "etc");
            let own = config.watches.iter().find(|watch| watch.name == "waxseal").unwrap();
            assert_eq!(own.paths, [WatchPath::Literal(RawPath::new(*b"/usr/bin/waxseal"))]);
            assert_eq!(own.severity, waxseal_model::Severity::Critical);
            assert!(config.unused.is_empty(), "only what this version acts on is in force");
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        }
    }
}

#[test]
fn every_watch_key_is_explained_and_may_be_put_in_force() {
    let everything: Vec<&str> = candidates().collect();
    for facts in [facts("debian", &everything, &[]), facts("", &[], &[]), facts("", &[], &[b"/srv/t"])] {
        let text = template(&facts).unwrap();
        let mut uncommented = String::new();
        for line in text.lines() {
            let key = line
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
            uncommented.push_str(key.unwrap_or(line));
            uncommented.push('\n');
        }
        let config = read(&uncommented);
        assert_eq!(config.unused, crate::schema::UNUSED);
        assert_eq!(config.channels.len(), 2);
        let first = text.split("[[watch]]").nth(1).unwrap();
        for key in [
            "name",
            "paths",
            "exclude",
            "include",
            "attributes",
            "severity",
            "change",
            "keep",
            "restore",
            "recursion",
            "cross_filesystems",
            "optional",
        ] {
            let lines: Vec<&str> = first.lines().collect();
            let at = lines.iter().position(|l| l.trim_start_matches('#').starts_with(&format!("{key} = ")));
            let above = at.and_then(|at| at.checked_sub(1)).map(|above| lines[above]);
            assert!(above.is_some_and(|above| above.starts_with("# ")), "{key} has no explanation: {first}");
        }
    }
}

#[test]
fn only_what_exists_is_watched() {
    let config = read(&template(&facts("debian", &["/usr", "/usr/local", "/var/www"], &[])).unwrap());
    let names: Vec<&str> = config.watches.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["etc", "system", "local software", "ssh keys", "waxseal", "web root"]);
    assert!(!config.watches[1].keep.content, "a package manager can restore /usr");
    assert!(config.watches[2].keep.content);
    assert!(config.watches[3].optional);
    let debian = &config.watches[0];
    assert_eq!(debian.select(b"resolv.conf", false), crate::Selection::Skipped);
    assert_eq!(debian.select(b"letsencrypt/live/x/cert.pem", false), crate::Selection::Skipped);
    assert_eq!(debian.select(b"letsencrypt/renewal-hooks/pre/x", false), crate::Selection::Selected);
    for kept in ["ld.so.cache", "passwd", "cron.d/x", "ssh/sshd_config", "pacman.d/gnupg/pubring.gpg"] {
        assert_eq!(debian.select(kept.as_bytes(), false), crate::Selection::Selected, "{kept}");
    }
    let arch = read(&template(&facts("arch", &[], &[])).unwrap());
    assert_eq!(arch.watches[0].select(b"pacman.d/gnupg/pubring.gpg", false), crate::Selection::Skipped);
    let keys = &config.watches[3];
    assert_eq!(keys.select(b"authorized_keys", false), crate::Selection::Selected);
    assert_eq!(keys.select(b"id_ed25519", false), crate::Selection::Skipped);
}

#[test]
fn given_paths_become_the_only_watch() {
    let odd = b"/srv/od\"d [1]\n*\\";
    let config = read(&template(&facts("debian", &["/usr"], &[b"/srv/t", b"/srv/t/", odd])).unwrap());
    assert_eq!(config.watches.len(), 1);
    assert_eq!(config.watches[0].name, "/srv/t");
    let paths = [&b"/srv/t"[..], odd].map(|p| WatchPath::Literal(RawPath::new(p)));
    assert_eq!(config.watches[0].paths, paths);
    let bad = RawPath::new(*b"/srv/\xff");
    assert_eq!(template(&facts("", &[], &[b"/srv/\xff"])), Err(TemplateError::NotUtf8(bad)));
    assert_eq!(template(&facts("", &[], &[b"srv"])), Err(TemplateError::NotAbsolute(RawPath::new(*b"srv"))));
}
