use super::*;
use crate::process::record::tests::bytes;

const SECOND: u64 = 1_000_000_000;
const STATE: State = State { uid: 0, login_uid: None, session: None, cgroup: 0, is_kernel: false };

fn key(pid: u32, start: u64) -> Key {
    Key { pid, start }
}

/// A record that has been complete from the beginning, with one process that has always been there.
fn lives() -> Lives {
    let mut lives = Lives::new(Source::ExecCache);
    lives.set_complete(0);
    happen(&mut lives, 1, key(1, 1), exec(b"init\0"));
    lives
}

fn exec(name: &[u8]) -> Event<'_> {
    Event::Exec { names: Some(name), args: name, args_cut: false, file: None, quiet: false }
}

fn happen(lives: &mut Lives, time: u64, key: Key, event: Event<'_>) {
    lives.apply(&Record::Process { time, key, event, state: STATE });
}

/// A child of the first process that becomes a program.
fn start(lives: &mut Lives, pid: u32, at: u64, name: &[u8]) -> Key {
    let child = key(pid, at);
    happen(lives, at, child, Event::Fork(key(1, 1)));
    happen(lives, at, child, exec(name));
    child
}

fn end(lives: &mut Lives, key: Key, at: u64) {
    happen(lives, at, key, Event::Exit);
    happen(lives, at, key, Event::Free);
}

/// The executable's name of who had the number within a window; `?` when that cannot be told, `-` for a stranger.
fn who(lives: &mut Lives, pid: u32, since: u64, until: u64) -> String {
    match lives.writer(pid, Window { since, until, read: 0 }) {
        Answer::Known(writer) => name(writer.program.as_ref()),
        Answer::Stranger => "-".into(),
        Answer::Doubtful => "?".into(),
    }
}

fn name(program: Option<&Arc<Program>>) -> String {
    let exe = program.and_then(|program| program.exe.as_ref());
    exe.map_or("unknown".into(), |exe| exe.to_string())
}

#[test]
fn one_that_is_over_is_still_known_until_its_number_is_taken() {
    let mut lives = lives();
    let a = start(&mut lives, 7, 10, b"a\0");
    assert_eq!(who(&mut lives, 7, 5, 30), "/a");
    end(&mut lives, a, 20);
    assert_eq!(who(&mut lives, 7, 5, 30), "/a");
    assert_eq!(who(&mut lives, 7, 15, 30), "/a");
    // It was over before.
    assert_eq!(who(&mut lives, 7, 21, 30), "?");
    assert_eq!(who(&mut lives, 8, 21, 30), "-");
}

#[test]
fn of_two_that_had_the_number_within_the_window_none_is_chosen() {
    let mut lives = lives();
    let a = start(&mut lives, 7, 10, b"a\0");
    end(&mut lives, a, 20);
    start(&mut lives, 7, 30, b"b\0");
    assert_eq!(who(&mut lives, 7, 15, 40), "?");
    assert_eq!(who(&mut lives, 7, 20, 40), "?");
    assert_eq!(who(&mut lives, 7, 21, 40), "/b");
    assert_eq!(who(&mut lives, 7, 35, 40), "/b");
    // The event was read before the other began.
    assert_eq!(who(&mut lives, 7, 15, 25), "/a");
}

#[test]
fn one_whose_end_was_not_told_yet_may_have_written() {
    let mut lives = lives();
    let a = start(&mut lives, 7, 10, b"a\0");
    happen(&mut lives, 20, a, Event::Exit);
    start(&mut lives, 7, 30, b"b\0");
    assert_eq!(who(&mut lives, 7, 25, 40), "?");
    happen(&mut lives, 24, a, Event::Free);
    assert_eq!(who(&mut lives, 7, 25, 40), "/b");
}

#[test]
fn a_copy_runs_what_its_parent_ran_then() {
    let mut lives = lives();
    let a = start(&mut lives, 7, 10, b"a\0");
    happen(&mut lives, 20, key(8, 20), Event::Fork(a));
    happen(&mut lives, 30, a, exec(b"b\0"));
    assert_eq!(who(&mut lives, 8, 20, 40), "/a");
    assert_eq!(who(&mut lives, 7, 35, 40), "/b");
    end(&mut lives, a, 50);
    let Answer::Known(writer) = lives.writer(8, Window { since: 60, until: 60, read: 0 }) else { panic!() };
    let parents: Vec<_> = writer.parents.iter().map(|one| (one.pid, name(one.program.as_ref()))).collect();
    // What began it, not what that became.
    assert_eq!(parents, [(7, "/a".to_string()), (1, "/init".to_string())]);
}

fn shown(pid: u32, start: u64, parent: u32, exe: &[u8]) -> Process {
    Process {
        key: key(pid, start / TICK * TICK),
        parent,
        exe: Some(RawPath::new(exe)),
        args: Vec::new(),
        args_cut: false,
        file: None,
        state: STATE,
        cgroup: Some(b"/a.slice".to_vec()),
    }
}

#[test]
fn what_proc_shows_and_what_is_told_are_one_process() {
    let mut lives = Lives::new(Source::ExecCache);
    let start = 5 * SECOND + 3_456_789;
    lives.seed(shown(7, start, 1, b"/b"), (6 * SECOND, 6 * SECOND + 10));
    lives.seed(shown(1, 0, 0, b"/init"), (6 * SECOND, 6 * SECOND + 10));
    lives.set_parents(&[(key(7, start / TICK * TICK), 1), (key(1, 0), 0)]);
    assert_eq!(who(&mut lives, 7, 7 * SECOND, 7 * SECOND), "?", "not complete yet");
    // Told late: it began, became one program and, before it was asked, another.
    happen(&mut lives, start, key(7, start), Event::Fork(key(1, 12)));
    happen(&mut lives, start + 5, key(7, start), exec(b"a\0"));
    happen(&mut lives, start + 9, key(7, start), exec(b"b\0"));
    lives.set_complete(7 * SECOND);
    assert_eq!(who(&mut lives, 7, 7 * SECOND, 8 * SECOND), "/b");
    assert_eq!(lives.size().0, 2);
    let Answer::Known(writer) = lives.writer(7, Window { since: 7 * SECOND, until: 8 * SECOND, read: 0 })
    else {
        panic!()
    };
    assert_eq!(writer.cgroup.as_deref(), Some(&b"/a.slice"[..]));
    assert_eq!(writer.parents.len(), 1);
    happen(&mut lives, 9 * SECOND, key(7, start), exec(b"c\0"));
    assert_eq!(who(&mut lives, 7, 9 * SECOND, 9 * SECOND), "/c");
    end(&mut lives, key(7, start), 10 * SECOND);
    assert_eq!(who(&mut lives, 7, 11 * SECOND, 12 * SECOND), "?");
}

#[test]
fn a_copy_from_before_its_parent_was_asked_is_not_guessed() {
    let mut lives = Lives::new(Source::ExecCache);
    lives.seed(shown(7, 0, 1, b"/b"), (100, 200));
    happen(&mut lives, 150, key(8, 150), Event::Fork(key(7, 0)));
    happen(&mut lives, 250, key(9, 250), Event::Fork(key(7, 0)));
    lives.set_complete(100);
    assert_eq!(who(&mut lives, 8, 150, 300), "unknown");
    assert_eq!(who(&mut lives, 9, 250, 300), "/b");
}

#[test]
fn after_a_loss_nobody_is_known_until_all_are_on_record_again() {
    let mut lives = lives();
    start(&mut lives, 7, 10, b"a\0");
    lives.forget_all();
    start(&mut lives, 8, 20, b"b\0");
    assert_eq!(who(&mut lives, 7, 15, 30), "?");
    assert_eq!(who(&mut lives, 8, 20, 30), "?");
    lives.set_complete(40);
    assert_eq!(who(&mut lives, 8, 39, 50), "?", "it may have been another by then");
    assert_eq!(who(&mut lives, 8, 40, 50), "/b");
    assert_eq!(who(&mut lives, 7, 40, 50), "-");
}

#[test]
fn the_oldest_of_those_that_are_over_are_forgotten_and_that_is_known() {
    let mut lives = lives();
    lives.most = 10;
    let long = start(&mut lives, 2, 2, b"long\0");
    for n in 0..100u32 {
        let at = 100 + u64::from(n) * 10;
        let one = start(&mut lives, 100 + n, at, b"short\0");
        end(&mut lives, one, at + 5);
    }
    assert!(lives.size().0 <= 10, "{:?}", lives.size());
    assert_eq!(who(&mut lives, 2, 50, 2000), "/long", "it is alive");
    assert_eq!(who(&mut lives, 1, 50, 2000), "/init");
    assert_eq!(who(&mut lives, 199, 1090, 2000), "/short");
    // Another may have had the number, and been forgotten.
    assert_eq!(who(&mut lives, 199, 50, 2000), "?");
    assert_eq!(who(&mut lives, 100, 50, 2000), "?");
    // An ancestor is kept while its children are.
    end(&mut lives, long, 3000);
    let _ = long;
}

#[test]
fn an_ancestor_that_is_over_is_kept_for_its_children() {
    let mut lives = lives();
    lives.most = 10;
    let parent = start(&mut lives, 2, 2, b"parent\0");
    happen(&mut lives, 3, key(3, 3), Event::Fork(parent));
    end(&mut lives, parent, 4);
    for n in 0..100u32 {
        let at = 100 + u64::from(n) * 10;
        let one = start(&mut lives, 100 + n, at, b"short\0");
        end(&mut lives, one, at + 5);
    }
    let Answer::Known(writer) = lives.writer(3, Window { since: 1500, until: 2000, read: 0 }) else {
        panic!()
    };
    assert_eq!(name(writer.parents[0].program.as_ref()), "/parent");
    end(&mut lives, key(3, 3), 2000);
    assert!(lives.lives.contains_key(&parent));
    for n in 0..20u32 {
        let one = start(&mut lives, 500 + n, 2100, b"short\0");
        end(&mut lives, one, 2200);
    }
    assert!(!lives.lives.contains_key(&parent), "nobody needs it any more");
}

#[test]
fn news_without_beginnings_are_taken_for_the_newest_of_that_number() {
    let mut lives = Lives::new(Source::ProcConnector);
    lives.seed(shown(7, 0, 1, b"/shell"), (1, 2));
    lives.set_complete(3);
    lives.copied(8, 7, 10);
    assert_eq!(who(&mut lives, 8, 5, 20), "/shell");
    lives.became(8, 15, Some(shown(8, 10, 7, b"/touch")), (16, 17));
    assert_eq!(who(&mut lives, 8, 5, 20), "/touch");
    // Nobody was there to be asked.
    lives.copied(9, 7, 20);
    lives.became(9, 21, None, (22, 23));
    assert_eq!(who(&mut lives, 9, 15, 30), "unknown");
    // A copy of what became something before it was asked.
    lives.copied(10, 8, 16);
    assert_eq!(who(&mut lives, 10, 12, 30), "unknown");
    lives.ended(8);
    assert_eq!(lives.end_of(key(8, 10)).map(|end| end.is_some()), Some(true));
    // Nothing tells when its number was free again, so the next one is only known once it was there before.
    lives.copied(8, 7, 40);
    assert_eq!(who(&mut lives, 8, 35, 50), "?");
    assert_eq!(who(&mut lives, 8, 41, 50), "/shell");
}

#[test]
fn arguments_and_crowds_are_bounded() {
    let mut lives = lives();
    lives.most_bytes = 50_000;
    let args = vec![b'x'; 1024];
    for n in 0..1000u32 {
        let child = key(100 + n, u64::from(n) + 10);
        happen(&mut lives, u64::from(n) + 10, child, Event::Fork(key(1, 1)));
        let event =
            Event::Exec { names: Some(b"a\0"), args: &args, args_cut: true, file: None, quiet: false };
        happen(&mut lives, u64::from(n) + 10, child, event);
        assert!(lives.size().1 <= 50_000 + 2048, "{:?}", lives.size());
    }
    // The last ones are there, although none is over.
    assert_eq!(who(&mut lives, 1099, 5000, 5000), "/a");
}

#[test]
fn groups_are_known_by_their_numbers() {
    let mut lives = lives();
    let group = bytes(5, key(0, 0), key(0, 0), 0, b"/x.service\0", b"");
    lives.apply(&Record::parse(&group).unwrap());
    let state = State { cgroup: 9, ..STATE };
    let event = Event::Fork(key(1, 1));
    lives.apply(&Record::Process { time: 10, key: key(7, 10), event, state });
    let group = |lives: &mut Lives, pid| match lives.writer(pid, Window { since: 90, until: 99, read: 0 }) {
        Answer::Known(writer) => writer.cgroup.as_deref().map(<[u8]>::to_vec),
        _ => panic!(),
    };
    assert_eq!(group(&mut lives, 7).unwrap(), b"/x.service");
    happen(&mut lives, 20, key(7, 10), Event::Moved(b"/y.scope"));
    assert_eq!(group(&mut lives, 7).unwrap(), b"/y.scope");
    assert_eq!(group(&mut lives, 1), None);
}

#[test]
fn the_user_at_the_end_is_kept() {
    let mut lives = lives();
    let a = start(&mut lives, 7, 10, b"a\0");
    assert_eq!(lives.end_of(a), Some(None));
    let state = State { uid: 33, ..STATE };
    lives.apply(&Record::Process { time: 20, key: a, event: Event::Exit, state });
    assert_eq!(lives.end_of(a).unwrap().unwrap().uid, 33);
    assert_eq!(lives.end_of(key(7, 11)), None);
}

#[test]
fn the_record_takes_eight_mebibytes_at_most() {
    // Nodes of the tree are at least half full; each life has one program before the one that it runs, as a rule.
    let one = (size_of::<Life>() + size_of::<Key>()) * 11 / 7 + images::ONE_BEFORE;
    println!("{one} bytes a life");
    assert!(MOST * one + MOST_BYTES <= 8 << 20, "{}", MOST * one + MOST_BYTES);
}
