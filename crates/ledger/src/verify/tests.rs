//! Logs that are as they were written, and logs that are not.

use super::*;
use crate::epoch::EpochKey;
use crate::leaf::tests::change;
use crate::leaf::{ChangeLeaf, LeafText, Pruned};
use crate::tail::tests::{host, key, time};
use crate::tail::{Stored, Tail};
use crate::verification::VerificationFile;

/// A log with several epochs, and what somebody keeps of it.
pub(crate) struct Made {
    pub(crate) leaves: Vec<Stored>,
    pub(crate) tail: Tail,
    pub(crate) epoch: EpochKey,
    pub(crate) file: VerificationFile,
    /// Checkpoints by size.
    pub(crate) notes: Vec<(u64, String)>,
}

/// `epochs` epochs of `each` leaves besides the announcement.
pub(crate) fn made(epochs: u64, each: u64) -> Made {
    let (host, mut epoch) = (host(), key(0));
    let (mut tail, begun) = Tail::begin(&host, &epoch, time(0)).unwrap();
    let note = tail.checkpoint(&host, &epoch).unwrap();
    let (vkey, first) = (host.verifier_key().clone(), epoch.verifier_key().clone());
    let file = VerificationFile::new(vkey, first, Vec::new(), &note).unwrap();
    let (mut leaves, mut notes) = (vec![begun], vec![(1, note)]);
    for number in 0..epochs {
        if number > 0 {
            let next = key(number);
            leaves.extend(tail.turn(&epoch, &next, time(tail.size() as i64)).unwrap());
            epoch = next;
        }
        for i in 0..each {
            let path = format!("/etc/{number}/{i}");
            let event = Event::Change(Box::new(ChangeLeaf::of(&change(path.as_bytes(), i))));
            leaves.extend(tail.append(time(tail.size() as i64), event));
        }
        notes.push((tail.size(), tail.checkpoint(&host, &epoch).unwrap()));
    }
    Made { leaves, tail, epoch, file, notes }
}

impl Made {
    pub(crate) fn note(&self) -> &str {
        &self.notes.last().unwrap().1
    }

    fn walk(&self, trust: &Trust, note: &str) -> Report {
        let mut walk = Walk::new(trust, note);
        self.leaves.iter().for_each(|leaf| walk.leaf(&leaf.bytes, Some(leaf.hash)));
        walk.finish()
    }

    /// Verifies as somebody does who has the verification file.
    fn verify(&self) -> Report {
        self.walk(&self.file.trust(), self.note())
    }

    fn trust_with(&self, kept: usize) -> Trust {
        let mut trust = self.file.trust();
        trust.keep(&self.notes[kept].1).unwrap();
        trust
    }

    /// The leaves written anew from `from` on by somebody who has the keys of now: all hashes fit.
    fn rewrite(&mut self, from: usize, edit: impl Fn(&mut Vec<u8>)) {
        for leaf in &mut self.leaves[from..] {
            if Leaf::parse(&leaf.bytes).is_ok_and(|leaf| !matches!(leaf.event, Event::Key(_))) {
                edit(&mut leaf.bytes);
                leaf.hash = leaf_hash(&leaf.bytes);
            }
        }
        self.sign();
    }

    /// A checkpoint over the hashes as they are, by the host's key and that of the last epoch.
    fn sign(&mut self) {
        let mut edge = Edge::new();
        self.leaves.iter().for_each(|leaf| edge.push(leaf.hash, |_| {}));
        let checkpoint =
            Checkpoint { origin: self.file.host().name().clone(), size: edge.size(), root: edge.root() };
        self.notes.push((edge.size(), checkpoint.sign(&[&host(), self.epoch.signing_key()])));
    }
}

#[test]
fn what_was_written_is_proven() {
    for (epochs, each) in [(1, 0), (1, 5), (3, 4), (2, 300)] {
        let made = made(epochs, each);
        let report = made.verify();
        assert!(report.is_proven(), "{:?}", report.problems);
        assert_eq!((report.proven, report.size), (made.tail.size(), made.tail.size()));
        assert_eq!((report.epoch, report.unproven_since), (Some(epochs - 1), None));
        assert_eq!(report.root, made.tail.root());
        for kept in 0..made.notes.len() {
            assert!(made.walk(&made.trust_with(kept), made.note()).is_proven());
        }
        // The host's key alone will do, and so will leaves without stored hashes.
        let mut walk = Walk::new(&Trust::new(made.file.host().clone()), made.note());
        made.leaves.iter().for_each(|leaf| walk.leaf(&leaf.bytes, None));
        assert!(walk.finish().is_proven());
    }
}

#[test]
fn an_altered_leaf_is_named_and_the_others_are_proven() {
    let mut made = made(3, 4);
    made.leaves[7].bytes[20] ^= 1;
    let report = made.verify();
    assert!(
        matches!(report.problems[..], [Problem::Altered { index: 7, time: Some(_) }]),
        "{:?}",
        report.problems
    );
    assert_eq!(report.proven, 15);
    made.leaves[7].bytes[20] ^= 1;
    made.leaves[8].hash[0] ^= 1;
    let report = made.verify();
    assert_eq!(report.problems, [Problem::Hash { index: 8 }]);
    assert_eq!(report.proven, 15);
}

#[test]
fn leaves_after_the_checkpoint_are_not_proven() {
    let mut made = made(2, 3);
    let host = host();
    made.leaves.extend(
        made.tail
            .clone()
            .append(time(100), Event::Heartbeat { watching: 1, open: 1, backend: LeafText::default() }),
    );
    let report = made.verify();
    assert!(report.is_proven());
    assert_eq!((report.size, report.proven, report.unproven_since), (9, 8, Some(time(100))));
    assert_eq!(report.checkpoint.map(|own| own.size), Some(8));
    drop(host);
}

/// Who has the keys of the last epoch can write its leaves anew, which a kept checkpoint shows; the leaves of epochs before
/// show by themselves.
#[test]
fn the_past_cannot_be_rewritten() {
    for from in 1..15 {
        let mut made = made(3, 4);
        made.rewrite(from, |bytes| *bytes.last_mut().unwrap() ^= 1);
        let report = made.verify();
        // Leaf 10 announces the last epoch.
        assert_eq!(report.is_proven(), from >= 10, "{from}: {:?}", report.problems);
        if from < 10 {
            let first = report.problems.first().unwrap();
            let signed = if from < 5 { 5 } else { 10 };
            assert!(
                matches!(first, Problem::Rewritten { size, anchor: Anchor::Key(_), .. } if *size == signed),
                "{from}: {first}"
            );
            assert_eq!(report.proven, if from < 5 { 1 } else { 5 });
            assert!(report.unproven_since.is_some());
        }
        let report = made.walk(&made.trust_with(3), made.note());
        assert!(!report.is_proven(), "{from}");
    }
}

#[test]
fn announcements_cannot_be_replaced() {
    for replaced in [5, 10] {
        let mut made = made(3, 4);
        let edge = {
            let mut edge = Edge::new();
            made.leaves[..replaced].iter().for_each(|leaf| edge.push(leaf.hash, |_| {}));
            edge
        };
        let at = Position { size: replaced as u64, root: edge.root(), time: time(replaced as i64) };
        let new = key(replaced as u64 / 5);
        // Signed with the key that the intruder has.
        let forged =
            new.announced(crate::epoch::Signer::Previous(&made.epoch), &at, host().verifier_key().name());
        let leaf = Leaf { time: at.time, event: Event::Key(forged) };
        made.leaves[replaced].bytes = leaf.to_bytes();
        made.leaves[replaced].hash = leaf_hash(&made.leaves[replaced].bytes);
        made.epoch = new;
        made.leaves.truncate(replaced + 3);
        made.sign();
        let report = made.verify();
        assert!(
            matches!(report.problems[..], [Problem::Key { index, error: ChainError::Signature, .. }] if index == replaced as u64),
            "{:?}",
            report.problems
        );
        assert!(report.proven < replaced as u64);
    }
}

#[test]
fn a_log_that_was_cut_cannot_be_continued() {
    let mut made = made(3, 4);
    made.leaves.truncate(9);
    made.sign();
    // The last announced key is that of epoch 1, which is gone.
    let report = made.verify();
    assert!(
        matches!(report.problems[..], [Problem::Checkpoint(CheckpointError::MissingSignature(_))]),
        "{:?}",
        report.problems
    );
    // A checkpoint of that time is genuine: only whoever kept a newer one, or looks at the time, can tell.
    let mut made = self::made(3, 4);
    made.leaves.truncate(10);
    let old = made.notes[2].1.clone();
    assert!(made.walk(&made.file.trust(), &old).is_proven());
    let report = made.walk(&made.trust_with(3), &old);
    assert_eq!(report.problems, [Problem::Short { size: 10, expected: 15, anchor: Anchor::Kept }]);
    assert_eq!(report.proven, 10);
}

#[test]
fn another_log_of_the_same_keys_is_not_this_one() {
    let (made, other) = (made(2, 3), made(2, 3));
    let report = other.walk(&made.file.trust(), other.note());
    assert!(report.problems.contains(&Problem::OtherFirstKey), "{:?}", report.problems);
    let mut walk = Walk::new(&made.file.trust(), made.note());
    other.leaves.iter().for_each(|leaf| walk.leaf(&leaf.bytes, Some(leaf.hash)));
    assert!(!walk.finish().is_proven());
}

#[test]
fn order_counts() {
    let mut made = made(2, 6);
    made.leaves.swap(3, 4);
    let report = made.verify();
    assert!(matches!(report.problems[0], Problem::TimeBack { index: 4, .. }));
    assert!(
        matches!(report.problems[1], Problem::Rewritten { from: 1, size: 7, .. }),
        "{:?}",
        report.problems
    );
}

#[test]
fn times_go_back_only_when_it_is_said() {
    let mut made = made(1, 2);
    let host = host();
    let stored = made.tail.append(time(-50), Event::Stop { reason: LeafText::new("x") });
    made.leaves.extend(stored);
    made.notes.push((5, made.tail.checkpoint(&host, &made.epoch).unwrap()));
    let report = made.verify();
    assert!(report.is_proven(), "{:?}", report.problems);
    assert_eq!((report.clock_set_back, report.last), (1, Some(time(-50))));
    let mut made = self::made(1, 3);
    let mut leaf = made.leaves[3].leaf.clone();
    leaf.time = time(-1);
    made.leaves[3].bytes = leaf.to_bytes();
    made.leaves[3].hash = leaf_hash(&made.leaves[3].bytes);
    made.sign();
    assert_eq!(made.verify().problems, [Problem::TimeBack { index: 3, time: time(-1) }]);
}

#[test]
fn a_restart_is_reported_until_a_checkpoint_covers_it() {
    let mut made = made(2, 3);
    let (host, next) = (host(), key(2));
    made.leaves.extend(made.tail.restart(&host, &next, time(20)).unwrap());
    made.epoch = next;
    made.notes.push((9, made.tail.checkpoint(&host, &made.epoch).unwrap()));
    let report = made.verify();
    assert_eq!(report.problems, [Problem::Restarted { index: 8, time: Some(time(20)) }]);
    assert_eq!((report.proven, report.unproven_since), (4, Some(time(4))));
    let report = made.walk(&made.trust_with(3), made.note());
    assert!(report.is_proven(), "{:?}", report.problems);
    assert_eq!((report.restarts, report.proven), (vec![8], 9));
}

#[test]
fn details_may_be_missing_where_retention_says_so() {
    let mut made = made(2, 6);
    let weeks = time(4 * 7 * 24 * 3600);
    let rows =
        |rows: &[(u64, u64)]| Event::Pruned(Box::new(Pruned { rows: rows.to_vec(), ..Pruned::default() }));
    for named in [rows(&[(1, 2)]), rows(&[(2, 2), (5, 1)])] {
        let stored = made.tail.append(weeks, named);
        made.leaves.extend(stored);
    }
    made.notes.push((16, made.tail.checkpoint(&host(), &made.epoch).unwrap()));
    let verify = |gone: std::ops::Range<u64>| {
        let mut walk = Walk::new(&made.file.trust(), made.note());
        for leaf in &made.leaves {
            if gone.contains(&leaf.index) {
                walk.missing_leaf(leaf.hash)
            } else {
                walk.leaf(&leaf.bytes, Some(leaf.hash))
            }
        }
        walk.finish().problems
    };
    assert_eq!(verify(0..0), []);
    assert_eq!(verify(1..4), []);
    // What lies between those that were named may not be missing, and neither may those after them.
    assert_eq!(verify(1..6), [Problem::Missing { from: 4, end: 5 }]);
    assert_eq!(verify(4..7), [Problem::Missing { from: 4, end: 5 }, Problem::Missing { from: 6, end: 7 }]);
    assert_eq!(verify(0..4)[0], Problem::FirstKey);
}

/// Whoever has the keys can name what they like as deleted, but not what they have just done.
#[test]
fn what_is_young_is_not_deleted_by_retention() {
    let mut made = made(2, 6);
    let rows = vec![(3, 2)];
    made.leaves
        .extend(made.tail.append(time(100), Event::Pruned(Box::new(Pruned { rows, ..Pruned::default() }))));
    made.notes.push((15, made.tail.checkpoint(&host(), &made.epoch).unwrap()));
    let mut walk = Walk::new(&made.file.trust(), made.note());
    for leaf in &made.leaves {
        if (3..5).contains(&leaf.index) {
            walk.missing_leaf(leaf.hash)
        } else {
            walk.leaf(&leaf.bytes, Some(leaf.hash))
        }
    }
    assert_eq!(walk.finish().problems, [Problem::TooYoung { from: 3, end: 5, by: 14 }]);
}

#[test]
fn leaves_of_newer_programs_are_proven_and_not_understood() {
    let mut made = made(1, 2);
    let mut stored = made.leaves[2].clone();
    stored.bytes = vec![1, 99, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 7, 7];
    stored.hash = leaf_hash(&stored.bytes);
    made.leaves.push(stored);
    made.sign();
    let report = made.verify();
    assert!(report.is_proven(), "{:?}", report.problems);
    assert_eq!((report.unknown, report.size), (1, 4));
    made.leaves[3].bytes = vec![1, 12, 0];
    made.leaves[3].hash = leaf_hash(&made.leaves[3].bytes);
    made.sign();
    assert!(matches!(made.verify().problems[..], [Problem::NoLeaf { index: 3, .. }]));
}

#[test]
fn a_log_without_a_beginning_or_a_checkpoint_is_not_proven() {
    let made = made(2, 3);
    let empty = Walk::new(&made.file.trust(), made.note()).finish();
    assert!(empty.problems.contains(&Problem::FirstKey));
    assert!(empty.problems.iter().any(|problem| matches!(problem, Problem::Short { expected: 8, .. })));
    for note in ["", "x", &made.note().replace('8', "9")] {
        let report = made.walk(&made.file.trust(), note);
        assert!(
            !report.is_proven() && report.problems.iter().any(|p| matches!(p, Problem::Checkpoint(_))),
            "{note}"
        );
    }
    let mut walk = Walk::new(&made.file.trust(), made.note());
    made.leaves[1..].iter().for_each(|leaf| walk.leaf(&leaf.bytes, Some(leaf.hash)));
    assert!(walk.finish().problems.contains(&Problem::FirstKey));
}

#[test]
fn only_checkpoints_of_this_host_are_kept() {
    let made = made(1, 1);
    let mut trust = made.file.trust();
    assert!(trust.keep(made.note()).is_ok());
    assert!(trust.keep("x").is_err());
    assert!(trust.keep(made.note().replacen("waxseal/host\n", "waxseal/hast\n", 1)).is_err());
    let stranger = crate::SigningKey::generate(host().verifier_key().name().clone()).unwrap();
    let own = Checkpoint::open(made.note(), &[host().verifier_key()]).unwrap();
    assert!(trust.keep(own.sign(&[&stranger])).is_err());
    assert_eq!(trust.kept().len(), 2);
}

#[test]
fn no_more_problems_are_listed_than_anybody_reads() {
    let mut made = made(1, 1200);
    made.leaves.iter_mut().skip(1).for_each(|leaf| *leaf.bytes.last_mut().unwrap() ^= 1);
    let report = made.verify();
    assert_eq!((report.problems.len(), report.more), (MAX_PROBLEMS, 200));
    assert!(!report.is_proven());
}
