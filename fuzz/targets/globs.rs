//! Patterns and paths. The first line is a path of a watch, the second one an exclude, the third one an include; what
//! follows is the name of a file.
#![no_main]

use std::sync::Arc;
use waxseal_model::RawPath;
use waxseal_policy::{Rules, WatchPath, parse};

/// As a literal string of TOML, which knows no escapes.
fn quoted(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = text.chars().all(|c| c != '\'' && !c.is_control());
    plain.then(|| format!("'{text}'"))
}

fn run(bytes: &[u8]) -> Option<()> {
    let mut lines = bytes.splitn(4, |b| *b == b'\n');
    let (path, exclude, include, name) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let watched = WatchPath::parse(std::str::from_utf8(path).ok()?);
    let [path, exclude, include] = [path, exclude, include].map(quoted);
    let include = if include.as_deref() == Some("''") { String::new() } else { include? };
    let text = format!("[[watch]]\npaths = [{}]\nexclude = [{}]\ninclude = [{include}]", path?, exclude?);
    let config = parse(&text, "fuzz").ok()?;
    assert!(watched.is_ok(), "a path that the config takes: {text}");
    let rules = Rules::new(Arc::new(config));
    let file = RawPath::normalized(&[b"/", name].concat()).ok()?;
    for is_directory in [true, false] {
        let _ = rules.select(&file, is_directory);
    }
    if let Ok(WatchPath::Glob(glob)) = watched {
        let owns = rules.owner(&file).is_some();
        assert!(owns || !glob.matches(&file), "{text}");
    }
    Some(())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = run(bytes);
});
