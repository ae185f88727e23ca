//! The names of Kubernetes pods by their unique identifiers, from the folder in which the kubelet keeps the logs of containers: it
//! has a folder for each pod, `NAMESPACE_NAME_UID` (kubelet, `pkg/kubelet/kuberuntime/helpers.go`, `BuildPodLogsDirectory`),
//! which is made before the pod's first container. Neither the kubelet nor the API server is asked for anything.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

/// The most pods that are named. The kubelet runs 110 on a node unless it is told otherwise.
const MOST: usize = 16_384;

/// The names of pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    /// The folder; `None` where names were not asked for.
    folder: Option<PathBuf>,
    /// `NAMESPACE/NAME` by identifier.
    names: HashMap<Box<str>, Arc<str>>,
}

impl Pods {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, names: HashMap::new() }
    }

    /// Reads the folder again. One that is not there has no names to tell.
    pub(super) fn read(&mut self) {
        let Some(folder) = &self.folder else { return };
        self.names.clear();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MOST) {
            if let Some((uid, name)) = entry.file_name().to_str().and_then(parse) {
                self.names.insert(uid.into(), name.into());
            }
        }
    }

    /// The name of the pod with this identifier, as `NAMESPACE/NAME`.
    pub(super) fn find(&self, uid: &str) -> Option<Arc<str>> {
        self.names.get(uid).cloned()
    }
}

/// The identifier and the name that a folder's name stands for. Neither namespaces nor names have an underscore (RFC 1123).
fn parse(folder: &str) -> Option<(&str, String)> {
    let mut parts = folder.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && [namespace, name, uid].iter().all(|part| !part.is_empty());
    is_whole.then(|| (uid, format!("{namespace}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::Pods;
    use std::fs;
    use tcptrace_testing::folder::Folder;

    #[test]
    fn a_pod_is_named_after_the_folder_of_its_logs() {
        let folder = Folder::new();
        let uid = "6f2c9c4e-1f0a-4b7e-9a3b-2d1c0e9f8a7b";
        let mut pods = Pods::new(Some(folder.to_owned()));
        pods.read();
        assert_eq!(pods.find(uid), None);
        for name in [&format!("shop_web-7d4b9c-x2x4q_{uid}"), "no-pod", "a_b_c_d", "__"] {
            fs::create_dir(folder.join(name)).expect("a folder can be made");
        }
        pods.read();
        assert_eq!(pods.find(uid).as_deref(), Some("shop/web-7d4b9c-x2x4q"));
        assert_eq!(pods.names.len(), 1, "{:?}", pods.names);
    }

    #[test]
    fn names_that_nobody_asked_for_are_not_read() {
        let mut pods = Pods::default();
        pods.read();
        assert_eq!(pods.find("6f2c9c4e-1f0a-4b7e-9a3b-2d1c0e9f8a7b"), None);
    }
}
