//! Config text to rules: what is watched, what is selected, how much a change matters.
//!
//! In: the text of a config file, paths as bytes, facts about the system. Out: a [`Config`], or every problem
//! with its place in the text; decisions about paths and changes. No I/O, no clock, no state.

mod config;
mod parse;
mod paths;
mod rules;
mod schema;
pub mod secret;
mod select;
mod settings;
mod show;
mod template;
pub mod units;

pub use config::{
    ActorRule, Actors, ChangeRule, Config, Evidence, Keep, Ledger, Publish, PublishTo, Restore, Route, Scan,
    Threads, Watch,
};
pub use parse::{ConfigErrors, Problem, parse};
pub use paths::{Component, GlobPath, WatchPath, WatchPathError, escape_literal};
pub use rules::{Owner, Rules, severity_by, severity_of};
pub use select::{GlobProblem, Patterns, Scope, Selection};
pub use settings::{Channel, Secret, SecretText, Setting, Settings};
pub use show::{show, show_json};
pub use template::{SystemFacts, TemplateError, candidates, template};
