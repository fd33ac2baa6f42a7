//! The JSON Schemas of the machine output (`docs/schemas`), and what is wrong with a line by them.
//!
//! In: one line as an object. Out: each place that does not fit. Only the keywords that these schemas use are known, and
//! a schema with another one is refused, so that none is passed over in silence. No library is used: the one there is
//! would bring more packages than the rest of the tests together.

use regex_automata::meta::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Keywords that say something to people only.
const PROSE: &[&str] = &["$schema", "title", "description", "$defs"];

/// All schemas, by the name of their file without its ending.
pub struct Schemas {
    files: BTreeMap<String, Value>,
    patterns: BTreeMap<String, Regex>,
}

/// Where a schema is, for references that it makes: the name of its file.
type Home<'s> = &'s str;

/// What is wrong so far, each with its place in the line.
type Problems = Vec<String>;

impl Schemas {
    /// The project's schemas.
    pub fn get() -> &'static Schemas {
        static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
        SCHEMAS.get_or_init(|| Schemas::read(&directory()))
    }

    fn read(directory: &Path) -> Schemas {
        let mut schemas = Schemas { files: BTreeMap::new(), patterns: BTreeMap::new() };
        for entry in fs::read_dir(directory).expect("docs/schemas") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(&path).expect("a schema");
            let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            schemas.files.insert(name, schema);
        }
        let mut patterns = BTreeMap::new();
        for (name, schema) in &schemas.files {
            schemas.understand(name, schema, &mut patterns);
        }
        schemas.patterns = patterns;
        schemas
    }

    /// The types of line that have a schema.
    pub fn line_types(&self) -> impl Iterator<Item = &str> {
        let is_line = |schema: &Value| schema["properties"]["type"]["const"].is_string();
        self.files.iter().filter(move |(_, schema)| is_line(schema)).map(|(name, _)| name.as_str())
    }

    /// What is wrong with a line by the schema of its type; nothing when it fits.
    pub fn problems(&self, line: &Value) -> Vec<String> {
        let kind = line["type"].as_str().unwrap_or_default();
        match self.files.get(kind) {
            Some(schema) if self.line_types().any(|known| known == kind) => {
                let mut problems = Vec::new();
                self.validate((kind, schema), line, "", &mut problems);
                problems
            }
            _ => vec![format!("there is no schema for lines of type {}", line["type"])],
        }
    }

    /// Goes through a schema once: every keyword is known, every reference leads somewhere, every pattern is one.
    fn understand(&self, home: Home<'_>, schema: &Value, patterns: &mut BTreeMap<String, Regex>) {
        let Value::Object(keywords) = schema else {
            assert!(schema.is_boolean(), "{home}: {schema} is no schema");
            return;
        };
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$schema" | "title" | "description" | "const" | "enum" | "type" | "required"
                | "dependentRequired" | "uniqueItems" | "minItems" | "maxItems" | "minProperties"
                | "minLength" | "minimum" | "maximum" => {}
                "$ref" => drop(self.resolve(home, value)),
                "pattern" => {
                    let pattern = value.as_str().expect("a pattern");
                    let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("{home}: {error}"));
                    patterns.insert(pattern.to_owned(), regex);
                }
                "$defs" | "properties" => {
                    let schemas = value.as_object().expect("an object");
                    schemas.values().for_each(|schema| self.understand(home, schema, patterns));
                }
                "allOf" | "oneOf" => {
                    let schemas = value.as_array().expect("an array");
                    schemas.iter().for_each(|schema| self.understand(home, schema, patterns));
                }
                "items" | "additionalProperties" | "if" | "then" | "else" => {
                    self.understand(home, value, patterns);
                }
                other => panic!("{home}: the keyword {other} is not known here"),
            }
        }
    }

    /// The schema that a reference means, and the file it is in: `FILE.json`, `FILE.json#/$defs/NAME`.
    fn resolve<'s>(&'s self, home: Home<'s>, reference: &Value) -> (Home<'s>, &'s Value) {
        let text = reference.as_str().expect("a reference");
        let (file, pointer) = text.split_once('#').unwrap_or((text, ""));
        let name = if file.is_empty() { home } else { file.strip_suffix(".json").unwrap_or(file) };
        let found = self.files.get_key_value(name);
        let found = found.and_then(|(name, schema)| Some((name.as_str(), schema.pointer(pointer)?)));
        found.unwrap_or_else(|| panic!("{home}: {text} leads nowhere"))
    }

    fn fits(&self, schema: (Home<'_>, &Value), value: &Value) -> bool {
        let mut problems = Vec::new();
        self.validate(schema, value, "", &mut problems);
        problems.is_empty()
    }

    fn validate(
        &self,
        (home, schema): (Home<'_>, &Value),
        value: &Value,
        place: &str,
        problems: &mut Problems,
    ) {
        let Value::Object(keywords) = schema else {
            if *schema == Value::Bool(false) {
                problems.push(format!("{place} must not be there: {value}"));
            }
            return;
        };
        for (keyword, rule) in keywords {
            let keyword = keyword.as_str();
            if PROSE.contains(&keyword) {
                continue;
            }
            if keyword == "$ref" {
                self.validate(self.resolve(home, rule), value, place, problems);
                continue;
            }
            if let Some(wrong) = self.simple(keyword, rule, value) {
                problems.push(format!("{place}: {wrong}"));
            }
            match keyword {
                "allOf" => {
                    for part in rule.as_array().into_iter().flatten() {
                        self.validate((home, part), value, place, problems);
                    }
                }
                "oneOf" => {
                    let parts = rule.as_array().into_iter().flatten();
                    let fitting = parts.filter(|part| self.fits((home, part), value)).count();
                    if fitting != 1 {
                        problems.push(format!("{place}: fits {fitting} of the choices instead of one"));
                    }
                }
                "if" => {
                    let branch = if self.fits((home, rule), value) { "then" } else { "else" };
                    if let Some(part) = keywords.get(branch) {
                        self.validate((home, part), value, place, problems);
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.validate((home, rule), item, &format!("{place}/{index}"), problems);
                    }
                }
                "properties" | "additionalProperties" => {
                    for (key, part) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = schema_of(keyword, keywords, rule, key) {
                            self.validate((home, schema), part, &format!("{place}/{key}"), problems);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The keywords that look at a value as it stands.
    fn simple(&self, keyword: &str, rule: &Value, value: &Value) -> Option<String> {
        let count = |limit: &Value| limit.as_u64().and_then(|n| usize::try_from(n).ok()).expect("a count");
        let holds = match (keyword, value) {
            ("const", _) => rule == value,
            ("enum", _) => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            ("type", _) => match rule {
                Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
                name => is_of_type(name, value),
            },
            ("required", Value::Object(object)) => has_all(object, rule),
            ("dependentRequired", Value::Object(object)) => {
                let pairs = rule.as_object().into_iter().flatten();
                pairs.filter(|(key, _)| object.contains_key(*key)).all(|(_, others)| has_all(object, others))
            }
            ("minProperties", Value::Object(object)) => object.len() >= count(rule),
            ("minItems", Value::Array(items)) => items.len() >= count(rule),
            ("maxItems", Value::Array(items)) => items.len() <= count(rule),
            ("uniqueItems", Value::Array(items)) => {
                *rule == Value::Bool(false)
                    || items.iter().enumerate().all(|(i, item)| !items.iter().skip(i + 1).any(|o| o == item))
            }
            ("minLength", Value::String(text)) => text.chars().count() >= count(rule),
            ("pattern", Value::String(text)) => rule
                .as_str()
                .and_then(|pattern| self.patterns.get(pattern))
                .expect("a pattern")
                .is_match(text),
            ("minimum", Value::Number(_)) => value.as_f64() >= rule.as_f64(),
            ("maximum", Value::Number(_)) => value.as_f64() <= rule.as_f64(),
            _ => true,
        };
        (!holds).then(|| format!("{keyword} {rule} does not hold for {value}"))
    }
}

/// The schema for one key of an object, by `properties` or by `additionalProperties`.
fn schema_of<'s>(
    keyword: &str,
    keywords: &'s Map<String, Value>,
    rule: &'s Value,
    key: &str,
) -> Option<&'s Value> {
    let known = keywords.get("properties").and_then(|properties| properties.get(key));
    match keyword {
        "properties" => known,
        _ if known.is_some() => None,
        _ => Some(rule),
    }
}

fn has_all(object: &Map<String, Value>, keys: &Value) -> bool {
    keys.as_array().into_iter().flatten().filter_map(Value::as_str).all(|key| object.contains_key(key))
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        other => panic!("{other:?} is no type"),
    }
}

/// The documentation's directory of schemas.
fn directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    root.join("docs/schemas")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(schema: Value, value: Value) -> bool {
        let mut schemas =
            Schemas { files: BTreeMap::from([("s".into(), schema)]), patterns: BTreeMap::new() };
        let mut patterns = BTreeMap::new();
        schemas.files.values().for_each(|schema| schemas.understand("s", schema, &mut patterns));
        schemas.patterns = patterns;
        let mut problems = Vec::new();
        schemas.validate(("s", &schemas.files["s"]), &value, "", &mut problems);
        !problems.is_empty()
    }

    #[test]
    fn every_keyword_takes_what_fits_and_refuses_the_rest() {
        let no_x = json!({"properties": {"x": false}});
        let if_a =
            json!({"if": {"properties": {"t": {"const": "a"}}}, "then": {"required": ["x"]}, "else": no_x});
        let referring = json!({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}});
        for (schema, good, bad) in [
            (json!({"const": "a"}), json!("a"), json!("b")),
            (json!({"enum": ["a", 1]}), json!(1), json!("b")),
            (json!({"type": "integer"}), json!(u64::MAX), json!(1.5)),
            (json!({"type": ["object", "null"]}), json!(null), json!([])),
            (json!({"required": ["a"]}), json!({"a": null}), json!({"b": 1})),
            (json!({"dependentRequired": {"a": ["b"]}}), json!({"b": 1}), json!({"a": 1})),
            (json!({"minProperties": 1}), json!({"a": 1}), json!({})),
            (json!({"minItems": 1}), json!([1]), json!([])),
            (json!({"maxItems": 1}), json!([1]), json!([1, 2])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1])),
            (json!({"minLength": 1}), json!("\u{e9}"), json!("")),
            (json!({"pattern": "^[0-9]+$"}), json!("12"), json!("12x")),
            (json!({"minimum": 1}), json!(1), json!(0)),
            (json!({"maximum": 1}), json!(1), json!(2)),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), json!(2), json!(3)),
            (
                json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"a": 1}),
                json!({"a": 1, "b": 1}),
            ),
            (if_a.clone(), json!({"t": "a", "x": 1}), json!({"t": "a"})),
            (if_a, json!({"t": "b"}), json!({"t": "b", "x": 1})),
            (referring, json!([1, 2]), json!([1, "2"])),
            (json!({"properties": {"a": {"type": "string"}}}), json!({"a": "", "b": 1}), json!({"a": 1})),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
            ),
            (json!({"additionalProperties": {"type": "string"}}), json!({"a": ""}), json!({"a": 1})),
        ] {
            assert!(!wrong(schema.clone(), good.clone()), "{schema} refuses {good}");
            assert!(wrong(schema.clone(), bad.clone()), "{schema} takes {bad}");
        }
    }

    #[test]
    #[should_panic(expected = "is not known here")]
    fn a_keyword_that_nobody_looks_at_is_refused() {
        wrong(json!({"properties": {"a": {"maxLength": 3}}}), json!({}));
    }

    #[test]
    #[should_panic(expected = "leads nowhere")]
    fn a_reference_to_nothing_is_refused() {
        wrong(json!({"items": {"$ref": "s.json#/$defs/missing"}}), json!([]));
    }
}
