//! The values of access lists and capabilities, which a filesystem's image may hold in any form, and names for people.
#![no_main]

use waxseal_model::{Timestamp, acl, caps, escape};

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    let _ = (acl::to_text(value, false), acl::to_text(value, true), caps::to_text(value));
    for text in [escape::for_people(value), escape::lossy_text(value)] {
        assert!(!text.is_empty() || value.is_empty());
    }
    assert!(!escape::for_people(value).chars().any(escape::is_deceptive));
    if let Some(time) = std::str::from_utf8(value).ok().and_then(Timestamp::from_rfc3339) {
        assert_eq!(
            Timestamp::from_rfc3339(&time.to_string()).map(Timestamp::as_micros),
            Some(time.as_micros())
        );
    }
});
