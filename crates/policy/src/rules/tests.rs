use super::*;
use crate::parse;
use waxseal_model::Attribute;

fn rules(text: &str) -> Rules {
    Rules::new(Arc::new(parse(text, "test").unwrap()))
}

fn raw(text: &str) -> RawPath {
    RawPath::new(text.as_bytes())
}

const NESTED: &str = r#"
    [[watch]]
    name = "all"
    paths = ["/"]
    recursion = 2
    [[watch]]
    name = "t"
    paths = ["/srv/t"]
    exclude = ["skip/"]
    [[watch]]
    name = "deep"
    paths = ["/srv/t/skip/deep", "/home/ann/.ssh"]
    [[watch]]
    name = "keys"
    paths = ["/home/*/.ssh", "/home/b*/.ssh/config"]
"#;

#[test]
fn the_deepest_path_decides() {
    let rules = rules(NESTED);
    for (path, name, root, relative) in [
        ("/", "all", "/", ""),
        ("/srv", "all", "/", "srv"),
        ("/srv/tgt", "all", "/", "srv/tgt"),
        ("/srv/t", "t", "/srv/t", ""),
        ("/srv/t/skip/x", "t", "/srv/t", "skip/x"),
        ("/srv/t/skip/deep/x", "deep", "/srv/t/skip/deep", "x"),
        ("/home/bob/.ssh", "keys", "/home/bob/.ssh", ""),
        ("/home/bob/.ssh/config", "keys", "/home/bob/.ssh/config", ""),
        ("/home/eve/.ssh/config", "keys", "/home/eve/.ssh", "config"),
        ("/home/ann/.ssh/config", "deep", "/home/ann/.ssh", "config"),
        ("/home/bob/x", "all", "/", "home/bob/x"),
    ] {
        let path = raw(path);
        let owner = rules.owner(&path).unwrap();
        assert_eq!(rules.watch(owner).unwrap().name, name, "{path}");
        assert_eq!((owner.root, owner.relative), (root.as_bytes(), relative.as_bytes()), "{path}");
    }
}

#[test]
fn selection_uses_the_owner_and_its_depth() {
    let rules = rules(NESTED);
    let select = |path: &str| rules.select(&raw(path), false).map(|(_, selection)| selection);
    assert_eq!(select("/srv/x"), Some(Selection::Selected));
    assert_eq!(select("/srv/x/y"), Some(Selection::Skipped), "too deep for the outer watch");
    assert_eq!(select("/srv/t/a/b/c"), Some(Selection::Selected));
    assert_eq!(select("/srv/t/skip/x"), Some(Selection::Skipped));
    assert_eq!(select("/srv/t/skip/deep/x"), Some(Selection::Selected));
}

#[test]
fn paths_outside_have_no_owner() {
    let rules = rules("[[watch]]\npaths = [\"/srv/t\"]");
    for path in ["/", "/srv", "/srv/tgt", "/srv/tgt/x", "", "srv/t"] {
        assert_eq!(rules.owner(&raw(path)), None, "{path}");
    }
}

#[test]
fn severities() {
    let config = parse(
        "[[watch]]\npaths = [\"/a\"]\nseverity = \"high\"\n[[watch]]\npaths = [\"/b\"]\nchange = \"additions-allowed\"\n\
         [[watch]]\npaths = [\"/c\"]\nseverity = \"info\"",
        "test",
    )
    .unwrap();
    let (high, additions, info) = (&config.watches[0], &config.watches[1], &config.watches[2]);
    let times = AttributeSet::TIMES;
    let mode = AttributeSet::of(&[Attribute::Mode, Attribute::Mtime]);
    let none = AttributeSet::EMPTY;
    assert_eq!(severity_of(high, ChangeKind::Modified, AttributeSet::CONTENT, false), Severity::High);
    assert_eq!(severity_of(high, ChangeKind::Metadata, times, false), Severity::Low);
    assert_eq!(severity_of(info, ChangeKind::Metadata, times, false), Severity::Info);
    assert_eq!(severity_of(high, ChangeKind::Metadata, mode, false), Severity::High);
    assert_eq!(severity_of(high, ChangeKind::Metadata, mode, true), Severity::Critical);
    // Nothing need differ when a file comes, goes or moves.
    assert_eq!(severity_of(high, ChangeKind::Removed, none, false), Severity::High);
    assert_eq!(severity_of(high, ChangeKind::Moved, none, false), Severity::High);
    assert_eq!(severity_of(additions, ChangeKind::Added, none, false), Severity::Info);
    assert_eq!(severity_of(additions, ChangeKind::Added, none, true), Severity::Critical);
    assert_eq!(severity_of(additions, ChangeKind::Modified, AttributeSet::CONTENT, false), Severity::Medium);
}
