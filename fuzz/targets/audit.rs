//! Records of the audit system. Only those of three types count, and nothing that they say is more than they are.
#![no_main]

use waxseal_os::process::audit_record::Events;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut events = Events::default();
    // A line each: a letter for the type, and the text.
    for line in input.split(|byte| *byte == b'\n') {
        let Some((kind, text)) = line.split_first() else { continue };
        let kind = match kind {
            b'c' => 1300,
            b'a' => 1309,
            b'e' => 1320,
            other => 1100 + u16::from(*other),
        };
        let Some(exec) = events.take(kind, text) else { continue };
        assert_eq!(kind, 1320);
        assert!(exec.args.len() <= 1024 && exec.args.len() <= input.len());
        assert!(exec.args_cut || exec.args.is_empty() || exec.args.ends_with(b"\0"));
        if let Some(exe) = exec.exe {
            let exe = exe.as_bytes();
            assert!(exe.starts_with(b"/") && !exe.contains(&0) && !exe.ends_with(b" (deleted)"));
        }
    }
});
