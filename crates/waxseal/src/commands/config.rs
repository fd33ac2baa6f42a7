//! `config`: whether it is right, and what it means.

use crate::Exit;
use crate::args::ConfigCommand;
use crate::context::Context;
use crate::output::{json_line, out, say, style, warn};
use std::io::Write;
use waxseal_model::json;

/// Checks or shows the config.
pub fn run(command: &ConfigCommand, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config()?;
    for section in &config.unused {
        warn(&format!("[{section}] is understood, but this version does nothing with it yet"));
    }
    let mut out = out();
    match command {
        ConfigCommand::Show if context.json => {
            let mut object = json::object("config");
            object.insert("ok".into(), true.into());
            object.insert("watches".into(), config.watches.len().into());
            object.insert("config".into(), waxseal_policy::show_json(&config).into());
            json_line(&mut out, &object)?;
        }
        ConfigCommand::Show => write!(out, "{}", waxseal_policy::show(&config))?,
        ConfigCommand::Check => {
            let coverage = context.coverage(config);
            for unmatched in coverage.unmatched() {
                warn(&format!("watch \"{}\", {}: {}", unmatched.watch, unmatched.path, unmatched.why));
            }
            if context.json {
                let mut object = json::object("config");
                object.insert("ok".into(), true.into());
                object.insert("watches".into(), coverage.config().watches.len().into());
                json_line(&mut out, &object)?;
            } else {
                let good = style::GOOD;
                say(context, &format!("{} {good}is right{good:#}", context.config_name()));
            }
        }
    }
    Ok(Exit::Same)
}
