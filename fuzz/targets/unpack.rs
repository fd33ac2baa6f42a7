//! Compressed logs: whoever may write a log may write any bytes there, which must neither stop the program nor fill its
//! memory.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use tempfile::NamedTempFile;
use waxseal_model::RawPath;
use waxseal_observe::{place, unpack};

thread_local! {
    static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary file"));
}

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.as_file().set_len(0).expect("cut");
        file.rewind().expect("rewind");
        file.write_all(content).expect("write");
        let path = RawPath::new(file.path().as_os_str().as_bytes());
        let state = place::stat(&path, None).ok().flatten().expect("a file");
        let lengths = [0, 1, 100, 65_536, 1 << 20];
        if let Ok(Some(prefixes)) = unpack::prefixes(&path, &state, &lengths) {
            assert_eq!(prefixes.digests.len(), lengths.len());
            assert!(prefixes.len <= 1 << 20);
        }
    });
});
