//! File capabilities as text, in the form of getcap.
//!
//! The binary form is the kernel's `struct vfs_cap_data` / `vfs_ns_cap_data` (`include/uapi/linux/capability.h`):
//! magic with revision and effective bit, permitted and inheritable masks, and the root uid in revision 3.

const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The capabilities as getcap prints them (`cap_net_raw=ep`), clauses separated by blanks, a namespace's
/// root as `[rootid=N]`; `None` when the bytes are no capability set.
pub fn to_text(value: &[u8]) -> Option<String> {
    let word = |i: usize| Some(u32::from_le_bytes(value.get(i * 4..i * 4 + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let (words, rootid) = match (magic & 0xff00_0000, value.len()) {
        (0x0100_0000, 12) => (1, None),
        (0x0200_0000, 20) => (2, None),
        (0x0300_0000, 24) => (2, Some(word(5)?)),
        _ => return None,
    };
    let effective = magic & 1 != 0;
    let mask = |first: usize| -> Option<u64> {
        let low = u64::from(word(first)?);
        Some(if words == 2 { low | u64::from(word(first + 2)?) << 32 } else { low })
    };
    let (permitted, inheritable) = (mask(1)?, mask(2)?);
    let mut clauses = Vec::new();
    for (p, i) in [(true, true), (true, false), (false, true)] {
        let caps: Vec<String> = (0..64)
            .filter(|bit| (permitted >> bit & 1 == 1) == p && (inheritable >> bit & 1 == 1) == i)
            .map(|bit| NAMES.get(bit).map_or_else(|| format!("{bit}"), |n| (*n).to_string()))
            .collect();
        if !caps.is_empty() {
            let flags = [(effective, 'e'), (i, 'i'), (p, 'p')];
            let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, c)| *c).collect();
            clauses.push(format!("{}={flags}", caps.join(",")));
        }
    }
    if clauses.is_empty() {
        clauses.push("=".to_string());
    }
    if let Some(id) = rootid.filter(|id| *id != 0) {
        clauses.push(format!("[rootid={id}]"));
    }
    Some(clauses.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn prints_as_getcap_does() {
        assert_eq!(to_text(&set(&[0x0200_0001, 1 << 13, 0, 0, 0])).unwrap(), "cap_net_raw=ep");
        let two = to_text(&set(&[0x0300_0000, 1 << 12 | 1 << 13, 1, 0, 1 << 7, 1000])).unwrap();
        assert_eq!(two, "cap_net_admin,cap_net_raw=p cap_chown,cap_bpf=i [rootid=1000]");
        assert_eq!(to_text(&set(&[0x0200_0000, 0, 0, 0, 0])).unwrap(), "=");
    }

    #[test]
    fn refuses_what_is_no_set() {
        assert_eq!(to_text(b"abc"), None);
        assert_eq!(to_text(&set(&[0x0400_0000, 0, 0, 0, 0])), None);
        assert_eq!(to_text(&set(&[0x0200_0000, 0, 0, 0])), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) { let _ = to_text(&bytes); }
    }
}
