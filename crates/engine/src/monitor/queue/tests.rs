use super::*;
use waxseal_observe::actors::Who;

const NOW: Timestamp = Timestamp::new(1, 0);

fn place(path: &str, deep: bool) -> Place {
    Place { path: RawPath::normalized(path.as_bytes()).unwrap(), deep }
}

fn target(path: &str, deep: bool) -> Target {
    Target {
        place: place(path, deep),
        unfinished: false,
        arrived: false,
        moved: false,
        writers: Marks::default(),
    }
}

fn unfinished(path: &str) -> Target {
    Target { unfinished: true, ..target(path, false) }
}

fn by(pid: u32, target: Target) -> Target {
    Target { writers: Marks::of(Some(Who::Unknown(pid)), target.place.deep), ..target }
}

fn news(targets: impl IntoIterator<Item = Target>) -> News {
    News { targets: targets.into_iter().collect(), objects: Vec::new() }
}

#[test]
fn merges_by_path_and_drops_what_a_deep_look_covers() {
    let queue = Queue::default();
    queue.add(
        news([target("/t/a", false), target("/t/a", false), target("/t/d/x", false), target("/t/d", true)]),
        NOW,
    );
    assert_eq!(queue.take(None).targets, [place("/t/a", false), place("/t/d", true)]);
    queue.add(news([target("/t/d", false), target("/t/d/x", false)]), NOW);
    assert_eq!(queue.take(None).targets, [place("/t/d", false), place("/t/d/x", false)]);
}

/// Places of all portions, and all else.
fn take_all(queue: &Queue) -> Work {
    let mut targets = Vec::new();
    loop {
        let mut work = queue.take(None);
        targets.append(&mut work.targets);
        if queue.lock().round.is_empty() {
            return Work { targets, ..work };
        }
    }
}

/// Whether a look at what is in the queue is a look at this path.
fn covers(work: &Work, path: &RawPath) -> bool {
    let by_target = |t: &Place| path.below(&t.path).is_some_and(|below| below.is_empty() || t.deep);
    work.targets.iter().any(by_target) || work.rescans.keys().any(|place| path.below(place).is_some())
}

#[test]
fn a_storm_stays_bounded_loses_no_place_and_is_told() {
    let queue = Queue::default();
    for d in 0..300 {
        queue.add(news((0..300).map(|f| target(&format!("/t/d{d}/f{f}"), false))), NOW);
    }
    let work = take_all(&queue);
    assert!(work.targets.len() <= MOST && work.rescans.len() <= MOST_RESCANS);
    assert!(work.rescans.values().all(|rescan| *rescan == Rescan { reason: OVERFLOW, since: NOW }));
    assert!(!work.rescans.is_empty());
    for d in 0..300 {
        let path = place(&format!("/t/d{d}/f7"), false).path;
        assert!(covers(&work, &path), "{path}");
    }
}

#[test]
fn names_that_have_a_directory_each_end_as_a_look_at_everything() {
    let queue = Queue::default();
    queue.add(news((0..MOST + 1).map(|i| target(&format!("/t/d{i}/f"), false))), NOW);
    let work = take_all(&queue);
    assert!(work.targets.len() <= MOST && work.rescans.len() <= MOST_RESCANS);
    assert!(covers(&work, &place("/t/d1/f", false).path) && covers(&work, &place("/t/d49999/f", false).path));
}

#[test]
fn a_storm_is_taken_in_portions_and_who_waits_is_told_with_the_last() {
    let queue = Queue::default();
    let name = |f: usize| format!("/t/f{f:05}");
    queue.add(news((0..10_000).map(|f| target(&name(f), false))), NOW);
    queue.add_rest(|work| work.waiters.push(Waiter::new().0));
    let first = queue.take(None);
    assert_eq!((first.targets.len(), first.waiters.len()), (PORTION, 0));
    // More happens at a place that waits, and elsewhere: the one is seen by the same look, the other is left for later.
    queue.add(news([by(7, target(&name(PORTION), false)), target("/t/e", false)]), NOW);
    queue.add_rest(|work| work.waiters.push(Waiter::new().0));
    let second = queue.take(None);
    assert_eq!(second.targets[0], place(&name(PORTION), false));
    assert_eq!(second.writers.of(&second.targets[0].path).len(), 1);
    let third = queue.take(None);
    assert_eq!((third.targets.len(), third.waiters.len()), (10_000 - 2 * PORTION, 1));
    let fourth = queue.take(None);
    assert_eq!((fourth.targets, fourth.waiters.len()), (vec![place("/t/e", false)], 1));
}

#[test]
fn both_names_of_what_was_moved_are_in_one_portion() {
    let queue = Queue::default();
    let moved = |at| Target { moved: true, ..target(at, false) };
    queue.add(news((0..2 * PORTION).map(|f| target(&format!("/t/f{f:05}"), false))), NOW);
    queue.add(news([moved("/t/a"), moved("/t/z")]), NOW);
    let first = queue.take(None).targets;
    assert_eq!((&first[0], &first[first.len() - 1]), (&place("/t/a", false), &place("/t/z", false)));
    // The next move waits for its other name.
    queue.add(news([moved("/t/f07000"), moved("/t/y")]), NOW);
    let rest: Vec<_> = std::iter::repeat_with(|| queue.take(None).targets).take(3).collect();
    assert_eq!(rest[2], [place("/t/f07000", false), place("/t/y", false)]);
}

#[test]
fn a_portion_has_all_that_waits_below_its_directories() {
    let queue = Queue::default();
    queue.add(news((0..=PORTION).map(|f| by(1, target(&format!("/t/d/f{f:05}"), false)))), NOW);
    queue.add(news([target("/t/d", true), target("/t/d-more", false), target("/t/e", false)]), NOW);
    let work = queue.take(None);
    // By one look at the directory.
    assert_eq!(work.targets, [place("/t/d", true), place("/t/d-more", false)]);
    assert_eq!(work.writers.of(&place(&format!("/t/d/f{PORTION:05}"), false).path).len(), 1);
    assert_eq!(queue.take(None).targets, [place("/t/e", false)]);
}

#[test]
fn objects_are_bounded_as_well() {
    let queue = Queue::default();
    let objects = (0..=MOST as u64).map(|inode| ((8, 1, inode), Marks::default())).collect();
    queue.add(News { objects, ..News::default() }, NOW);
    let work = queue.take(None);
    assert!(work.objects.is_empty());
    assert_eq!(work.rescans.keys().next().unwrap().as_bytes(), ALL);
}

#[test]
fn an_overflow_is_not_called_by_another_name() {
    let queue = Queue::default();
    let (early, late) = (NOW, Timestamp::new(2, 0));
    let path = || place("/t", true).path;
    queue.add_rescan(path(), Rescan { reason: OVERFLOW, since: late });
    queue.add_rescan(path(), Rescan { reason: "mount", since: early });
    let wanted = Rescan { reason: OVERFLOW, since: early };
    assert_eq!(queue.take(None).rescans.into_values().collect::<Vec<_>>(), [wanted]);
}

#[test]
fn who_wrote_stays_with_what_is_still_being_written() {
    let queue = Queue::default();
    let pids = |work: &Work, at: &str| -> Vec<u32> {
        work.writers.of(&place(at, false).path).iter().map(Who::pid).collect()
    };
    queue.add(news([by(1, unfinished("/t/a")), by(2, target("/t/b", false))]), NOW);
    let work = queue.take(None);
    assert_eq!((pids(&work, "/t/b"), work.targets.as_slice()), (vec![2], &[place("/t/b", false)][..]));
    assert!(pids(&work, "/t/a").is_empty());
    queue.add(news([by(3, target("/t/a", false))]), NOW);
    assert_eq!(pids(&queue.take(None), "/t/a"), [1, 3]);
    // What was lost may have been by others.
    let objects = vec![((8, 1, 2), Marks::of(Some(Who::Unknown(3)), false))];
    queue.add(News { objects, ..news([by(1, target("/t/a", false)), by(1, unfinished("/t/b"))]) }, NOW);
    queue.forget_writers();
    queue.add(news([by(4, target("/t/b", false))]), NOW);
    let work = queue.take(None);
    assert!(pids(&work, "/t/a").is_empty() && work.objects.values().all(Marks::is_empty));
    assert_eq!((pids(&work, "/t/b"), work.objects.len()), (vec![4], 1));
}

#[test]
fn a_directory_that_came_with_nobodys_name_speaks_for_nobody() {
    let queue = Queue::default();
    queue.add(news([target("/t/d", true), by(7, target("/t/d", false))]), NOW);
    let work = queue.take(None);
    assert_eq!(work.targets, [place("/t/d", true)]);
    assert!(work.writers.of(&place("/t/d/x", false).path).is_empty());
}

#[test]
fn what_appeared_is_told_with_its_place_and_too_much_of_it_as_many() {
    let queue = Queue::default();
    let told = |work: &Work, at: &str| {
        let mut touched = super::super::touched::Touched::default();
        let path = place(at, false).path;
        assert!(touched.is_news(&path) && !touched.is_news(&path));
        touched.forget(&work.arrived);
        touched.is_news(&path)
    };
    queue.add(news([Target { arrived: true, ..unfinished("/t/a") }, target("/t/b", false)]), NOW);
    let work = queue.take(None);
    assert!(!told(&work, "/t/a") && !told(&work, "/t/b"));
    queue.add(news([target("/t/a", false)]), NOW);
    assert!(told(&queue.take(None), "/t/a"));
    queue.add(news((0..=MOST).map(|f| target(&format!("/t/f{f}"), false))), NOW);
    assert!(told(&queue.take(None), "/t/c"));
}

#[test]
fn what_is_being_written_waits_for_its_end_or_a_moment() {
    let queue = Queue::default();
    queue.add(news([unfinished("/t/a"), unfinished("/t/b"), target("/t/c", false)]), NOW);
    assert_eq!(queue.take(None).targets, [place("/t/c", false)]);
    queue.add(news([target("/t/a", false)]), NOW);
    assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
    // Nothing more comes: it is looked at as it is.
    assert_eq!(queue.take(None).targets, [place("/t/b", false)]);
    queue.add(news([target("/t/a", false), unfinished("/t/a")]), NOW);
    assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
    assert!(queue.take(Some(Instant::now())).is_empty());
}

#[test]
fn who_waits_for_everything_gets_what_is_being_written_as_well() {
    let queue = Queue::default();
    queue.add(news([unfinished("/t/a")]), NOW);
    queue.add_rest(|work| work.waiters.push(Waiter::new().0));
    assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
    queue.add(news([unfinished("/t/a")]), NOW);
    queue.end();
    assert_eq!(queue.take(None).targets, [place("/t/a", false)]);
}

#[test]
fn a_storm_of_files_that_are_not_closed_stays_bounded() {
    let queue = Queue::default();
    queue.add(news((0..=MOST).map(|f| unfinished(&format!("/t/f{f}")))), NOW);
    let work = queue.take(None);
    assert!(work.targets.is_empty());
    assert_eq!(work.rescans.keys().next().unwrap().as_bytes(), b"/t");
}

#[test]
fn what_is_more_than_single_places_scans() {
    let one = |deep| Work { targets: vec![place("/t/a", deep)], ..Work::default() };
    assert!(!one(false).scans() && !Work::default().scans());
    let unheard = vec![place("/t", true).path];
    let reload = Work { reload: Some(true), ..Work::default() };
    for work in [one(true), Work { unheard, ..Work::default() }, reload] {
        assert!(work.scans(), "{work:?}");
    }
}

#[test]
fn a_retry_ends_the_wait() {
    assert!(Queue::default().take(Some(Instant::now())).is_empty());
}
