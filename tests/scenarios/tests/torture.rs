//! The torture in its short form: a few seconds on each filesystem, and the control. The long form is
//! `cargo xtask torture`.

use waxseal_scenarios::torture::{Length, Options, run};
use waxseal_scenarios::{Fs, skip};

/// Enough for every operation to succeed at least once.
const SHORT: Options = Options {
    fs: Fs::Tmpfs,
    seed: 1,
    length: Length::Operations(6_000),
    names: 50_000,
    sealed_every: 10,
    restarts: true,
    full_queue: false,
    reconcile: true,
};

fn nothing_is_missed_on(fs: Fs, seed: u64) {
    let outcome = match run(&Options { fs, seed, ..SHORT }) {
        Ok(outcome) => outcome,
        Err(why) => return skip(&why),
    };
    assert!(outcome.overflows > 0, "no event was lost, which proves nothing: {outcome}");
    // The one for which a C compiler is needed says so itself.
    let never: Vec<_> =
        outcome.never_done().into_iter().filter(|name| *name != "store through a map").collect();
    assert!(never.is_empty(), "not once: {never:?}");
    let shown: Vec<_> = outcome.differences.iter().take(10).collect();
    assert!(outcome.differences.is_empty(), "{outcome}\n{shown:#?}");
}

#[test]
fn nothing_is_missed_on_ext4() {
    nothing_is_missed_on(Fs::Ext4, 11);
}

#[test]
fn nothing_is_missed_on_xfs() {
    nothing_is_missed_on(Fs::Xfs, 12);
}

#[test]
fn nothing_is_missed_on_btrfs() {
    nothing_is_missed_on(Fs::Btrfs, 13);
}

#[test]
fn nothing_is_missed_on_tmpfs() {
    nothing_is_missed_on(Fs::Tmpfs, 14);
}

/// The same with a monitor that does not scan again after it has lost events: if that went unnoticed, the tests above
/// would prove nothing.
#[test]
fn a_monitor_that_does_not_scan_again_is_found_out() {
    let length = Length::Operations(1_000);
    let control = Options { length, reconcile: false, restarts: false, ..SHORT };
    match run(&control) {
        Ok(outcome) => {
            assert!(outcome.overflows > 0, "no event was lost: {outcome}");
            assert!(outcome.differences.len() > 100, "the torture cannot fail: {outcome}");
        }
        Err(why) => skip(&why),
    }
}
