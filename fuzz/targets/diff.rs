//! Differences of two hostile contents: no panic, and the lines that are given add up.
#![no_main]

use waxseal_diff::{Difference, Tag, difference};

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8])| {
    let Difference::Text(text) = difference(input.0, input.1) else { return };
    for hunk in &text.hunks {
        let count = |tags: [Tag; 2]| hunk.lines.iter().filter(|line| tags.contains(&line.tag)).count();
        assert_eq!(count([Tag::Same, Tag::Removed]), hunk.before.len());
        assert_eq!(count([Tag::Same, Tag::Added]), hunk.after.len());
    }
});
