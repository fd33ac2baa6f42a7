//! That the monitor is alive, on record and told.

#![allow(clippy::disallowed_methods, reason = "tests make, change and remove their own files")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use waxseal_scenarios::Machine;
use waxseal_scenarios::files::*;

#[test]
fn a_heartbeat_is_on_record_and_its_checkpoint_proves_the_log() {
    let machine = Machine::new();
    for name in ["a", "b"] {
        write(machine.at(name), "1");
    }
    machine.watch_tree("[ledger]\nheartbeat = \"1s\"");
    machine.init();
    let mut watching = machine.watch();
    let quiet = watching.next_matching(|line| line["type"] == "heartbeat");
    append(machine.at("a"), b"x");
    machine.sync();
    let later = watching.next_matching(|line| line["type"] == "heartbeat" && line["open"] == 1);
    let entries = watching.ready["watching"].as_u64().unwrap();
    assert_eq!((quiet["watching"].as_u64(), quiet["open"].as_u64()), (Some(entries), Some(0)));
    assert_eq!(quiet["backend"], watching.ready["backend"]);
    watching.stop();
    let log = machine.waxseal(["log", "--json"]).expect_code(0).lines();
    for line in [&quiet, &later] {
        // What is in memory only would be no proof of anything.
        let leaves = usize::try_from(line["leaves"].as_u64().unwrap()).unwrap();
        let [beat, key] = &log[leaves - 2..leaves] else { unreachable!() };
        assert_eq!((&beat["kind"], &key["kind"]), (&"heartbeat".into(), &"key".into()));
        for what in ["time", "watching", "open", "backend"] {
            assert_eq!(beat[what], line[what], "{what}");
        }
    }
    // What was printed is a checkpoint to keep.
    let kept = machine.home().join("kept");
    write(&kept, later["checkpoint"].as_str().unwrap());
    let proof = machine.waxseal(["verify", "--json", "--checkpoint", kept.to_str().unwrap()]).expect_code(0);
    assert_eq!(proof.lines().last().unwrap()["kept"], later["leaves"]);
    let text = machine.waxseal(["log", "--kind", "heartbeat"]).expect_code(0);
    assert!(text.text().contains(&format!("alive    watching {entries} entries with ")), "{}", text.text());
}
