//! DescribeVolumes: the volumes of instances. There are no others.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::select::{Listed, Query, select_keyed};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::resources::VOLUME;
use lath_ec2_records::{Instance, Volume};
use lath_model::Timestamp;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeVolumes {
    #[serde(rename = "VolumeId", default)]
    ids: Vec<String>,
    /// Volumes that an AWS service manages: there are none.
    #[serde(rename = "IncludeManagedResources")]
    _managed: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    next_token: Option<String>,
    max_results: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeVolumesResult {
    next_token: Option<String>,
    volume_set: Vec<VolumeItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeItem {
    availability_zone_id: String,
    tag_set: Vec<Tag>,
    volume_type: String,
    multi_attach_enabled: bool,
    volume_id: String,
    size: i32,
    snapshot_id: String,
    availability_zone: String,
    status: String,
    create_time: Timestamp,
    attachment_set: Vec<VolumeAttachment>,
    encrypted: bool,
    iops: Option<i32>,
    throughput: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeAttachment {
    delete_on_termination: bool,
    volume_id: String,
    instance_id: String,
    device: String,
    status: String,
    attach_time: Timestamp,
}

operations! {
    for Ec2 as "ec2";
    read DescribeVolumes -> DescribeVolumesResult = describe, dry_run => any();
}

fn attached(it: &VolumeItem, of: fn(&VolumeAttachment) -> String) -> Vec<String> {
    it.attachment_set.iter().map(of).collect()
}

impl Listed for VolumeItem {
    const ID: IdForm = VOLUME.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("attachment.attach-time", |it| {
            attached(it, |it| it.attach_time.to_string())
        }),
        ("attachment.delete-on-termination", |it| {
            attached(it, |it| it.delete_on_termination.to_string())
        }),
        ("attachment.device", |it| {
            attached(it, |it| it.device.clone())
        }),
        ("attachment.instance-id", |it| {
            attached(it, |it| it.instance_id.clone())
        }),
        ("attachment.status", |it| {
            attached(it, |it| it.status.clone())
        }),
        ("availability-zone", |it| vec![it.availability_zone.clone()]),
        ("availability-zone-id", |it| {
            vec![it.availability_zone_id.clone()]
        }),
        ("create-time", |it| vec![it.create_time.to_string()]),
        ("encrypted", |it| vec![it.encrypted.to_string()]),
        ("fast-restored", |_| vec!["false".into()]),
        ("operator.managed", |_| vec!["false".into()]),
        ("operator.principal", |_| Vec::new()),
        ("multi-attach-enabled", |it| {
            vec![it.multi_attach_enabled.to_string()]
        }),
        ("size", |it| vec![it.size.to_string()]),
        ("snapshot-id", |it| vec![it.snapshot_id.clone()]),
        ("status", |it| vec![it.status.clone()]),
        ("volume-id", |it| vec![it.volume_id.clone()]),
        ("volume-type", |it| vec![it.volume_type.clone()]),
    ];
    fn id(&self) -> &str {
        &self.volume_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tag_set
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeVolumes,
) -> Result<DescribeVolumesResult, ApiError> {
    let show = |instance: &Instance, id: &str| {
        let volume = instance.all_volumes().find(|it| it.id.as_str() == id)?;
        Some(shown(view, instance, volume))
    };
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_keyed(view, "volume", show, &query)?;
    Ok(DescribeVolumesResult {
        next_token: page.next_token,
        volume_set: page.items,
    })
}

fn shown(view: &View, it: &Instance, volume: &Volume) -> VolumeItem {
    VolumeItem {
        availability_zone_id: lath_ec2_records::zone_id(&it.availability_zone),
        tag_set: tags::of(view, volume.id.as_str()),
        volume_type: volume.kind.clone(),
        multi_attach_enabled: false,
        volume_id: volume.id.to_string(),
        size: volume.size,
        snapshot_id: volume.snapshot.clone().unwrap_or_default(),
        availability_zone: it.availability_zone.clone(),
        status: "in-use".into(),
        create_time: volume.created_at,
        attachment_set: vec![VolumeAttachment {
            delete_on_termination: true,
            volume_id: volume.id.to_string(),
            instance_id: it.id.to_string(),
            device: volume.device.clone(),
            status: "attached".into(),
            attach_time: volume.created_at,
        }],
        encrypted: volume.encrypted,
        iops: volume.iops,
        throughput: volume.throughput,
    }
}

#[cfg(test)]
impl DescribeVolumes {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}
