//! What the path of a cgroup says of who made it. systemd names a unit's cgroup after the unit; container runtimes put the
//! container's identifier into the name, and the kubelet the pod's.

use std::sync::Arc;
use tcptrace_core::socket::CgroupNames;

/// What runtimes put before a container's identifier: Docker and Podman with the systemd driver, Docker's rival nerdctl,
/// containerd and CRI-O under the kubelet.
const BEFORE_ID: [&str; 5] = ["docker-", "libpod-", "nerdctl-", "cri-containerd-", "crio-"];

/// The cgroups that have containers' identifiers alone in them: those of Docker, Podman and the kubelet with the cgroupfs
/// driver.
const PARENTS: [&str; 3] = ["docker", "libpod_parent", "kubepods"];

/// The names that `path`, from the root of the hierarchy, stands for.
pub(super) fn names(path: &str) -> CgroupNames {
    let components: Vec<&str> = path.split('/').filter(|component| !component.is_empty()).collect();
    let text = |found: Option<&str>| found.map(Arc::from);
    CgroupNames {
        path: path.into(),
        unit: text(components.iter().rev().copied().find(|component| is_unit(component))),
        container: text(container(&components)),
        pod: components.iter().find_map(|component| pod(component)).map(Arc::from),
        pod_name: None,
    }
}

/// The container that a process is in by the first version of the hierarchy, by its `/proc/PID/cgroup` (`cgroups(7)`). Each of its
/// lines has a number, controllers and a path; that of the second version has the number 0.
pub(crate) fn container_of_first_version(lines: &str) -> Option<CgroupNames> {
    let paths =
        lines.lines().filter(|line| !line.starts_with("0:")).filter_map(|line| line.splitn(3, ':').nth(2));
    paths.map(names).find(|names| names.container.is_some() || names.pod.is_some())
}

/// Whether a cgroup is that of a unit which has processes: slices only group others.
fn is_unit(component: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|suffix| component.ends_with(suffix))
}

/// The identifier of the innermost container.
fn container<'a>(components: &[&'a str]) -> Option<&'a str> {
    components.iter().enumerate().rev().find_map(|(place, component)| {
        let name = component.strip_suffix(".scope").unwrap_or(component);
        // containerd's own driver for the kubelet: SLICE:cri-containerd:ID.
        if let Some((_, id)) = name.rsplit_once(":cri-containerd:") {
            return is_id(id).then_some(id);
        }
        let named = BEFORE_ID.iter().find_map(|before| name.strip_prefix(before));
        let alone = || {
            let mut above = components[..place].iter();
            above.any(|above| PARENTS.contains(above) || pod(above).is_some()).then_some(name)
        };
        named.or_else(alone).filter(|id| is_id(id))
    })
}

/// Whether it is an identifier of a container, which all runtimes make of 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The identifier of the pod whose cgroup this is (kubelet, `pkg/kubelet/cm/pod_container_manager_linux.go`): `podUID` with
/// the cgroupfs driver; with that of systemd the dashes are underscores, as a dash separates slices.
fn pod(component: &str) -> Option<String> {
    let name = component.split(':').next()?;
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods")?.rsplit_once("-pod")?.1.replace('_', "-"),
        None => match name.strip_prefix("pod") {
            Some(uid) => uid.to_owned(),
            None => name.strip_prefix("kubepods-")?.split_once("-pod")?.1.replace('_', "-"),
        },
    };
    // A pod from a file of the kubelet's own has a checksum instead, of 32 digits.
    let digits: Vec<usize> = uid.split('-').map(str::len).collect();
    let hexadecimal = uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    (hexadecimal && (digits == [8, 4, 4, 4, 12] || digits == [32])).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::{container_of_first_version, names};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "6f2c9c4e-1f0a-4b7e-9a3b-2d1c0e9f8a7b";

    #[test]
    fn the_conventions_of_those_who_make_cgroups() {
        let under = POD.replace('-', "_");
        for (path, unit, container, pod) in [
            ("/", None, false, false),
            ("/system.slice/nginx.service", Some("nginx.service"), false, false),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), false, false),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), false, false),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/firefox.service",
                Some("firefox.service"),
                false,
                false,
            ),
            ("/system.slice/ID.scope", Some("ID.scope"), false, false),
            ("/system.slice/docker-ID.scope", Some("docker-ID.scope"), true, false),
            ("/docker/ID", None, true, false),
            ("/docker/ID/init", None, true, false),
            ("/machine.slice/libpod-ID.scope/container", Some("libpod-ID.scope"), true, false),
            ("/machine.slice/libpod-conmon-ID.scope", Some("libpod-conmon-ID.scope"), false, false),
            ("/libpod_parent/ID", None, true, false),
            ("/ID", None, false, false),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNDER.slice/cri-containerd-ID.scope",
                Some("cri-containerd-ID.scope"),
                true,
                true,
            ),
            ("/kubepods.slice/kubepods-podUNDER.slice/crio-ID.scope", Some("crio-ID.scope"), true, true),
            (
                "/kubepods.slice/kubepods-podUNDER.slice/crio-conmon-ID.scope",
                Some("crio-conmon-ID.scope"),
                false,
                true,
            ),
            ("/kubepods/besteffort/podPOD/ID", None, true, true),
            (
                "/system.slice/containerd.service/kubepods-besteffort-podUNDER.slice:cri-containerd:ID",
                Some("containerd.service"),
                true,
                true,
            ),
            ("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID", None, true, false),
            ("/podracer/ID", None, false, false),
        ] {
            let real = |text: &str| text.replace("UNDER", &under).replace("POD", POD).replace("ID", ID);
            let known = names(&real(path));
            assert_eq!(&*known.path, real(path));
            assert_eq!(known.unit.as_deref(), unit.map(real).as_deref(), "{path}");
            assert_eq!(known.container.as_deref(), container.then_some(ID), "{path}");
            if pod {
                assert_eq!(known.pod.as_deref(), Some(POD), "{path}");
            }
        }
        let of_file = names(&format!("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{ID}"));
        assert_eq!(of_file.pod.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn the_container_is_in_some_hierarchy_of_the_first_version() {
        let docker = format!("/docker/{ID}");
        let lines =
            format!("12:pids:{docker}\n1:name=systemd:{docker}\n0::/system.slice/containerd.service\n");
        let found = container_of_first_version(&lines).expect("a container");
        assert_eq!((&*found.path, found.container.as_deref()), (&*docker, Some(ID)));
        // The second version is known by the socket itself.
        let second = format!("1:name=systemd:/user.slice\n0::{docker}\nx\n");
        assert_eq!(container_of_first_version(&second), None);
    }
}
