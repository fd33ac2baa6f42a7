//! The kernel's list of mounts, whose paths and options anybody with a mount namespace chooses.
#![no_main]

use waxseal_os::mounts;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    for mount in mounts::parse(text) {
        let _ = (mount.nature(), mount.shows(&mount.root));
    }
});
