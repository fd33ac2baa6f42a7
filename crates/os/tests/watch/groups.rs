//! fanotify groups and handles on their own.

use crate::fixture::{Kind, on_each};
use std::fs;
use std::os::fd::AsFd;
use waxseal_os::fanotify::{Buffer, FAN_CREATE, FAN_DELETE, Group, MarkError, ResolveError, Resolver};
use waxseal_os::mounts;

#[test]
fn filesystems_say_whether_they_can_be_marked() {
    on_each(&Kind::ALL, |place| {
        let group = Group::new(100, true).unwrap();
        assert_eq!(group.queue_limit(), Some(100));
        let object = fs::File::open(&place.at).unwrap();
        let expected = match place.kind {
            Kind::Btrfs => Err(MarkError::BtrfsSubvolume),
            Kind::Layered | Kind::Overlay => Err(MarkError::Unsupported),
            _ => Ok(()),
        };
        assert_eq!(group.mark_filesystem(object.as_fd()), expected);
    });
}

#[test]
fn a_marked_directory_and_its_handle() {
    on_each(&Kind::MARKED, |place| {
        let dir = place.dir("d");
        let group = Group::new(100, true).unwrap();
        let object = fs::File::open(&dir).unwrap();
        group.mark_inode(object.as_fd()).unwrap();
        drop(object);
        fs::write(dir.join("f"), "1").unwrap();
        let table = mounts::read().unwrap();
        let id = mounts::id_of(fs::File::open(&place.at).unwrap().as_fd());
        let mount = table.iter().find(|mount| Some(mount.id) == id).unwrap();
        let resolver = Resolver::new(mount).unwrap();
        let mut buffer = Buffer::default();
        let mut events = group.read(&mut buffer).unwrap().unwrap();
        let event = events.next().unwrap().unwrap();
        assert!(event.mask & FAN_CREATE != 0 && event.name == Some(b"f"), "{event:?}");
        assert_eq!(event.pid, std::process::id() as i32);
        assert!(event.pidfd.is_some() == group.reports().pidfds);
        let handle = event.dir.unwrap();
        let opened = resolver.directory(&handle).unwrap();
        let located = resolver.locate(opened.as_fd()).unwrap().unwrap();
        assert_eq!(mount.shows(&located.inner).unwrap(), crate::fixture::path(&dir));
        assert!(
            rustix::fs::openat(&opened, "f", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).is_ok()
        );
        assert_eq!(event.target.is_some(), group.reports().targets);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(resolver.locate(opened.as_fd()), Err(ResolveError::Gone));
        drop(opened);
        assert_eq!(resolver.object(&handle).err(), Some(ResolveError::Gone));
        drop((event, events));
        let mut deleted = false;
        while let Some(events) = group.read(&mut buffer).unwrap() {
            deleted |= events.flatten().any(|event| event.mask & FAN_DELETE != 0);
        }
        assert!(deleted);
    });
}
