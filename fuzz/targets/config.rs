//! A config: whatever stands there is a config or a list of problems with their places, and what is shown of a config
//! is that config.
#![no_main]

use waxseal_policy::{parse, show, show_json};

libfuzzer_sys::fuzz_target!(|text: &str| match parse(text, "fuzz.toml") {
    Ok(config) => {
        let shown = show(&config);
        let _ = show_json(&config);
        // Secrets are left out, and a channel without its secret is none.
        if config.channels.is_empty() && !shown.contains("\"<set>\"") {
            assert_eq!(parse(&shown, "shown.toml").ok(), Some(config), "{shown}");
        }
    }
    Err(errors) => assert!(!errors.to_string().is_empty()),
});
