use super::*;
use crate::leaf::LeafText;
use crate::merkle::tests::Kept;
use crate::vkey::Name;
use zeroize::Zeroizing;

pub(crate) fn host() -> SigningKey {
    SigningKey::from_seed(Name::new("waxseal/host").unwrap(), &Zeroizing::new([1; 32]))
}

pub(crate) fn key(number: u64) -> EpochKey {
    EpochKey::generate(host().verifier_key().name(), number).unwrap()
}

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::new(1_767_225_600 + seconds, 0)
}

fn stop() -> Event {
    Event::Stop { reason: LeafText::new("SIGTERM") }
}

#[test]
fn a_log_grows_and_is_resumed() {
    let (host, first, second) = (host(), key(0), key(1));
    let (mut tail, begun) = Tail::begin(&host, &first, time(0)).unwrap();
    let mut kept = Kept::of([begun.hash]);
    let (mut last, mut last_key) = (begun.bytes.clone(), begun.bytes);
    let mut add = |stored: Vec<Stored>| {
        for stored in stored {
            assert_eq!(stored.index, kept.edge.size());
            assert_eq!(Leaf::parse(&stored.bytes).unwrap(), stored.leaf);
            kept.push(stored.hash);
            assert!(stored.levels.iter().all(|hash| kept.levels[1][hash.index as usize] == hash.hash));
            if let Event::Key(_) = stored.leaf.event {
                last_key = stored.bytes.clone();
            }
            last = stored.bytes;
        }
    };
    for i in 0..300 {
        add(tail.append(time(i), Event::Heartbeat { watching: 1, open: 0, backend: LeafText::default() }));
    }
    add(tail.turn(&first, &second, time(300)).unwrap());
    add(tail.append(time(300), stop()));
    assert_eq!((tail.size(), tail.root(), tail.time()), (303, kept.edge.root(), time(300)));
    assert_eq!(tail.epoch(), Some((1, second.verifier_key())));
    let resumed =
        Tail::resume(host.verifier_key(), Edge::read(303, &kept).unwrap(), &last, &last_key).unwrap();
    assert_eq!(resumed, tail);
    let keys = [host.verifier_key(), second.verifier_key()];
    let opened = Checkpoint::open(tail.checkpoint(&host, &second).unwrap(), &keys).unwrap();
    assert_eq!((opened.size, opened.root), (303, tail.root()));
}

#[test]
fn a_clock_that_was_set_back_is_said() {
    let (mut tail, _) = Tail::begin(&host(), &key(0), time(10)).unwrap();
    assert_eq!(tail.append(time(10), stop()).len(), 1);
    let stored = tail.append(time(9), stop());
    assert_eq!(stored.iter().map(|s| s.leaf.event.kind()).collect::<Vec<_>>(), ["clock", "stop"]);
    assert_eq!(stored[0].leaf.time, time(9));
    assert_eq!(tail.append(time(9), stop()).len(), 1);
}

#[test]
fn only_the_keys_of_the_log_and_of_its_epoch_do() {
    let (host, first, second, stranger) = (host(), key(0), key(1), key(0));
    let other = SigningKey::generate(Name::new("waxseal/host").unwrap()).unwrap();
    assert_eq!(Tail::begin(&host, &second, time(0)).err(), Some(ChainError::Number.into()));
    let (mut tail, _) = Tail::begin(&host, &first, time(0)).unwrap();
    assert_eq!(tail.checkpoint(&host, &stranger), Err(TailError::WrongEpoch));
    assert_eq!(tail.checkpoint(&other, &first), Err(TailError::WrongHost));
    let before = tail.clone();
    assert_eq!(tail.turn(&stranger, &second, time(1)), Err(TailError::WrongEpoch));
    assert_eq!(tail.turn(&first, &key(2), time(-1)), Err(ChainError::Number.into()));
    assert_eq!(tail.restart(&other, &second, time(1)), Err(TailError::WrongHost));
    assert_eq!(tail, before);
    tail.turn(&first, &second, time(1)).unwrap();
    assert_eq!(tail.checkpoint(&host, &first), Err(TailError::WrongEpoch));
    assert_eq!(tail.restart(&host, &key(2), time(2)).unwrap().len(), 1);
    assert_eq!(tail.epoch().map(|(number, _)| number), Some(2));
}

#[test]
fn what_is_no_end_of_a_log_is_refused() {
    let (host, first) = (host(), key(0));
    let (tail, begun) = Tail::begin(&host, &first, time(0)).unwrap();
    let resume = |last: &[u8], key: &[u8]| Tail::resume(host.verifier_key(), tail.edge.clone(), last, key);
    let stop = Leaf { time: time(0), event: stop() }.to_bytes();
    assert_eq!(resume(&stop, &begun.bytes).as_ref(), Ok(&tail));
    assert_eq!(resume(&stop, &stop), Err(TailError::NoKey));
    assert!(matches!(resume(b"", &begun.bytes), Err(TailError::Leaf(_))));
    assert!(matches!(resume(&stop, b""), Err(TailError::Leaf(_))));
    // The last leaf of a newer program.
    assert_eq!(resume(&[9, 9, 2], &begun.bytes).unwrap().time(), Timestamp::from_micros(1));
}
