use super::*;
use crate::parse;
use Selection::*;
use proptest::prelude::*;

/// A watch with these lists.
fn watch(exclude: &[&str], include: &[&str]) -> Watch {
    let text = format!("[[watch]]\npaths = [\"/srv/t\"]\nexclude = {exclude:?}\ninclude = {include:?}\n");
    parse(&text, "test").unwrap().watches.remove(0)
}

/// Each row: the excludes, the includes, and what becomes of entries (a trailing slash marks a directory).
type Row = (&'static [&'static str], &'static [&'static str], &'static [(&'static str, Selection)]);

const TABLE: &[Row] = &[
    // No rules.
    (&[], &[], &[("", Selected), ("a", Selected), ("a/b/", Selected)]),
    // A name at any depth, and everything below a directory of that name.
    (
        &["cache"],
        &[],
        &[
            ("", Selected),
            ("cache", Skipped),
            ("a/cache/", Skipped),
            ("a/cache/b/c", Skipped),
            ("cached", Selected),
        ],
    ),
    // Exactly: anchored by a leading slash or one in the middle.
    (&["/mtab"], &[], &[("mtab", Skipped), ("a/mtab", Selected)]),
    (&["a/b"], &[], &[("a/b", Skipped), ("a/b/c", Skipped), ("x/a/b", Selected), ("a", Selected)]),
    // Directories only.
    (&["tmp/"], &[], &[("tmp", Selected), ("tmp/", Skipped), ("x/tmp/", Skipped), ("tmp/f", Skipped)]),
    // By extension, which is also a whole name.
    (&["*.log"], &[], &[("x.log", Skipped), (".log", Skipped), ("d/x.log", Skipped), ("x.log.1", Selected)]),
    // The contents and not the directory.
    (&["**/cache/**"], &[], &[("cache/", Selected), ("cache/x", Skipped), ("a/cache/b/c", Skipped)]),
    (&["a/**"], &[], &[("a/", Selected), ("a/b/c", Skipped), ("x/a/b", Selected)]),
    (&["a/**/z"], &[], &[("a/z", Skipped), ("a/b/c/z", Skipped), ("b/a/z", Selected)]),
    // One star stays within a component; a question mark and a class are one byte, never a slash.
    (&["/a/*/c"], &[], &[("a/b/c", Skipped), ("a/b/b/c", Selected)]),
    (&["/a?b", "/c[^x]d"], &[], &[("a/b", Selected), ("axb", Skipped), ("c/d", Selected), ("cyd", Skipped)]),
    (&["*.{bak,old}", "v[0-9]"], &[], &[("a.old", Skipped), ("v1", Skipped), ("v10", Selected)]),
    // Stars within a word are ordinary stars.
    (&["a**b"], &[], &[("ab", Skipped), ("axxb", Skipped), ("a/b", Selected)]),
    // Escapes.
    (&["\\!important", "\\*"], &[], &[("!important", Skipped), ("*", Skipped), ("x", Selected)]),
    // The last match decides.
    (&["*.log", "!keep.log"], &[], &[("a.log", Skipped), ("d/keep.log", Selected)]),
    (&["!keep.log", "*.log"], &[], &[("keep.log", Skipped)]),
    // A directory taken back does not take back what another glob excludes in it, as in git.
    (&["*.log", "!important/"], &[], &[("important/x.log", Skipped), ("important/x", Selected)]),
    // A child of an excluded parent taken back: the parents are walked for it.
    (
        &["cache/", "!cache/keep/"],
        &[],
        &[
            ("cache/", WalkOnly),
            ("cache/other/", Skipped),
            ("cache/keep/", Selected),
            ("cache/keep/x", Selected),
            ("cache/x", Skipped),
            ("d/cache/", Skipped),
        ],
    ),
    (
        &["cache/", "!*.conf"],
        &[],
        &[("cache/", WalkOnly), ("cache/d/", WalkOnly), ("cache/d/a.conf", Selected), ("cache/d/a", Skipped)],
    ),
    (
        &["*", "!/a/b/c"],
        &[],
        &[("a/", WalkOnly), ("a/b/", WalkOnly), ("a/b/c", Selected), ("a/x/", Skipped), ("b/", Skipped)],
    ),
    (
        &["/a", "!/a/**/z"],
        &[],
        &[("a/", WalkOnly), ("a/b/", WalkOnly), ("a/b/z", Selected), ("a/b/y", Skipped)],
    ),
    // What was taken back too early stays out.
    (&["!a/keep", "a/"], &[], &[("a/keep", Skipped), ("a/", Skipped)]),
    // An exclude between two that decide, deeper down.
    (
        &["*.log", "!y", "logs/"],
        &[],
        &[("logs/x.log/y", Skipped), ("logs/y", Skipped), ("x.log/y", Selected)],
    ),
    // Includes choose files; directories are walked.
    (
        &[],
        &["*.conf", "/bin/"],
        &[
            ("", Selected),
            ("a.conf", Selected),
            ("d/", WalkOnly),
            ("d/a.conf", Selected),
            ("d/a", Skipped),
            ("bin/", Selected),
            ("bin/x/y", Selected),
            ("d/bin/x", Skipped),
            ("bin", Skipped),
        ],
    ),
    // Excludes win.
    (&["secret.conf"], &["*.conf"], &[("secret.conf", Skipped), ("a.conf", Selected)]),
    (&["d/", "!d/a.conf"], &["*.conf"], &[("d/", WalkOnly), ("d/a.conf", Selected), ("d/b.conf", Skipped)]),
];

#[test]
fn table_of_selections() {
    for (exclude, include, rows) in TABLE {
        let watch = watch(exclude, include);
        for (entry, expected) in *rows {
            let path = entry.trim_end_matches('/');
            let got = watch.select(path.as_bytes(), path.len() < entry.len());
            assert_eq!(got, *expected, "exclude {exclude:?} include {include:?}: {entry:?}");
        }
    }
}

#[test]
fn names_are_bytes() {
    let watch = watch(&["*.log", "/a?c"], &[]);
    assert_eq!(watch.select(b"\xff\xfe.log", false), Skipped);
    assert_eq!(watch.select(b"d\xff/x\n.log", false), Skipped);
    assert_eq!(watch.select(b"a\xffc", false), Skipped);
    assert_eq!(watch.select(b"a\nc", false), Skipped);
    assert_eq!(watch.select(b"\xff", false), Selected);
    assert_eq!(self::watch(&["*"], &[]).select(b"\xff\n\x1b", false), Skipped);
}

#[test]
fn bad_globs_are_named() {
    let compile = |glob: &str| Patterns::exclude(&[glob.to_owned()]).map_err(|mut e| e.remove(0).1);
    for (glob, problem) in [
        ("", GlobProblem::Empty),
        ("/", GlobProblem::Empty),
        ("!", GlobProblem::Empty),
        ("a//b", GlobProblem::EmptyPart),
        ("a/../b", GlobProblem::Dots),
        ("./a", GlobProblem::Dots),
        ("a\0", GlobProblem::Nul),
    ] {
        assert_eq!(compile(glob), Err(problem), "{glob:?}");
    }
    for glob in ["[a", "a/{b", "}", "a\\", "[z-a]", "{a/b}"] {
        assert!(matches!(compile(glob), Err(GlobProblem::Part(..))), "{glob:?}");
    }
    let include = Patterns::include(&["!a".to_owned()]);
    assert_eq!(include, Err(vec![(0, GlobProblem::NegatedInclude)]));
}

#[test]
fn depth_counts_from_the_path_itself() {
    let mut watch = watch(&[], &[]);
    assert!(watch.depth_allows(b"a/b/c/d"));
    watch.recursion = Some(0);
    assert!(watch.depth_allows(b"") && !watch.depth_allows(b"a"));
    watch.recursion = Some(1);
    assert!(watch.depth_allows(b"a") && !watch.depth_allows(b"a/b"));
    watch.recursion = Some(2);
    assert!(watch.depth_allows(b"a/b") && !watch.depth_allows(b"a/b/c"));
}

const GLOBS: &str = "!?/?(\\*\\*/)?[ab*?]{1,3}(/[ab*]{1,2}|/\\*\\*)?/?";

proptest! {
    /// A walk that carries the scope along agrees with the question about a path on its own, and never stops
    /// above something that is selected.
    #[test]
    fn walk_and_question_agree(
        exclude in prop::collection::vec(GLOBS, 0..5),
        include in prop::collection::vec(GLOBS, 0..3),
        path in prop::collection::vec("[abc]{1,2}", 1..5),
        is_directory: bool,
    ) {
        let include: Vec<String> = include.iter().map(|g| g.trim_start_matches('!').to_owned()).collect();
        let (Ok(exclude), Ok(include)) = (Patterns::exclude(&exclude), Patterns::include(&include)) else { return Ok(()) };
        let mut watch = watch(&[], &[]);
        (watch.exclude, watch.include) = (exclude, include);

        let whole = path.join("/");
        let mut scope = watch.root_scope();
        let mut walked = true;
        for depth in 1..path.len() {
            let directory = path[..depth].join("/");
            walked = walked && watch.select_in(scope, directory.as_bytes(), true) != Skipped;
            scope = watch.descend(scope, directory.as_bytes());
        }
        let asked = watch.select(whole.as_bytes(), is_directory);
        prop_assert_eq!(watch.select_in(scope, whole.as_bytes(), is_directory), asked);
        if asked == Selected {
            prop_assert!(walked, "the walk stops above {} with {:?}", whole, watch);
        }
    }

    #[test]
    fn no_glob_and_no_name_panics(glob: String, odd in r"[!a\[\]{}*?^,:/\\\-]{0,12}", name: Vec<u8>) {
        for glob in [glob, odd] {
            if let Ok(patterns) = Patterns::exclude(&[glob]) {
                let mut watch = watch(&[], &[]);
                watch.exclude = patterns;
                let _ = (watch.select(&name, true), watch.select(&name, false));
            }
        }
    }
}
