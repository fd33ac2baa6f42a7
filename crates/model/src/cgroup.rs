//! What a control group's path says: which unit of systemd, which container.
//!
//! Docker, Podman, containerd, CRI-O and Kubernetes write the container's id (64 hex digits) into the name of the last
//! group, with systemd as `RUNTIME-ID.scope`, without it as `/RUNTIME/ID`; LXC and systemd-nspawn write names.

use crate::actor::Container;

/// The systemd unit of a process in this group: the innermost service or scope.
pub fn unit(path: &[u8]) -> Option<String> {
    let is_unit = |name: &&str| name.ends_with(".service") || name.ends_with(".scope");
    parts(path).rfind(is_unit).map(str::to_owned)
}

/// The container of a process in this group: the innermost one.
pub fn container(path: &[u8]) -> Option<Container> {
    let names: Vec<&str> = parts(path).collect();
    let (at, (runtime, id)) = names.iter().enumerate().rev().find_map(|(at, name)| {
        let outer = at.checked_sub(1).and_then(|at| names.get(at)).copied().unwrap_or_default();
        Some((at, one(name, outer)?))
    })?;
    let pod = names.get(..at).unwrap_or_default().iter().rev().find_map(|name| pod(name));
    let runtime = match (runtime, &pod) {
        ("", Some(_)) => "kubernetes",
        ("", None) => "containerd",
        (known, _) => known,
    };
    Some(Container { id: id.into(), runtime: runtime.into(), pod })
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &str> {
    let path = std::str::from_utf8(path).unwrap_or_default();
    path.split('/').filter(|name| !name.is_empty())
}

/// Runtime and id, if this is the group of a container; the runtime is empty where only the id is told.
fn one<'a>(name: &'a str, outer: &str) -> Option<(&'static str, &'a str)> {
    const PREFIXES: [(&str, &str); 6] = [
        ("docker-", "docker"),
        ("libpod-", "podman"),
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("crio-", "cri-o"),
        ("containerd-", "containerd"),
    ];
    let bare = name.strip_suffix(".scope").unwrap_or(name);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((runtime, id));
        }
    }
    if let Some(name) = bare.strip_prefix("lxc.payload.") {
        return Some(("lxc", name));
    }
    if let Some(name) = name.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope")) {
        return Some(("systemd-nspawn", name));
    }
    match outer {
        "docker" if is_id(bare) => Some(("docker", bare)),
        "libpod_parent" | "podman" if is_id(bare) => Some(("podman", bare)),
        "lxc" => Some(("lxc", bare)),
        // What comes after a colon is the id as well, where runc is given `SLICE:PREFIX:ID`.
        _ => bare.rsplit(':').next().filter(|id| is_id(id)).map(|id| ("", id)),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The pod's id from `podID` or `kubepods-QOS-podID.slice`, where systemd wants `_` for `-`.
fn pod(name: &str) -> Option<String> {
    let bare = name.strip_suffix(".slice").unwrap_or(name);
    let id = match bare.strip_prefix("pod") {
        Some(id) => id,
        None => bare.strip_prefix("kubepods")?.split_once("-pod")?.1,
    };
    let id = id.replace('_', "-");
    let is_id = id.len() >= 32 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "1f6b4b0e-8d2c-4e53-9d2b-4cf0c2f1a111";

    fn told(path: &str) -> Option<(String, String, Option<String>)> {
        let path = path.replace("POD_", &POD.replace('-', "_")).replace("POD", POD).replace("ID", ID);
        container(path.as_bytes()).map(|one| (one.runtime, one.id, one.pod))
    }

    #[test]
    fn containers_are_told_by_their_groups() {
        let of = |runtime: &str, pod: Option<&str>| {
            Some((runtime.to_string(), ID.to_string(), pod.map(str::to_string)))
        };
        for (path, wanted) in [
            ("/docker/ID", of("docker", None)),
            ("/system.slice/docker-ID.scope", of("docker", None)),
            ("/system.slice/docker-ID.scope/init.scope", of("docker", None)),
            ("/machine.slice/libpod-ID.scope/container", of("podman", None)),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", of("podman", None)),
            ("/default/ID", of("containerd", None)),
            ("/system.slice/nerdctl-ID.scope", of("containerd", None)),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
                of("containerd", Some(POD)),
            ),
            ("/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope", of("cri-o", Some(POD))),
            ("/kubepods/besteffort/podPOD/ID", of("kubernetes", Some(POD))),
            ("/kubepods-besteffort-podPOD_.slice:cri-containerd:ID", of("containerd", None)),
            ("/lxc.payload.web", Some(("lxc".into(), "web".into(), None))),
            ("/machine.slice/machine-deb.scope/payload", Some(("systemd-nspawn".into(), "deb".into(), None))),
            ("/", None),
            ("/system.slice/docker.service", None),
            ("/user.slice/user-1000.slice/session-3.scope", None),
        ] {
            assert_eq!(told(path), wanted, "{path}");
        }
    }

    #[test]
    fn units_are_the_innermost() {
        for (path, wanted) in [
            ("/system.slice/php.service", Some("php.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", Some("x.service")),
            ("/system.slice/a.service/sub", Some("a.service")),
            ("/", None),
            ("/init", None),
        ] {
            assert_eq!(unit(path.as_bytes()).as_deref(), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_breaks_it(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (unit(&path), container(&path));
        }
    }
}
