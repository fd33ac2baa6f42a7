//! What comes in at the monitor's socket, and what it answers.
#![no_main]

use waxseal_model::control::{Request, answer_line, parse_answer};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    if let Ok(request) = Request::parse(line) {
        assert_eq!(Request::parse(request.to_line().as_bytes()), Ok(request));
    }
    let answer = parse_answer(line);
    assert_eq!(parse_answer(answer_line(&answer).as_bytes()), answer);
});
