//! Records of fanotify. A descriptor that comes with one is taken over once, and none is lost.
#![no_main]

use waxseal_os::fanotify::Events;

libfuzzer_sys::fuzz_target!(|buffer: &[u8]| {
    let mut adopted = 0_usize;
    let mut events = 0_usize;
    for event in Events::new(buffer, |fd| {
        adopted += 1;
        fd
    }) {
        events += 1;
        let Ok(event) = event else { continue };
        let names = [event.name, event.old.map(|old| old.1), event.new.map(|new| new.1)];
        for name in names.into_iter().flatten() {
            assert!(!name.contains(&b'/') && !name.contains(&0), "{name:?}");
        }
    }
    assert!(events <= buffer.len() / 24 + 1);
    assert!(adopted <= buffer.len() / 4);
});
