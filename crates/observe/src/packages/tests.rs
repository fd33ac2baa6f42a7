#![allow(clippy::disallowed_methods, reason = "tests make their own files")]

use super::*;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt;

const STATUS: &str = "\
Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5.12-2\n\
\nPackage: bash\nEssential: yes\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b7\n\
\nPackage: libx\nStatus: install ok installed\nArchitecture: i386\nVersion: 1:1~i\n\
\nPackage: libx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1~a\n\
\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 9\n\
\nPackage: odd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1 \u{1b}[2J\n";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(home.0.path().join("dpkg/info")).unwrap();
        std::os::unix::fs::symlink("usr/bin", home.0.path().join("bin")).unwrap();
        home.write("status", STATUS);
        home.write("info/dash.list", "/.\n/bin\n/bin/dash\n/usr/share/x\n");
        home.write("info/bash.list", "/.\n/usr/bin/bash\n/usr/share/x\n");
        home.write("info/libx:amd64.list", "/usr/lib/x/helper\n");
        home.write("info/gone.list", "/usr/bin/gone\n");
        home.write("info/odd.list", "/usr/bin/odd\n");
        home
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join("dpkg").join(name), text).unwrap();
    }

    fn packages(&self) -> Packages {
        let root = RawPath::normalized(self.0.path().as_os_str().as_bytes()).unwrap();
        Packages::at(root.join(b"dpkg"), root)
    }
}

fn owner(packages: &mut Packages, path: &str) -> Option<String> {
    packages.owner(&RawPath::new(path.as_bytes()))
}

#[test]
fn the_package_that_has_a_file_is_told_with_its_version() {
    let home = Home::new();
    let mut packages = home.packages();
    assert_eq!(owner(&mut packages, "/usr/bin/bash").unwrap(), "bash 5.2.15-2+b7");
    // The package has it by the name from before `/bin` was a link.
    assert_eq!(owner(&mut packages, "/usr/bin/dash").unwrap(), "dash 0.5.12-2");
    assert_eq!(owner(&mut packages, "/usr/lib/x/helper").unwrap(), "libx 1:1~a");
    for nobodys in ["/tmp/bash", "/usr/bin/bas", "/usr/bin", "/", "/bash", "/usr/bin/gone", "/usr/bin/odd"] {
        assert_eq!(owner(&mut packages, nobodys), None, "{nobodys}");
    }
    // Two have it.
    assert_eq!(owner(&mut packages, "/usr/share/x"), None);
}

#[test]
fn what_comes_and_goes_is_noticed() {
    let home = Home::new();
    let mut packages = home.packages();
    assert_eq!(owner(&mut packages, "/usr/bin/new"), None);
    home.write("status", &format!("{STATUS}\nPackage: new\nStatus: install ok installed\nVersion: 2\n"));
    home.write("info/new.list", "/usr/bin/new\n");
    assert_eq!(owner(&mut packages, "/usr/bin/new").unwrap(), "new 2");
    std::fs::remove_file(home.0.path().join("dpkg/info/new.list")).unwrap();
    assert_eq!(owner(&mut packages, "/usr/bin/new"), None);
}

#[test]
fn diverted_files_are_their_owners() {
    let home = Home::new();
    home.write("diversions", "/bin/dash\n/bin/dash.distrib\nbash\n/usr/bin/bash\n/usr/bin/bash.real\n:\n");
    home.write("info/bash.list", "/usr/bin/dash\n/usr/bin/bash\n");
    let mut packages = home.packages();
    // What is called dash is bash's, dash's is called otherwise; the administrator put something in place of bash.
    assert_eq!(owner(&mut packages, "/usr/bin/dash").unwrap(), "bash 5.2.15-2+b7");
    assert_eq!(owner(&mut packages, "/usr/bin/dash.distrib").unwrap(), "dash 0.5.12-2");
    assert_eq!(owner(&mut packages, "/usr/bin/bash"), None);
    assert_eq!(owner(&mut packages, "/usr/bin/bash.real").unwrap(), "bash 5.2.15-2+b7");
}

#[test]
fn without_lists_nobody_owns_anything() {
    let home = tempfile::tempdir().unwrap();
    let root = RawPath::normalized(home.path().as_os_str().as_bytes()).unwrap();
    assert_eq!(owner(&mut Packages::at(root.join(b"dpkg"), root), "/usr/bin/bash"), None);
}

#[test]
fn of_this_system_the_same_is_told_as_by_dpkg() {
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let Ok(output) = std::process::Command::new("dpkg-query").args(["-W", "-f=${Version}", "dash"]).output()
    else {
        return println!("SKIPPED of_this_system_the_same_is_told_as_by_dpkg: there is no dpkg");
    };
    if !shell.ends_with("dash") || !output.status.success() {
        return println!("SKIPPED of_this_system_the_same_is_told_as_by_dpkg: the shell is not dash");
    }
    let wanted = format!("dash {}", String::from_utf8(output.stdout).unwrap());
    let path = RawPath::new(shell.as_os_str().as_bytes());
    assert_eq!(Packages::default().owner(&path), Some(wanted));
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in any::<Vec<u8>>(), name in any::<Vec<u8>>()) {
        let aliases = [(b"/bin".to_vec(), name.clone())];
        let wanted = Wanted::of(&name, &aliases, &text);
        let _ = (wanted.is_in(&text, &name), version(&text, &name, None), version(&text, &name, Some(&name)));
    }
}
