//! GetLaunchTemplateData: the parameters that an instance could have been launched with.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::tags;
use lath_ec2_records::ProfileAssociation;
use lath_ec2_records::ids;
use lath_ec2_records::resources::INSTANCE;
use lath_ec2_records::{Instance, NetworkInterface, Volume};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::data::*;
use crate::instances::Showing;

operations! {
    for Ec2 as "ec2";
    read GetLaunchTemplateData -> GetLaunchTemplateDataResult = get, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone());
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetLaunchTemplateData {
    pub(crate) dry_run: Option<bool>,
    pub(crate) instance_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetLaunchTemplateDataResult {
    pub(crate) launch_template_data: TemplateDataItem,
}

fn get(
    app: &Ec2,
    view: &View,
    op: &GetLaunchTemplateData,
) -> Result<GetLaunchTemplateDataResult, ApiError> {
    let instance = ids::find::<Instance>(view, &op.instance_id)?;
    if instance.state.is_ending() {
        return Err(crate::instances::wrong_state(&instance));
    }
    Ok(GetLaunchTemplateDataResult {
        launch_template_data: data(app, view, &instance).shown(),
    })
}

fn data(app: &Ec2, view: &View, it: &Instance) -> TemplateData {
    let shown = Showing::new(&app.cell, view).instance(it);
    let metadata = shown.metadata_options;
    let names = shown.private_dns_name_options;
    TemplateData {
        ebs_optimized: Some(it.options.ebs_optimized),
        iam_instance_profile: ProfileAssociation::of_instance(view, it).map(|it| Profile {
            arn: Some(it.profile_arn.clone()),
            name: None,
        }),
        block_devices: it.all_volumes().map(device).collect(),
        network_interfaces: interfaces(view, it),
        image_id: Some(it.image.to_string()),
        instance_type: Some(it.instance_type.clone()),
        key_name: shown.key_name,
        monitoring: Some(Switch {
            enabled: Some(it.options.monitoring),
        }),
        placement: Some(Place {
            availability_zone: Some(it.availability_zone.clone()),
            group_name: Some(String::new()),
            tenancy: Some("default".to_owned()),
            ..Place::default()
        }),
        disable_api_termination: Some(it.termination_protected),
        instance_initiated_shutdown_behavior: Some(it.on_shutdown.name().to_owned()),
        user_data: it.user_data.clone(),
        tag_specifications: tagging(view, "instance", it.id.as_str())
            .into_iter()
            .collect(),
        credit_specification: it.options.cpu_credits.clone().map(|credits| Credits {
            cpu_credits: Some(credits),
        }),
        cpu_options: it.options.cpu.map(|(cores, threads)| Cpu {
            core_count: Some(cores),
            threads_per_core: Some(threads),
            ..Cpu::default()
        }),
        capacity_reservation_specification: Some(Reservations {
            capacity_reservation_preference: Some(
                shown
                    .capacity_reservation_specification
                    .capacity_reservation_preference,
            ),
            capacity_reservation_target: None,
        }),
        hibernation_options: Some(Hibernation {
            configured: Some(false),
        }),
        metadata_options: Some(Metadata {
            http_tokens: Some(metadata.http_tokens),
            http_put_response_hop_limit: Some(metadata.http_put_response_hop_limit),
            http_endpoint: Some(metadata.http_endpoint),
            http_protocol_ipv6: Some(metadata.http_protocol_ipv6),
            instance_metadata_tags: Some(metadata.instance_metadata_tags),
        }),
        enclave_options: Some(Switch {
            enabled: Some(false),
        }),
        private_dns_name_options: Some(PrivateNames {
            hostname_type: Some(names.hostname_type),
            enable_resource_name_dns_a_record: Some(names.enable_resource_name_dns_a_record),
            enable_resource_name_dns_aaaa_record: Some(false),
        }),
        maintenance_options: Some(Maintenance {
            auto_recovery: Some(shown.maintenance_options.auto_recovery),
        }),
        disable_api_stop: Some(it.stop_protected),
        ..TemplateData::default()
    }
}

fn device(volume: &Volume) -> Device {
    Device {
        device_name: Some(volume.device.clone()),
        ebs: Some(Ebs {
            encrypted: Some(volume.encrypted),
            delete_on_termination: Some(true),
            iops: volume.iops,
            snapshot_id: volume.snapshot.clone(),
            volume_size: Some(volume.size),
            volume_type: Some(volume.kind.clone()),
            throughput: volume.throughput,
            ..Ebs::default()
        }),
        ..Device::default()
    }
}

fn interfaces(view: &View, it: &Instance) -> Vec<Interface> {
    let of_instance = |interface: &NetworkInterface| {
        let attachment = interface.attachment.clone();
        attachment.filter(|to| to.instance == it.id)
    };
    let mut all: Vec<Interface> = view
        .list::<NetworkInterface>()
        .filter_map(|interface| {
            let attachment = of_instance(&interface)?;
            let ip = interface.primary_ip().to_string();
            Some(Interface {
                delete_on_termination: Some(attachment.delete_on_termination),
                description: Some(interface.description.clone()),
                device_index: i32::try_from(attachment.device_index).ok(),
                groups: GroupIds(interface.groups.iter().map(ToString::to_string).collect()),
                interface_type: Some("interface".to_owned()),
                network_interface_id: Some(interface.id.to_string()),
                private_ip_address: Some(ip.clone()),
                private_ip_addresses: vec![PrivateAddress {
                    primary: Some(true),
                    private_ip_address: Some(ip),
                }],
                subnet_id: Some(interface.subnet.to_string()),
                network_card_index: Some(0),
                ..Interface::default()
            })
        })
        .collect();
    all.sort_by_key(|it| it.device_index);
    all
}

/// The user's tags; those of AWS's are of what launched the instance.
fn tagging(view: &View, resource_type: &str, id: &str) -> Option<Tagging> {
    let tags = tags::of(view, id).into_iter();
    let own = tags.filter(|tag| !tag.key.starts_with("aws:"));
    let tags: Vec<TagGiven> = own
        .map(|tag| TagGiven {
            key: Some(tag.key),
            value: Some(tag.value),
        })
        .collect();
    (!tags.is_empty()).then(|| Tagging {
        resource_type: Some(resource_type.to_owned()),
        tags,
    })
}
