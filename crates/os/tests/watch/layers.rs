//! Overlays, watched through the filesystem of their upper layer.

use crate::fixture::{Kind, on_each, path, run, unmount};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use waxseal_os::watcher::Hint;

#[test]
fn what_lies_in_a_lower_layer_is_heard_of_when_it_changes() {
    on_each(&[Kind::Layered], |place| {
        let base = place.at.parent().unwrap();
        let (lower, m) = (base.join("lower/t"), base.to_str().unwrap());
        unmount(&place.at);
        fs::create_dir_all(lower.join("d")).unwrap();
        for name in ["written", "restricted", "removed", "moved", "d/deep"] {
            fs::write(lower.join(name), "lower").unwrap();
        }
        let options = format!("lowerdir={m}/lower,upperdir={m}/upper,workdir={m}/work");
        run("mount", &["-t", "overlay", "-o", &options, "none", place.at.to_str().unwrap()]).unwrap();
        let tree = place.at.join("t");
        let mut ears = place.watch(&[&tree]);
        fs::write(tree.join("written"), "upper").unwrap();
        ears.hear_about(&tree.join("written"));
        fs::set_permissions(tree.join("restricted"), fs::Permissions::from_mode(0o600)).unwrap();
        ears.hear_about(&tree.join("restricted"));
        fs::remove_file(tree.join("removed")).unwrap();
        ears.hear_about(&tree.join("removed"));
        fs::rename(tree.join("moved"), tree.join("moved-here")).unwrap();
        ears.hear_about(&tree.join("moved"));
        ears.hear_about(&tree.join("moved-here"));
        fs::write(tree.join("d/deep"), "upper").unwrap();
        ears.hear_about(&tree.join("d/deep"));
        fs::remove_dir_all(tree.join("d")).unwrap();
        ears.hear_about(&tree.join("d"));
        ears.forget();
        fs::create_dir(tree.join("d")).unwrap();
        ears.hear_about(&tree.join("d"));
    });
}

/// The layer's event comes while the overlay is still at it.
#[test]
fn a_name_that_is_told_is_there_for_whoever_looks_at_once() {
    on_each(&[Kind::Layered], |place| {
        let tree = place.dir("t");
        fs::write(tree.join("0"), "").unwrap();
        let mut ears = place.watch(&[&tree]);
        let count = 5000;
        let mut late = 0;
        std::thread::scope(|scope| {
            let (go, gone) = std::sync::mpsc::channel();
            let tree = &tree;
            scope.spawn(move || {
                for n in 0..count {
                    fs::rename(tree.join(n.to_string()), tree.join((n + 1).to_string())).unwrap();
                    if gone.recv().is_err() {
                        return;
                    }
                }
            });
            for n in 0..count {
                let to = tree.join((n + 1).to_string());
                // A name that is known to be missing is the quickest to be told of.
                let _ = fs::symlink_metadata(tree.join((n + 2).to_string()));
                let at = path(&to);
                ears.hear("the move", |hint| matches!(hint, Hint::Renamed { to, .. } if *to == at));
                late += usize::from(fs::symlink_metadata(&to).is_err());
                ears.forget();
                go.send(()).unwrap();
            }
        });
        assert_eq!(late, 0, "of {count}");
    });
}

#[test]
fn writes_to_the_upper_layer_itself_are_heard() {
    on_each(&[Kind::Layered], |place| {
        let tree = place.dir("t");
        let mut ears = place.watch(&[&tree]);
        fs::write(place.at.with_file_name("upper/t/f"), "beside the overlay").unwrap();
        ears.hear_name(&tree.join("f"));
    });
}

#[test]
fn an_upper_layer_that_is_hidden_later_is_not_relied_on() {
    on_each(&[Kind::Layered], |place| {
        let tree = place.dir("t");
        let mut ears = place.watch(&[&tree]);
        let upper = place.at.with_file_name("upper");
        run("mount", &["-t", "tmpfs", "none", upper.to_str().unwrap()]).unwrap();
        fs::create_dir_all(tree.join("new/deep")).unwrap();
        ears.hear_about(&tree.join("new"));
        ears.hear("another backend", |hint| matches!(hint, Hint::Lost { .. }));
        ears.forget();
        fs::write(tree.join("new/deep/f"), "1").unwrap();
        ears.hear_name(&tree.join("new/deep/f"));
    });
}
