//! Renews the certificates of control planes and nodes in their files, without a boot: their programs read them again. So are
//! those of the authority, which programs read when they start.

use std::path::Path;
use std::time::{Duration, Instant};

use lath_feed::{Power, Snapshot};
use lath_instance::Instances;
use lath_kubernetes::control_plane;
use lath_kubernetes::leaves::{CERTIFICATES, Needed};
use lath_kubernetes::node;
use lath_kubernetes::pki::Authority;
use lath_model::{Timestamp, WorkloadId};

use super::{Parts, nodes, plane};

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_secs(20);
/// A certificate with its key is shorter.
const LONGEST: u64 = 64 << 10;

/// When files were looked at last.
#[derive(Default)]
pub(super) struct Renewal(Option<Instant>);

impl Renewal {
    /// Renews what is due, where a look is.
    pub(super) async fn look(&mut self, parts: &Parts, snapshot: &Snapshot) {
        if self.0.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.0 = Some(Instant::now());
        let mut needed: Vec<(WorkloadId, Vec<Needed>, &lath_feed::ClusterKeys)> = Vec::new();
        for it in snapshot.control_planes.values() {
            let certificates = control_plane::certificates(it);
            needed.push((plane::workload(it), certificates, &it.keys));
        }
        for instance in snapshot.instances.values() {
            if instance.power != Power::On {
                continue;
            }
            let of_node = nodes::with_node(snapshot, instance, |it| {
                (node::certificates(it), &it.plane.keys)
            });
            if let Ok(Some((certificates, keys))) = of_node {
                needed.push((WorkloadId::from(instance.id.clone()), certificates, keys));
            }
        }
        let mut opened = Vec::new();
        for (id, certificates, keys) in needed {
            match Authority::open(keys, &parts.clock) {
                Ok(authority) => opened.push((id, certificates, authority)),
                Err(error) => {
                    tracing::warn!(workload.id = %id, %error, "certificates cannot be renewed")
                }
            }
        }
        let (instances, now) = (parts.instances.clone(), parts.clock.now());
        let renewed = tokio::task::spawn_blocking(move || {
            for (id, certificates, authority) in opened {
                renew(&instances, &id, &certificates, &authority, now);
            }
        });
        // A panic has been reported.
        drop(renewed.await);
    }
}

fn renew(
    instances: &Instances,
    id: &WorkloadId,
    certificates: &[Needed],
    authority: &Authority,
    now: Timestamp,
) {
    let directory = Path::new(CERTIFICATES);
    // Its first boot makes the directory.
    if !instances.host_directory(id, directory).exists() {
        return;
    }
    let authorities = match id {
        WorkloadId::Managed(_) => control_plane::authorities(authority).to_vec(),
        _ => node::authorities(authority).to_vec(),
    };
    for (name, content) in authorities {
        if let Err(error) = instances.write_file(id, directory, name, content.as_bytes()) {
            tracing::warn!(workload.id = %id, name, %error, "certificates of an authority cannot be written");
        }
    }
    for needed in certificates {
        let name = needed.file_name();
        let there = instances.read_file(id, directory, &name, LONGEST);
        let renewed = needed.renewed(authority, &there.unwrap_or_default(), now);
        let content = match renewed {
            Ok(None) => continue,
            Ok(Some(content)) => content,
            Err(error) => {
                tracing::warn!(workload.id = %id, name, %error, "a certificate cannot be renewed");
                continue;
            }
        };
        match instances.write_secret(id, directory, &name, content.as_bytes()) {
            Ok(()) => tracing::info!(workload.id = %id, name, "a certificate was renewed"),
            Err(error) => {
                tracing::warn!(workload.id = %id, name, %error, "a certificate cannot be written")
            }
        }
    }
}
