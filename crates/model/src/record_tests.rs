use super::*;
use crate::time::Timestamp;
use proptest::prelude::*;

fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, n)| Timestamp::new(s, n))
}

fn device() -> impl Strategy<Value = DeviceNumber> {
    any::<(u32, u32)>().prop_map(|(major, minor)| DeviceNumber { major, minor })
}

fn extra() -> impl Strategy<Value = Option<Box<Extra>>> {
    let xattrs = prop::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..3)
        .prop_map(|m| m.into_iter().map(|(k, v)| (k.into(), v.into())).collect::<Xattrs>());
    (prop::option::of(any::<Vec<u8>>()), prop::option::of(device()), xattrs).prop_map(
        |(target, rdev, xattrs)| {
            let extra = Extra { target: target.map(Into::into), rdev, xattrs };
            (extra != Extra::default()).then(|| Box::new(extra))
        },
    )
}

fn digests() -> impl Strategy<Value = Digests> {
    any::<(Option<[u8; 32]>, Option<[u8; 32]>, bool)>().prop_map(|(sha256, blake3, sha512)| Digests {
        sha256,
        blake3: blake3.map(Box::new),
        sha512: sha512.then(|| Box::new([7; 64])),
    })
}

prop_compose! {
    fn state()(
        file_type in (0..7u8).prop_map(|c| FileType::from_code(c).unwrap()),
        mode in 0..=0o7777u16,
        numbers in any::<(u32, u32, u64, u64, u64, bool)>(),
        device in device(), times in (time(), time(), prop::option::of(time())),
        flags in any::<Option<u32>>(), digests in digests(), extra in extra(),
    ) -> FileState {
        let (uid, gid, size, links, inode, mount_root) = numbers;
        let (mtime, ctime, btime) = times;
        FileState { file_type, mode, uid, gid, size, links, inode, device, mount_root, mtime, ctime, btime,
            flags, digests, extra }
    }
}

type Entries = std::collections::BTreeMap<Vec<u8>, (FileState, Option<Digest>)>;

fn entries() -> impl Strategy<Value = Entries> {
    prop::collection::btree_map(
        prop::collection::vec(any::<u8>(), 1..20),
        (state(), any::<Option<Digest>>()),
        0..5,
    )
}

fn write(entries: &Entries) -> Vec<u8> {
    let mut writer = Writer::default();
    for (name, (state, child)) in entries {
        writer.push(name, state, child.as_ref());
    }
    writer.finish()
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in entries()) {
        let bytes = write(&entries);
        let read: Result<Vec<_>, _> = Reader::new(&bytes).unwrap().collect();
        let read: Entries = read.unwrap().into_iter()
            .map(|e| (e.name.to_vec(), (e.state, e.child))).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn only_one_encoding_is_read(entries in entries(), at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = write(&entries);
        let i = at.index(bytes.len());
        bytes[i] ^= 1 << bit;
        if let Ok(reader) = Reader::new(&bytes)
            && let Ok(read) = reader.collect::<Result<Vec<_>, _>>() {
            let again: Entries = read.into_iter().map(|e| (e.name.to_vec(), (e.state, e.child))).collect();
            prop_assert_eq!(write(&again), bytes);
        }
    }

    #[test]
    fn cut_records_are_refused(entries in entries(), at: prop::sample::Index) {
        let bytes = write(&entries);
        let cut = at.index(bytes.len());
        let read = Reader::new(&bytes[..cut]).and_then(|r| r.collect::<Result<Vec<_>, _>>());
        prop_assert!(read.map_or(true, |read| read.len() < entries.len()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
        bytes.insert(0, VERSION);
        let _ = Reader::new(&bytes).unwrap().count();
        let _ = state_from_bytes(&bytes);
    }

    #[test]
    fn a_state_alone_round_trips(state in state()) {
        prop_assert_eq!(state_from_bytes(&state_to_bytes(&state)), Ok(state));
    }
}

#[test]
fn foreign_versions_are_named() {
    assert_eq!(Reader::new(&[9, 9]).unwrap_err(), RecordError::Version(9));
    assert_eq!(Reader::new(&[]).unwrap_err(), RecordError::Truncated);
}
