//! Overlays, watched through the filesystem of their upper layer.

use crate::fixture::{Kind, on_each, run, unmount};
use std::fs;
use std::os::unix::fs::PermissionsExt;

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
        ears.hear("another backend", |hint| matches!(hint, waxseal_os::watcher::Hint::Lost { .. }));
        ears.forget();
        fs::write(tree.join("new/deep/f"), "1").unwrap();
        ears.hear_name(&tree.join("new/deep/f"));
    });
}
