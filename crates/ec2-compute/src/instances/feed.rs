//! Instances in the feed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::Cell;
use lath_ec2_kit::instance_types;
use lath_ec2_kit::names;
use lath_ec2_kit::tags;
use lath_ec2_records::{Instance, InstanceState, ProfileAssociation};
use lath_feed::{Capacity, InstanceKind, InstanceMetadata, InstanceProfile, Power, Snapshot};
use lath_model::id::InstanceId;
use lath_store::View;

use super::options::cores_and_threads;

/// Fills an instance that should exist: one that is ending is absent, which ends it.
pub(crate) fn contribute(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse::<InstanceId>() else {
        return;
    };
    let record = view.get::<Instance>(id);
    match record.as_ref().filter(|instance| instance.is_alive()) {
        Some(instance) => {
            let feed = Arc::new(feed_instance(cell, view, instance));
            snapshot.instances.insert(key.clone(), feed);
        }
        None => drop(snapshot.instances.remove(&key)),
    }
    if record.is_some_and(|instance| instance.skips_shutdown) {
        snapshot.cut.insert(key);
    } else {
        snapshot.cut.remove(&key);
    }
}

fn feed_instance(cell: &Cell, view: &View, it: &Instance) -> lath_feed::Instance {
    lath_feed::Instance {
        id: it.id.clone(),
        vpc: it.vpc.clone(),
        power: power(it.state),
        boot: it.boot,
        root: it.root.clone(),
        capacity: capacity(it),
        hostname: it
            .private_ip
            .map_or_else(|| it.id.to_string(), |ip| names::host(cell, it, ip)),
        resource_name: it.names.a_record.then(|| names::resource(cell, &it.id)),
        user_data: user_data(it),
        metadata: metadata(view, it),
        kind: if it.cluster.is_some() || it.for_kubernetes {
            InstanceKind::Node
        } else {
            InstanceKind::Ordinary
        },
        cluster: it.cluster.clone(),
    }
}

/// The type's memory, and as many CPUs as its cores and threads that were chosen. A type that is not known
/// limits nothing.
fn capacity(it: &Instance) -> Capacity {
    let known = instance_types::find(&it.instance_type);
    let mebibytes = known.and_then(|known| u64::try_from(known.memory_mib).ok());
    let (cores, threads) = cores_and_threads(it);
    let vcpus = known.and_then(|_| u32::try_from(cores * threads).ok());
    Capacity {
        memory_bytes: mebibytes.map(|count| count << 20),
        vcpus,
    }
}

fn power(state: InstanceState) -> Power {
    match state {
        InstanceState::Pending | InstanceState::Running => Power::On,
        InstanceState::ShuttingDown
        | InstanceState::Terminated
        | InstanceState::Stopping
        | InstanceState::Stopped => Power::Off,
    }
}

fn user_data(it: &Instance) -> Vec<u8> {
    it.user_data
        .as_deref()
        .map(|text| STANDARD.decode(text).expect("checked before it was stored"))
        .unwrap_or_default()
}

fn metadata(view: &View, it: &Instance) -> InstanceMetadata {
    let tags = || {
        let tags = tags::of(view, it.id.as_str());
        tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
    };
    InstanceMetadata {
        image: it.image.clone(),
        instance_type: it.instance_type.clone(),
        reservation: it.reservation.clone(),
        launch_index: it.launch_index,
        launched_at: it.launched_at,
        key: it.key.clone(),
        availability_zone: it.availability_zone.clone(),
        tags: it.metadata.tags.then(tags),
        tokens_required: it.metadata.tokens_required,
        hop_limit: u8::try_from(it.metadata.hop_limit).unwrap_or(1).max(1),
        enabled: it.metadata.enabled,
        profile: ProfileAssociation::of_instance(view, it).map(|association| profile(&association)),
    }
}

fn profile(it: &ProfileAssociation) -> InstanceProfile {
    InstanceProfile {
        arn: it.profile_arn.clone(),
        id: it.profile_id.clone(),
        updated: it.updated,
        role: it.role.clone(),
        keys: it.session.as_ref().map(|session| session.keys.clone()),
    }
}
