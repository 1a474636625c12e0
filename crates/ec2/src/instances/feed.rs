//! Instances in the feed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::Cell;
use lath_feed::{InstanceMetadata, Power, Snapshot};
use lath_store::View;

use super::shown::names;
use crate::records::{Instance, InstanceState};
use crate::tags;

/// Fills the instances that should exist: those that are ending are absent, which ends them.
pub(crate) fn contribute(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let alive = view
        .list::<Instance>()
        .filter(|instance| instance.is_alive());
    snapshot.instances.extend(alive.map(|instance| {
        let feed = feed_instance(cell, view, &instance);
        (instance.id.clone(), Arc::new(feed))
    }));
}

fn feed_instance(cell: &Cell, view: &View, it: &Instance) -> lath_feed::Instance {
    lath_feed::Instance {
        id: it.id.clone(),
        vpc: it.vpc.clone(),
        power: power(it.state),
        boot: it.boot,
        root: it.root.clone(),
        hostname: it
            .private_ip
            .map_or_else(|| it.id.to_string(), |ip| names::private(cell, ip)),
        user_data: user_data(it),
        metadata: metadata(view, it),
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
        enabled: it.metadata.enabled,
    }
}
