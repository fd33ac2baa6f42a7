//! Directory records and states: the encoding is canonical, so what can be read is what would be written.
#![no_main]

use waxseal_model::{json, record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = record::state_from_bytes(bytes) {
        assert_eq!(record::state_to_bytes(&state), bytes);
        let _ = json::state(&state);
    }
    let Ok(reader) = record::Reader::new(bytes) else { return };
    let mut writer = record::Writer::default();
    for entry in reader {
        let Ok(entry) = entry else { return };
        let _ = json::state(&entry.state);
        writer.push(entry.name, &entry.state, entry.child.as_ref());
    }
    assert_eq!(writer.finish(), bytes);
});
