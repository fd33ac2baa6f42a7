//! Whatever is changed in an export is found, with one kept checkpoint; and nothing is found where nothing was changed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make their own files, and fail where that fails"
)]

#[allow(dead_code, reason = "each test uses a part")]
mod made;

use fastrand::Rng;
use made::{Files, Log};
use waxseal_ledger::tiles;
use waxseal_ledger::verify::Trust;

/// How many single bytes are changed.
const BYTES: u32 = 10_000;

/// A log of 293 leaves in three epochs, its export, and the belief of somebody who kept its verification file and a checkpoint of its end.
fn set_up() -> (Log, Files, Trust) {
    let mut log = Log::of(2, 90);
    let (mut trust, middle) = (log.file.trust(), log.checkpoint());
    log.turn();
    log.grow(110);
    trust.keep(middle).unwrap();
    let files = log.export();
    (log, files, trust)
}

fn is_proven(files: &Files, trust: &Trust) -> bool {
    tiles::verify(files, trust).unwrap().is_proven()
}

/// Any file: every second time each as likely as any other, otherwise the larger the likelier.
fn any_file(files: &Files, dice: &mut Rng) -> String {
    let names: Vec<&String> = files.keys().collect();
    if dice.usize(..2) == 0 {
        return names[dice.usize(..names.len())].clone();
    }
    let mut at = dice.usize(..files.values().map(Vec::len).sum::<usize>());
    let found = files.iter().find(|(_, bytes)| {
        let here = at < bytes.len();
        at = at.saturating_sub(bytes.len());
        here
    });
    found.unwrap().0.clone()
}

#[test]
fn every_changed_byte_is_found() {
    let (_, original, trust) = set_up();
    assert!(is_proven(&original, &trust));
    let mut dice = Rng::with_seed(0x5eed);
    let mut files = original.clone();
    for round in 0..BYTES {
        let name = any_file(&original, &mut dice);
        let bytes = files.get_mut(&name).unwrap();
        let at = dice.usize(..bytes.len());
        let change = 1 + dice.usize(..255) as u8;
        bytes[at] ^= change;
        assert!(!is_proven(&files, &trust), "round {round}: byte {at} of {name} ^ {change}");
        files.get_mut(&name).unwrap()[at] ^= change;
        if round % 1000 == 0 {
            assert!(is_proven(&files, &trust));
        }
    }
    assert!(files == original);
}

#[test]
fn every_cut_addition_and_loss_is_found() {
    let (_, original, trust) = set_up();
    let mut dice = Rng::with_seed(0xc07);
    for round in 0..600 {
        let mut files = original.clone();
        let name = any_file(&original, &mut dice);
        let bytes = files.get_mut(&name).unwrap();
        match round % 3 {
            0 => bytes.truncate(dice.usize(..bytes.len())),
            1 => {
                let (at, value) = (dice.usize(..bytes.len() + 1), dice.usize(..256) as u8);
                bytes.insert(at, value);
            }
            _ => {
                files.remove(&name);
            }
        }
        assert!(!is_proven(&files, &trust), "round {round}: {name}");
    }
}

#[test]
fn every_exchange_is_found() {
    let (_, original, trust) = set_up();
    let names: Vec<&String> = original.keys().collect();
    for a in &names {
        for b in &names {
            if original[*a] == original[*b] {
                continue;
            }
            let mut files = original.clone();
            files.insert((*a).clone(), original[*b].clone());
            assert!(!is_proven(&files, &trust), "{b} in the place of {a}");
            files.insert((*b).clone(), original[*a].clone());
            assert!(!is_proven(&files, &trust), "{a} and {b} exchanged");
        }
    }
}

/// The leaves in another order, repeated or left out, exported anew by somebody who has the keys of now.
#[test]
fn every_other_order_is_found() {
    let (log, _, trust) = set_up();
    let mut dice = Rng::with_seed(0x0bde);
    for round in 0..300 {
        let mut leaves = log.leaves.clone();
        // What was written before the checkpoint that was kept: 182 leaves.
        let (a, b) = (1 + dice.usize(..181), 1 + dice.usize(..181));
        match round % 3 {
            0 if a != b => leaves.swap(a, b),
            1 => leaves.insert(a, leaves[b].clone()),
            _ => {
                leaves.remove(a);
            }
        }
        let changed = Log {
            leaves,
            host: log.host.clone(),
            epoch: log.epoch.clone(),
            tail: log.tail.clone(),
            file: log.file.clone(),
        };
        assert!(!is_proven(&changed.export(), &trust), "round {round}: {a}, {b}");
    }
}

/// An older copy of everything is genuine in itself; whoever kept a newer checkpoint knows better.
#[test]
fn every_older_copy_is_found() {
    let mut log = Log::of(1, 3);
    let mut copies = vec![log.export()];
    for _ in 0..30 {
        log.turn();
        log.grow(17);
        copies.push(log.export());
    }
    let mut trust = log.file.trust();
    let newest = copies.pop().unwrap();
    assert!(copies.iter().all(|copy| is_proven(copy, &trust)));
    trust.keep(log.checkpoint()).unwrap();
    assert!(is_proven(&newest, &trust));
    assert!(copies.iter().all(|copy| !is_proven(copy, &trust)));
    // And so are mixtures of old and new files.
    let old = copies.pop().unwrap();
    for name in old.keys().filter(|name| newest.get(*name).is_some_and(|bytes| *bytes != old[*name])) {
        let mut files = newest.clone();
        files.insert(name.clone(), old[name].clone());
        assert!(!is_proven(&files, &trust), "{name}");
    }
}
