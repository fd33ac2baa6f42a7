//! `[[watch]]`

use super::problems::Problems;
use super::reader::{Field, Table, list, nearest, shown};
use crate::config::{ActorRule, ChangeRule, Keep, Restore, Watch};
use crate::paths::{WatchPath, WatchPathError};
use crate::select::{GlobProblem, Patterns};
use crate::units;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use toml::de::DeValue;
use waxseal_model::{Attribute, AttributeSet, Severity, escape};

/// All watches. `span` is where the section stands.
pub(super) fn read_all(
    tables: Vec<Table<'_, '_>>,
    span: Range<usize>,
    problems: &mut Problems,
) -> Vec<Watch> {
    if tables.is_empty() {
        problems.add(
            span,
            "there is no watch in the list, so nothing would be watched",
            super::EXAMPLE_WATCH,
        );
    }
    let mut seen = Seen::default();
    let mut watches = Vec::new();
    for table in tables {
        let (watch, name_span) = read(table, &mut seen, problems);
        seen.name(&watch.name, name_span, problems);
        watches.push(watch);
    }
    watches
}

/// What may stand only once among all watches.
#[derive(Default)]
struct Seen {
    names: HashSet<String>,
    /// The text of each path, and the number of its watch.
    paths: HashMap<String, usize>,
    watches: usize,
}

impl Seen {
    fn name(&mut self, name: &str, span: Range<usize>, problems: &mut Problems) {
        self.watches += 1;
        // Empty when it could not be read, which has been told.
        if !name.is_empty() && !self.names.insert(name.to_owned()) {
            let message = format!("two watches are named `{}`", shown(name));
            problems.add(span, message, "give each watch a `name` of its own");
        }
    }

    fn path(&mut self, path: &WatchPath, span: Range<usize>, problems: &mut Problems) {
        let Some(text) = path.text() else { return };
        let shown = shown(&text);
        match self.paths.insert(text, self.watches) {
            None => {}
            Some(watch) if watch == self.watches => {
                problems.add(span, format!("`{shown}` is listed twice"), "remove one of the two");
            }
            Some(_) => problems.add(
                span,
                format!("`{shown}` is in two watches, so it is not clear whose rules hold"),
                "keep it in one of them; a path below it may have a watch of its own",
            ),
        }
    }
}

/// A watch and the place that gave its name.
fn read(mut table: Table<'_, '_>, seen: &mut Seen, problems: &mut Problems) -> (Watch, Range<usize>) {
    let mut name_span = table.span.clone();
    let name = table.field("name", "\"web root\"").and_then(|field| {
        name_span = field.span();
        name(&field, problems)
    });
    let paths = match table.field("paths", "[\"/etc\"]") {
        Some(field) => {
            if name.is_none() {
                name_span = field.span();
            }
            paths(&field, seen, problems)
        }
        None => {
            problems.add(table.span.clone(), "this watch has no `paths`", "for example: paths = [\"/etc\"]");
            Vec::new()
        }
    };
    let exclude = table.field("exclude", "[\"*.log\", \"**/cache/**\"]");
    let exclude = exclude.map(|field| globs(&field, Patterns::exclude, &paths, problems));
    let include = table.field("include", "[\"*.conf\"]");
    let include = include.map(|field| globs(&field, Patterns::include, &paths, problems));
    let attributes = table.field("attributes", "\"standard\"").and_then(|field| attributes(&field, problems));
    let severity = table.field("severity", "\"high\"").and_then(|field| severity(&field, problems));
    let change = table.field("change", "\"any\"");
    let change = change.and_then(|f| choice(&f, ChangeRule::ALL, ChangeRule::name, problems));
    let keep = table.field("keep", "{ content = true, max_file = \"1 MiB\" }");
    let keep = keep.and_then(|field| field.table(problems)).map(|table| read_keep(table, problems));
    let restore = table.field("restore", "\"manual\"");
    let restore = restore.and_then(|f| choice(&f, Restore::ALL, Restore::name, problems));
    let recursion = table.field("recursion", "\"unlimited\"").and_then(|field| recursion(&field, problems));
    let mut flag = |key| table.field(key, "true").and_then(|field| field.flag(problems)).unwrap_or(false);
    let (cross_filesystems, optional) = (flag("cross_filesystems"), flag("optional"));
    let actors = table.field("actor", "[{ programs = [\"/usr/bin/dpkg\"] }]");
    let actors = actors.map(|field| super::tables_of(&field, problems)).unwrap_or_default();
    let actors = actors.into_iter().map(|table| read_actor(table, problems)).collect();
    table.finish(problems);

    let first = paths.first().and_then(WatchPath::text);
    let first = first.map(|text| escape::for_people(text.as_bytes()));
    let watch = Watch {
        name: name.or(first).unwrap_or_default(),
        paths,
        exclude: exclude.unwrap_or_default(),
        include: include.unwrap_or_default(),
        attributes: attributes.unwrap_or(AttributeSet::STANDARD),
        severity: severity.unwrap_or(Severity::Medium),
        change: change.unwrap_or(ChangeRule::Any),
        keep: keep.unwrap_or_default(),
        restore: restore.unwrap_or(Restore::Manual),
        recursion: recursion.flatten(),
        cross_filesystems,
        optional,
        actors,
    };
    (watch, name_span)
}

/// A name that people and other sections use.
pub(super) fn name(field: &Field<'_, '_>, problems: &mut Problems) -> Option<String> {
    let text = field.line(problems)?;
    if text.trim() != text {
        return field.bad("it begins or ends with a blank", problems);
    }
    Some(text.to_owned())
}

fn paths(field: &Field<'_, '_>, seen: &mut Seen, problems: &mut Problems) -> Vec<WatchPath> {
    let Some(elements) = field.list(problems) else { return Vec::new() };
    if elements.is_empty() {
        field.bad::<()>("the list is empty, so the watch would watch nothing", problems);
    }
    let mut paths = Vec::new();
    for element in elements {
        let Some(text) = element.string(problems) else { continue };
        match WatchPath::parse(text) {
            Ok(path) => {
                seen.path(&path, element.span(), problems);
                paths.push(path);
            }
            Err(error) => {
                let message = format!("bad path `{}`: {error}", shown(text));
                problems.add(element.span(), message, path_hint(text, &error));
            }
        }
    }
    paths
}

fn path_hint(text: &str, error: &WatchPathError) -> String {
    match error {
        WatchPathError::NotAbsolute if text.starts_with('~') => {
            "write the home directory in full, or /home/*/… for everybody's".to_owned()
        }
        WatchPathError::NotAbsolute if text.contains('$') => {
            "environment variables are not expanded: write the path in full".to_owned()
        }
        WatchPathError::NotAbsolute => "for example: paths = [\"/etc\"]".to_owned(),
        WatchPathError::Glob(..) => {
            "a backslash before *, ?, [, ], { or } takes the character as it is; write '\\\\[' in double quotes".to_owned()
        }
        _ => "for example: paths = [\"/etc\", \"/home/*/.ssh\"]".to_owned(),
    }
}

type Compile = fn(&[String]) -> Result<Patterns, Vec<(usize, GlobProblem)>>;

fn globs(field: &Field<'_, '_>, compile: Compile, paths: &[WatchPath], problems: &mut Problems) -> Patterns {
    let Some(elements) = field.list(problems) else { return Patterns::default() };
    let mut spans = Vec::new();
    let mut sources = Vec::new();
    for element in elements {
        let Some(text) = element.string(problems) else { continue };
        if let Some(path) = paths.iter().find_map(|path| within(text, path, paths.len() == 1)) {
            problems.add(
                element.span(),
                format!("the glob `{}` begins with the watch's own path", shown(text)),
                format!(
                    "globs are relative to each path of the watch: write what comes after {}",
                    shown(&path)
                ),
            );
            continue;
        }
        spans.push(element.span());
        sources.push(text.to_owned());
    }
    match compile(&sources) {
        Ok(patterns) => patterns,
        Err(bad) => {
            for (index, why) in bad {
                let span = spans.get(index).cloned().unwrap_or_else(|| field.span());
                let source = sources.get(index).map_or("", String::as_str);
                problems.add(span, format!("bad glob `{}`: {why}", shown(source)), GLOB_HINT);
            }
            Patterns::default()
        }
    }
}

const GLOB_HINT: &str =
    "globs are as in a .gitignore, relative to each path: *.log, /only/here, **/cache/**, tmp/";

/// The watch's path that an absolute glob repeats. It would be looked for below that path, and never be found. With
/// several paths a short one proves nothing: `/lib/x` may be meant for `/usr` when `/lib` stands beside it.
fn within(glob: &str, path: &WatchPath, alone: bool) -> Option<String> {
    let path =
        path.text().filter(|path| path.rfind('/').is_some_and(|last| alone && path.len() > 1 || last > 0))?;
    let rest = glob.strip_prefix('!').unwrap_or(glob).strip_prefix(path.as_str())?;
    (rest.is_empty() || rest.starts_with('/')).then_some(path)
}

fn attributes(field: &Field<'_, '_>, problems: &mut Problems) -> Option<AttributeSet> {
    let groups: Vec<&str> = AttributeSet::GROUPS.iter().map(|(name, _)| *name).collect();
    let names: Vec<&str> = Attribute::ALL.iter().map(|a| a.name()).collect();
    match field.raw() {
        DeValue::String(text) => {
            let set = AttributeSet::group(text);
            if set.is_none() {
                let known: Vec<&str> = groups.iter().chain(&names).copied().collect();
                let message = format!("`{}` is no group of attributes", shown(text));
                let hint = match Attribute::from_name(text) {
                    Some(one) => format!("write a list: attributes = [\"{}\"]", one.name()),
                    None => format!(
                        "{}\ngroups: {}; or a list of: {}",
                        nearest(text, &known),
                        list(&groups),
                        list(&names)
                    ),
                };
                problems.add(field.span(), message, hint);
            }
            set
        }
        DeValue::Array(array) if array.is_empty() => {
            field.bad("the list is empty, so no change would count", problems)
        }
        DeValue::Array(_) => {
            let elements = field.list(problems)?;
            let found = elements.iter().filter_map(|e| e.one_of(&names, problems)).collect::<Vec<_>>();
            Some(found.iter().filter_map(|i| Attribute::ALL.get(*i).copied()).collect())
        }
        _ => field.wrong("the name of a group, or a list of names", problems),
    }
}

pub(super) fn severity(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Severity> {
    choice(field, Severity::ALL, Severity::name, problems)
}

fn choice<T: Copy, const N: usize>(
    field: &Field<'_, '_>,
    all: [T; N],
    name: fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    field.one_of(&all.map(name), problems).and_then(|index| all.get(index).copied())
}

/// `[[watch.actor]]`
fn read_actor(table: Table<'_, '_>, problems: &mut Problems) -> ActorRule {
    let mut table = table.called("[[watch.actor]]".into());
    let mut programs = Vec::new();
    match table.field("programs", "[\"/usr/bin/dpkg\"]") {
        Some(field) => {
            let elements = field.list(problems).unwrap_or_default();
            if elements.is_empty() {
                field.bad::<()>("the list is empty, so nobody might write", problems);
            }
            for element in elements {
                let Some(text) = element.string(problems) else { continue };
                match WatchPath::parse(text) {
                    Ok(program) => programs.push(program),
                    Err(error) => {
                        let message = format!("bad path `{}`: {error}", shown(text));
                        problems.add(element.span(), message, "for example: programs = [\"/usr/bin/dpkg\"]");
                    }
                }
            }
        }
        None => problems.add(
            table.span.clone(),
            "this rule has no `programs`",
            "for example: programs = [\"/usr/bin/dpkg\"]",
        ),
    }
    let otherwise = table.field("otherwise", "\"critical\"").and_then(|field| severity(&field, problems));
    table.finish(problems);
    ActorRule { programs, otherwise: otherwise.unwrap_or(Severity::Critical) }
}

fn read_keep(mut table: Table<'_, '_>, problems: &mut Problems) -> Keep {
    let default = Keep::default();
    let content = table.field("content", "true").and_then(|field| field.flag(problems));
    let max_file = table.field("max_file", "\"1 MiB\"");
    let max_file = max_file.and_then(|field| field.quantity(units::parse_size, problems));
    table.finish(problems);
    Keep { content: content.unwrap_or(default.content), max_file: max_file.unwrap_or(default.max_file) }
}

/// The outer option is whether it could be read, the inner one whether there is a limit.
fn recursion(field: &Field<'_, '_>, problems: &mut Problems) -> Option<Option<u32>> {
    const EXPECTED: &str = "\"unlimited\" or a whole number from 0 on";
    match field.raw() {
        DeValue::String(text) if text == "unlimited" => Some(None),
        DeValue::String(_) => field.bad(&format!("it must be {EXPECTED}"), problems),
        DeValue::Integer(_) => match field.as_integer().map(u32::try_from) {
            Some(Ok(depth)) => Some(Some(depth)),
            _ => field.bad(&format!("it must be {EXPECTED}"), problems),
        },
        _ => field.wrong(EXPECTED, problems),
    }
}
