//! A container as the engine is asked for it.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as ApiMount, MountType};

use super::{LABEL_ATTEMPT, LABEL_GROUP, LABEL_INSTALL, LABEL_SESSION};
use crate::sandbox::Spec;

/// The most of a container's output that the engine keeps for an adoption.
const ENGINE_LOG: &str = "8m";

/// The container as the design describes it: see container/README.md for each line's reason. Without a network it has none.
pub(super) fn body(spec: &Spec, network: Option<String>) -> ContainerCreateBody {
    let owner = &spec.owner;
    let user = format!("{}:{}", spec.user.uid, spec.user.gid);
    let tmpfs = format!("rw,nosuid,nodev,exec,size={},mode=1777", spec.limits.tmp_bytes);
    let home = format!(
        "rw,nosuid,nodev,exec,size={},mode=0700,uid={},gid={}",
        spec.limits.tmp_bytes, spec.user.uid, spec.user.gid
    );
    let mounts = spec.mounts.iter().map(|mount| ApiMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(!mount.writable),
        ..ApiMount::default()
    });
    let host_config = HostConfig {
        network_mode: Some(network.unwrap_or_else(|| "none".to_owned())),
        auto_remove: Some(true),
        init: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs), ("/home/agent".to_owned(), home)])),
        memory: Some(spec.limits.memory_bytes),
        memory_swap: Some(spec.limits.memory_bytes),
        nano_cpus: Some(nano_cpus(spec.limits.cpus)),
        pids_limit: Some(spec.limits.pids),
        mounts: Some(mounts.collect()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), ENGINE_LOG.to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        user: Some(user),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(HashMap::from([
            (LABEL_INSTALL.to_owned(), owner.install.clone()),
            (LABEL_GROUP.to_owned(), owner.group.to_string()),
            (LABEL_SESSION.to_owned(), owner.session.to_string()),
            (LABEL_ATTEMPT.to_owned(), owner.attempt.to_string()),
        ])),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// The limit in the engine's unit. An engine refuses more cores than its machine has, so there that is the limit.
fn nano_cpus(cpus: f64) -> i64 {
    let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let there = u32::try_from(there).map_or(f64::MAX, f64::from);
    #[expect(clippy::cast_possible_truncation, reason = "the configuration allows 1024 cores at most")]
    let nano = (cpus.min(there) * 1e9) as i64;
    nano
}
