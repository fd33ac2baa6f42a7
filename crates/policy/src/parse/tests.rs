use super::*;
use crate::config::{ChangeRule, Keep, Restore, Threads};
use crate::{Rules, Setting, SystemFacts, WatchPath, show, template};
use proptest::prelude::*;
use std::time::Duration;
use waxseal_model::actor::{Container, Parent};
use waxseal_model::{Actor, ActorSource, Algorithm, Attribute, AttributeSet, RawPath, Severity};

fn read(text: &str) -> Config {
    parse(text, "test.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// What is printed for a text that must not be taken.
fn errors(text: &str) -> String {
    match parse(text, "test.toml") {
        Ok(config) => panic!("taken: {config:?}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn who_may_write_is_read_and_judged() {
    let config = read(WHOLE);
    let watch = &config.watches[0];
    let otherwise: Vec<Severity> = watch.actors.iter().map(|rule| rule.otherwise).collect();
    assert_eq!(otherwise, [Severity::High, Severity::Critical]);
    let actor = |exe: &str, parents: &[&str]| {
        let path = |exe: &str| Some(RawPath::new(exe.as_bytes()));
        let parents = parents.iter().map(|exe| Parent { pid: 1, exe: path(exe) }).collect();
        Actor { source: Some(ActorSource::ExecCache), exe: path(exe), parents, ..Actor::default() }
    };
    let judge = |actors: &[Actor]| crate::severity_by(watch, Severity::Low, actors);
    let php = actor("/usr/sbin/php-fpm8.2", &["/sbin/init"]);
    let below = actor("/bin/sh", &["/usr/bin/git", "/sbin/init"]);
    assert_eq!(judge(&[]), Severity::Low);
    assert_eq!(judge(&[php.clone(), below.clone()]), Severity::Low);
    // A name that it gave itself, one among several, one that is not known, and one in a container.
    let named = Actor { args: vec!["/usr/bin/git".into()], ..actor("/bin/sh", &["/sbin/init"]) };
    assert_eq!(judge(&[php.clone(), named]), Severity::Critical);
    assert_eq!(judge(&[Actor::unknown(7)]), Severity::Critical);
    // What it was a moment before counts as much.
    let path = |text: &str| RawPath::new(text.as_bytes());
    let was = |earlier: &str| Actor { earlier: vec![path(earlier)], ..php.clone() };
    assert_eq!(judge(&[was("/bin/sh")]), Severity::Critical);
    assert_eq!(judge(&[was("/usr/bin/git")]), Severity::Low);
    assert_eq!(judge(&[Actor { earlier: vec![path("/bin/sh")], ..below.clone() }]), Severity::Low);
    assert_eq!(judge(&[Actor { earlier_cut: true, ..php.clone() }]), Severity::Critical);
    let container = Container { id: "1".into(), runtime: "docker".into(), pod: None };
    assert_eq!(judge(&[Actor { container: Some(container), ..php.clone() }]), Severity::Critical);
    assert_eq!(crate::severity_by(&config.watches[1], Severity::Low, &[Actor::unknown(7)]), Severity::Low);
    let wrong = errors("[[watch]]\npaths = [\"/etc\"]\n[[watch.actor]]\nprogram = [\"/a\"]\n");
    assert!(wrong.contains("programs"), "{wrong}");
    errors("[[watch]]\npaths = [\"/etc\"]\n[[watch.actor]]\nprograms = []\n");
    errors("[[watch]]\npaths = [\"/etc\"]\n[[watch.actor]]\nprograms = [\"dpkg\"]\n");
    errors("[[watch]]\npaths = [\"/etc\"]\n[watch.actor]\nprograms = [\"/a\"]\n");
}

#[test]
fn places_for_checkpoints_are_read_and_judged() {
    let config = read(WHOLE);
    assert_eq!(config.ledger.publish_every, Duration::from_secs(10));
    let [usb, command, witness] = &config.ledger.publish[..] else { panic!("{:?}", config.ledger) };
    assert_eq!((usb.name.as_str(), usb.timeout), ("usb", Duration::from_secs(5)));
    assert_eq!(usb.to, crate::PublishTo::Directory("/media/usb/waxseal".into()));
    assert_eq!((command.name.as_str(), command.timeout), ("/bin/keep", Duration::from_secs(30)));
    let url = "https://witness.example/prefix".to_owned();
    assert_eq!(witness.to, crate::PublishTo::Witness { url: url.clone(), key: "w+00000000+AA".into() });
    assert_eq!(witness.name, url);
    let with = |text: &str| errors(&format!("[[watch]]\npaths = [\"/etc\"]\n[ledger]\n{text}"));
    for (text, expected) in [
        ("publish_evry = \"1m\"", "did you mean `publish_every`"),
        ("publish_every = \"10ms\"", "at least a second"),
        ("publish = 1", "[[ledger.publish]]"),
        ("[ledger.publish]\nkind = \"directory\"\npath = \"/a\"", "[[ledger.publish]]"),
        ("[[ledger.publish]]\npath = \"/a\"", "has no `kind`"),
        ("[[ledger.publish]]\nkind = \"directroy\"", "did you mean `directory`"),
        ("[[ledger.publish]]\nkind = \"directory\"", "needs `path`"),
        ("[[ledger.publish]]\nkind = \"witness\"\nurl = \"https://a\"", "needs `url`, `key`"),
        ("[[ledger.publish]]\nkind = \"witness\"\nurl = \"ftp://a\"", "http"),
        ("[[ledger.publish]]\nkind = \"directory\"\npath = \"a\"", "absolute"),
        ("[[ledger.publish]]\nkind = \"directory\"\npth = \"/a\"", "did you mean `path`"),
        ("[[ledger.publish]]\nkind = \"command\"\nargv = [\"a\"]", "absolute path of a program"),
        ("[[ledger.publish]]\nkind = \"command\"\nargv = [\"/a\"]\ntimeout = 0", "at least a second"),
    ] {
        let told = with(text);
        assert!(told.contains(expected), "{text}: {told}");
    }
    let one = "[[ledger.publish]]\nkind = \"directory\"\npath = \"/a\"\n";
    assert!(with(&one.repeat(2)).contains("two places"));
    let many: String = (0..17).map(|n| one.replace("/a", &format!("/a{n}"))).collect();
    assert!(with(&many).contains("at most 16"));
}

#[test]
fn the_smallest_config_has_all_defaults() {
    let config = read("[[watch]]\npaths = [\"/etc\"]\n");
    let watch = &config.watches[0];
    assert_eq!(watch.name, "/etc");
    assert_eq!(watch.paths, [WatchPath::Literal(RawPath::new(*b"/etc"))]);
    assert_eq!(watch.attributes, AttributeSet::STANDARD);
    assert_eq!(
        (watch.severity, watch.change, watch.restore),
        (Severity::Medium, ChangeRule::Any, Restore::Manual)
    );
    assert_eq!(watch.keep, Keep { content: true, max_file: 1 << 20 });
    assert_eq!((watch.recursion, watch.cross_filesystems, watch.optional), (None, false, false));
    assert_eq!(config.scan.quick_every, Duration::from_secs(900));
    assert_eq!((config.scan.threads, config.scan.max_sparse), (Threads::Auto, 32 << 30));
    assert_eq!(config.scan.deadline, Duration::from_secs(30));
    assert!(!config.actors.audit_rules, "the audit system is somebody else's");
    assert_eq!(config.evidence.budget, 1 << 30);
    assert_eq!(config.ledger.heartbeat, Duration::from_secs(900));
    assert_eq!(config.ledger.detail_age, Duration::from_secs(1095 * 86_400));
    assert_eq!(config.ledger.detail_size, 4 << 30);
    assert_eq!(config.alerts.duration("settle"), Some(&Duration::from_secs(5)));
    assert!(config.unused.is_empty());
}

const WHOLE: &str = r#"
[[watch]]
name = "web root"
paths = ["/var/www", "/home/*/www"]
exclude = ["**/cache/**", "*.log", "!keep.log"]
include = ["*.php"]
attributes = ["content", "mode", "owner"]
severity = "high"
change = "additions-allowed"
keep = { content = true, max_file = "8 MiB" }
restore = "auto"
recursion = 3
cross_filesystems = true
optional = true

[[watch.actor]]
programs = ["/usr/sbin/php-fpm*", "/usr/bin/git"]
otherwise = "high"

[[watch.actor]]
programs = ["/usr/bin/rsync"]

[[watch]]
paths = ['/srv/a\[1\]']
attributes = "security"
change = "append-only"

[scan]
quick_every = "5m"
full_every = "7d"
cpu_budget = "50%"
threads = 4
hashes = ["blake3"]
max_sparse = "1 TiB"
deadline = "2m"

[actors]
audit_rules = true

[evidence]
budget = "4 GiB"

[ledger]
heartbeat = "1h"
detail_age = "400d"
detail_size = "2 GiB"
publish_every = "10s"

[[ledger.publish]]
name = "usb"
kind = "directory"
path = "/media/usb/waxseal"
timeout = "5s"

[[ledger.publish]]
kind = "command"
argv = ["/bin/keep", "a b"]

[[ledger.publish]]
kind = "witness"
url = "https://witness.example/prefix/"
key = "w+00000000+AA"

[alerts]
settle = 0
grouping = "change"
digest = "daily"
quiet_hours = "22:00-07:00"
repeat = "1h"

[[channel]]
name = "soc"
kind = "discord"
url = "https://discord.example/hook/s3cret"

[[channel]]
name = "mail"
kind = "email"
host = "localhost"
port = 25
tls = "none"
username = "u"
password_env = "SMTP_PASSWORD"
from = "a@example.org"
to = ["b@example.org", "c@example.org"]

[[channel]]
name = "script"
kind = "command"
argv = ["/bin/tell", "line\nbreak"]

[[channel]]
name = "syslog"
kind = "syslog"
address = "tls://logs.example.org:6514"

[[channel]]
name = "phone"
kind = "twilio"
account = "AC1"
token_file = "/etc/waxseal/twilio"

[[route]]
channels = ["soc", "mail"]
min_severity = "low"
watches = ["web root"]

[log]
file = "/var/log/waxseal/events.jsonl"
format = "ocsf"
rotate = { size = "1 GiB", keep = 3 }

[explain]
packages = ["dpkg"]
windows = ["Sun 02:00-04:00", "03:00-03:30"]

[reputation]
virustotal = { enabled = true, key = "vt-h1dden" }
hashlookup = { url = "http://127.0.0.1:9000/" }
hash_sets = { bad = ["/etc/waxseal/bad.txt"] }
yara = { rules = ["/etc/waxseal/rules.yar"] }

[dashboard]
listen = "[::1]:9000"

[fleet]
server = "https://gateway.example.org"
key_file = "/etc/waxseal/agent.key"
"#;

#[test]
fn the_whole_shape_is_taken() {
    let config = read(WHOLE);
    let watch = &config.watches[0];
    assert_eq!(watch.attributes, AttributeSet::of(&[Attribute::Content, Attribute::Mode, Attribute::Owner]));
    assert_eq!((watch.recursion, watch.keep.max_file), (Some(3), 8 << 20));
    assert_eq!(config.watches[1].name, "/srv/a\\\\[1\\\\]");
    assert_eq!(config.watches[1].paths, [WatchPath::Literal(RawPath::new(*b"/srv/a[1]"))]);
    assert_eq!(config.scan.hashes, [Algorithm::Sha256, Algorithm::Blake3]);
    assert_eq!((config.scan.threads, config.scan.cpu_budget), (Threads::Fixed(4), 50));
    assert_eq!(config.alerts.duration("settle"), Some(&Duration::ZERO));
    assert_eq!(config.alerts.windows("quiet_hours").map(<[_]>::len), Some(1));
    assert_eq!(config.channels[1].settings.integer("port"), Some(&25));
    assert_eq!(config.channels[1].settings.texts("to").map(<[_]>::len), Some(2));
    assert_eq!(config.log.table("rotate").and_then(|t| t.size("size")), Some(&(1 << 30)));
    assert_eq!(
        config.reputation.table("hashlookup").and_then(|t| t.text("url")),
        Some("http://127.0.0.1:9000")
    );
    assert_eq!(config.reputation.table("malwarebazaar").and_then(|t| t.flag("enabled")), Some(&false));
    assert_eq!(config.fleet.text("server"), Some("https://gateway.example.org"));
    assert_eq!(config.unused, crate::schema::UNUSED);
    assert_eq!(Rules::new(config.into()).config().routes[0].channels, ["soc", "mail"]);
}

#[test]
fn secrets_are_kept_and_never_shown() {
    let config = read(WHOLE);
    let url = config.channels[0].settings.secret("url");
    assert!(matches!(url, Some(crate::Secret::Given(text)) if text.reveal().ends_with("s3cret")));
    for text in [format!("{config:?}"), show(&config), errors(&WHOLE.replace("kind", "knid"))] {
        for secret in ["s3cret", "h1dden", "AC1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(show(&config).contains("# url = \"<set>\""));
    assert!(crate::show_json(&config)["channel"][0].get("url").is_none());
    assert!(show(&config).contains("password_env = \"SMTP_PASSWORD\""));
    let broken = "[[watch]]\npaths = [\"/etc\"]\n[[channel]]\nname = \"soc\"\nkind = \"discord\"\nurl = \"https://s3cret\n";
    assert!(!errors(broken).contains("s3cret"));
}

/// The config without the secrets that stand in it.
fn without_secrets(mut config: Config) -> Config {
    let bare = |settings: &mut Settings| {
        settings.0.retain(|_, s| !matches!(s, Setting::Secret(crate::Secret::Given(_))));
    };
    config.channels.iter_mut().for_each(|channel| bare(&mut channel.settings));
    for setting in config.reputation.0.values_mut() {
        if let Setting::Table(inner) = setting {
            bare(inner);
        }
    }
    config
}

#[test]
fn what_is_shown_reads_back_as_the_same_config() {
    for text in [
        WHOLE.to_owned(),
        "[[watch]]\npaths = [\"/etc\"]".to_owned(),
        template(&SystemFacts::default()).unwrap(),
    ] {
        let config = without_secrets(read(&text));
        assert_eq!(read(&show(&config)), config);
        let json = crate::show_json(&config);
        assert_eq!(json["watch"].as_array().map(Vec::len), Some(config.watches.len()));
        assert_eq!(json["watch"][0]["name"], config.watches[0].name);
        assert_eq!(json["scan"]["cpu_budget"], format!("{}%", config.scan.cpu_budget));
    }
}

/// Each row: the text, and what its errors must say, the line among it.
const BAD: &[(&str, &[&str])] = &[
    ("", &["there is no [[watch]]", "test.toml:1:1", "paths = [\"/etc\"]"]),
    ("watch = []", &["no watch in the list", "test.toml:1:9"]),
    ("watch = 3", &["`watch` must be a table", "write: [[watch]]"]),
    ("watch = [1]", &["`watch` must hold tables"]),
    ("[watch]\npaths = [\"/etc\"]", &["[watch] needs double brackets", "write: [[watch]]"]),
    ("[[watch]]\npaths = [\"/a\"]\n[[scan]]", &["`scan` must be a single table", "write: [scan]", ":3:"]),
    (
        "[[wach]]\npaths = [\"/etc\"]",
        &["unknown key `wach` in the config", "did you mean `watch`?", "test.toml:1:3"],
    ),
    (
        "[[watch]]\npath = [\"/etc\"]",
        &["unknown key `path` in [[watch]]", "did you mean `paths`?", "test.toml:2:1", "^^^^"],
    ),
    ("[[watch]]\npaths = [\"/etc\"]\nzzz = 1", &["unknown key `zzz`", "known here: `name`, `paths`"]),
    ("[[watch]]\nname = \"x\"", &["this watch has no `paths`", "test.toml:1:", "for example: paths"]),
    ("[[watch]]\npaths = []", &["the list is empty", "test.toml:2:9"]),
    (
        "[[watch]]\npaths = \"/etc\"",
        &["`paths` must be a list, not a string", "for example: paths = [\"/etc\"]"],
    ),
    ("[[watch]]\npaths = [1]", &["`paths` must be a string, not an integer", "test.toml:2:10"]),
    ("[[watch]]\npaths = [\"etc\"]", &["bad path `etc`: the path must be absolute", "test.toml:2:10"]),
    ("[[watch]]\npaths = [\"~/x\"]", &["bad path `~/x`", "/home/*/"]),
    ("[[watch]]\npaths = [\"$HOME/x\"]", &["environment variables are not expanded"]),
    ("[[watch]]\npaths = [\"\"]", &["the path is empty"]),
    ("[[watch]]\npaths = [\"/a/../b\"]", &["must not contain '..'"]),
    ("[[watch]]\npaths = [\"/a/**\"]", &["'**' has no place in a path"]),
    (
        "[[watch]]\npaths = [\"/a/[b\"]",
        &["the part '[b' is not a valid glob: unclosed character class", "a backslash before"],
    ),
    ("[[watch]]\npaths = [\"/a\", \"/a/\"]", &["`/a` is listed twice", "test.toml:2:16"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[watch]]\npaths = [\"/a\"]\nname = \"b\"",
        &["`/a` is in two watches", "test.toml:4:10"],
    ),
    (
        "[[watch]]\nname = \"x\"\npaths = [\"/a\"]\n[[watch]]\nname = \"x\"\npaths = [\"/b\"]",
        &["two watches are named `x`", "test.toml:5:8"],
    ),
    ("[[watch]]\nname = \"a\\nb\"\npaths = [\"/a\"]", &["bad `name`: it holds control", "test.toml:2:8"]),
    ("[[watch]]\nname = \"a\\u202eb\"\npaths = [\"/a\"]", &["bad `name`: it holds control"]),
    ("[[watch]]\nname = \" a\"\npaths = [\"/a\"]", &["begins or ends with a blank"]),
    ("[[watch]]\nname = \"\"\npaths = [\"/a\"]", &["bad `name`: it is empty"]),
    (
        "[[watch]]\npaths = [\"/a\"]\nexclude = [\"ok\", \"[a\"]",
        &["bad glob `[a`", "unclosed character class", "test.toml:3:18"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\nexclude = [\"/a/b\"]",
        &["begins with the watch's own path", "relative to each path"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\ninclude = [\"!b\"]", &["bad glob `!b`", "'!' belongs in `exclude`"]),
    ("[[watch]]\npaths = [\"/a\"]\nexclude = \"b\"", &["`exclude` must be a list, not a string", "*.log"]),
    (
        "[[watch]]\npaths = [\"/a\"]\nattributes = \"standart\"",
        &["did you mean `standard`?", "groups: `content`"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\nattributes = \"mode\"", &["write a list: attributes = [\"mode\"]"]),
    (
        "[[watch]]\npaths = [\"/a\"]\nattributes = [\"mod\"]",
        &["`attributes` cannot be `mod`", "did you mean `mode`?", "`links`"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\nattributes = []", &["no change would count"]),
    (
        "[[watch]]\npaths = [\"/a\"]\nattributes = 1",
        &["the name of a group, or a list of names, not an integer"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\nseverity = \"hihg\"",
        &["did you mean `high`?", "Allowed: `info`, `low`, `medium`"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\nseverity = 3",
        &["`severity` must be one of", "not an integer", "severity = \"high\""],
    ),
    ("[[watch]]\npaths = [\"/a\"]\nchange = \"append\"", &["`append-only`", "`additions-allowed`"]),
    (
        "[[watch]]\npaths = [\"/a\"]\nrestore = true",
        &["`restore` must be one of `manual`, `auto`, not a boolean"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\nkeep = true", &["`keep` must be a table", "max_file = \"1 MiB\""]),
    (
        "[[watch]]\npaths = [\"/a\"]\nkeep = { max = \"1 MiB\" }",
        &["unknown key `max` in `keep`", "did you mean `max_file`?"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\nkeep = { max_file = \"1 meg\" }",
        &["a size is a whole number and a unit", "8 MiB"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\nrecursion = -1", &["\"unlimited\" or a whole number"]),
    ("[[watch]]\npaths = [\"/a\"]\nrecursion = \"deep\"", &["\"unlimited\" or a whole number"]),
    ("[[watch]]\npaths = [\"/a\"]\noptional = \"yes\"", &["`optional` must be true or false, not a string"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[scan]\nquick_every = \"soon\"",
        &["a duration is a whole number", "quick_every = \"15m\""],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[scan]\nfull_every = \"0s\"", &["at least a second"]),
    ("[[watch]]\npaths = [\"/a\"]\n[ledger]\nheartbeat = \"10ms\"", &["at least a second, or 0"]),
    ("[[watch]]\npaths = [\"/a\"]\n[ledger]\ndetail_age = \"6d\"", &["at least a week"]),
    ("[[watch]]\npaths = [\"/a\"]\n[ledger]\ndetail_size = \"1 KiB\"", &["at least 1 MiB"]),
    ("[[watch]]\npaths = [\"/a\"]\n[ledger]\nhartbeat = 0", &["did you mean `heartbeat`"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[scan]\nquick_every = 5",
        &["`quick_every` must be a string, not an integer"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[scan]\ncpu_budget = \"300%\"", &["from 1 to 100", "\"10%\""]),
    ("[[watch]]\npaths = [\"/a\"]\n[scan]\nthreads = 65", &["from 1 to 64"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[scan]\nhashes = [\"md5\"]",
        &["`hashes` cannot be `md5`", "`sha256`, `blake3`, `sha512`"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[[channel]]\nkind = \"discord\"", &["this channel has no `name`"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"",
        &["this channel has no `kind`", "`pagerduty`"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"discrod\"",
        &["did you mean `discord`?"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"ntfy\"\ntokn_file = \"/x\"",
        &["unknown key `tokn_file` in a channel of kind \"ntfy\"", "did you mean `token_file`?"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"slack\"\nurl = \"x\"\nurl_env = \"Y\"",
        &["`url` is given more than once"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"slack\"\nurl_env = \"1 X\"",
        &["environment variable"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"journald\"\n[[channel]]\nname = \"a\"\nkind = \"journald\"",
        &["two channels are named `a`", "test.toml:7:8"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"syslog\"\naddress = \"logs\"",
        &["tls://HOST:PORT"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[channel]]\nname = \"a\"\nkind = \"command\"\nargv = [\"tell\"]",
        &["absolute path"],
    ),
    (
        "[[watch]]\npaths = [\"/a\"]\n[[route]]\nchannels = [\"soc\"]",
        &["there is no channel named `soc`", "no [[channel]] yet"],
    ),
    (
        "[[watch]]\nname = \"web\"\npaths = [\"/a\"]\n[[channel]]\nname = \"soc\"\nkind = \"journald\"\n[[route]]\nchannels = [\"sco\"]\nwatches = [\"wbe\"]",
        &["no channel named `sco`", "did you mean `soc`?", "no watch named `wbe`", "did you mean `web`?"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[[route]]\nchannels = []", &["the route leads nowhere"]),
    ("[[watch]]\npaths = [\"/a\"]\n[[route]]", &["this route has no `channels`"]),
    ("[[watch]]\npaths = [\"/a\"]\n[alerts]\nquiet_hours = \"at night\"", &["a window is HH:MM-HH:MM"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[dashboard]\nlisten = \"localhost\"",
        &["an IP address and a port", "127.0.0.1:"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[fleet]\nserver = \"ftp://x\"", &["https:// or http://"]),
    (
        "[[watch]]\npaths = [\"/a\"]\n[fleet]\nserver = \"https://u:p@x\"",
        &["does not belong into an address"],
    ),
    ("[[watch]]\npaths = [\"/a\"]\n[log]\nfile = \"x.log\"", &["absolute path"]),
    ("[[watch]\npaths = 1", &["this is not TOML", "test.toml:1:"]),
    ("[[watch]]\npaths = [\"/a\"", &["this is not TOML"]),
    ("[[watch]]\npaths = [\"/a\"]\npaths = [\"/b\"]", &["this is not TOML: duplicate key", "test.toml:3:1"]),
];

#[test]
fn every_error_names_its_line_and_a_way_out() {
    for (text, parts) in BAD {
        let shown = errors(text);
        for part in *parts {
            assert!(shown.contains(part), "{part:?} is not in the errors of\n{text}\n\n{shown}");
        }
        assert!(
            shown.contains('^') && shown.contains("--> test.toml:") && shown.contains("help: "),
            "{shown}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once_and_in_order() {
    let text = "[[watch]]\npath = [\"/etc\"]\nseverity = \"hgih\"\nexclude = [\"[\", \"{\"]\n[scan]\nthreads = 0\ncpu = 1\n";
    let found = parse(text, "x").unwrap_err();
    let lines: Vec<usize> = found.problems().iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 4, 6, 7], "{found}");
    assert_eq!(found.problems()[2].column, 12);
}

#[test]
fn output_is_safe_and_bounded() {
    let hostile = errors("[[watch]]\npaths = [\"/a\"]\n\"\\u001b[2J\\u202e\" = 1 # \u{202e}\u{9b}\u{200b}\n");
    assert!(!hostile.chars().any(|c| c != '\n' && waxseal_model::escape::is_deceptive(c)), "{hostile:?}");
    assert!(hostile.contains("\\u{1b}[2J\\u{202e}"));
    let many = format!(
        "[[watch]]\npaths = [\"/a\"]\n{}",
        (0..200).map(|i| format!("k{i} = 1\n")).collect::<String>()
    );
    let shown = errors(&many);
    assert!(shown.contains("and 170 more problems"), "{shown}");
    let long = errors(&format!("[[watch]]\npaths = [\"/a\"]\n{} = 1", "k".repeat(100_000)));
    assert!(long.len() < 4000, "{}", long.len());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|[\\[\\]{}=\"'#.,\\n a-z0-9\\\\]{0,80}") {
        if let Err(errors) = parse(&text, "x") {
            prop_assert!(!errors.problems().is_empty());
            let _ = (errors.to_string(), format!("{errors:?}"));
        }
    }

    /// Damage to a good config: bytes cut out, doubled or replaced.
    #[test]
    fn no_damage_panics(at in 0..WHOLE.len(), length in 0usize..40, with in "[\\[\\]{}=\"'#.,\\n a-z0-9\u{e9}\u{202e}]{0,6}") {
        let at = WHOLE.floor_char_boundary(at);
        let end = WHOLE.ceil_char_boundary((at + length).min(WHOLE.len()));
        let text = format!("{}{with}{}", &WHOLE[..at], &WHOLE[end..]);
        match parse(&text, "x") {
            Ok(config) => {
                let config = without_secrets(config);
                prop_assert_eq!(read(&show(&config)), config);
            }
            Err(errors) => {
                let shown = errors.to_string();
                prop_assert!(!shown.is_empty());
                // Unless the damage made the secret the value of another key, such as a name.
                let secrets = [
                    ("url = \"https://discord.example/hook/s3cret\"", "s3cret"),
                    ("key = \"vt-h1dden\"", "h1dden"),
                ];
                for (line, secret) in secrets {
                    prop_assert!(!text.contains(line) || !shown.contains(secret), "{}", shown);
                }
            }
        }
    }

    /// Watches of every shape come back from what is shown of them.
    #[test]
    fn watches_round_trip(
        name in "[a-zA-Z0-9\"\\\\é]([a-z \"'#]{0,8}[a-z])?",
        path in "(/[a-z*? \"'\\n]{1,5}){1,3}",
        exclude in prop::collection::vec("!?/?[a-z*?\"]{1,5}/?", 0..4),
        bits in 1u32..1 << 17,
        depth in prop::option::of(0u32..100),
        max_file: u32,
        flags: [bool; 3],
        choice in 0usize..3,
    ) {
        let list: Vec<&str> = AttributeSet::from_bits(bits).iter().map(Attribute::name).collect();
        let text = format!(
            "[[watch]]\nname = {}\npaths = {}\nexclude = {}\nattributes = {list:?}\nseverity = {:?}\nchange = {:?}\n\
             keep = {{ content = {}, max_file = \"{max_file} B\" }}\nrecursion = {}\ncross_filesystems = {}\noptional = {}\n",
            crate::show::quote(&name),
            crate::show::quote_list([&path]),
            crate::show::quote_list(&exclude),
            Severity::ALL[choice].name(),
            ChangeRule::ALL[choice].name(),
            flags[0],
            depth.map_or("\"unlimited\"".to_owned(), |d| d.to_string()),
            flags[1],
            flags[2],
        );
        if let Ok(config) = parse(&text, "x") {
            prop_assert_eq!(read(&show(&config)), config);
        }
    }
}
