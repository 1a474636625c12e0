//! What RunInstances needs permission for: everything that a launch uses or makes, named or taken by default
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances>).

use std::borrow::Cow;

use lath_authz::{Access, Scope};
use lath_ec2_kit::tags;
use lath_ec2_records::interfaces::default_groups;
use lath_ec2_records::resources::{
    Facts, INSTANCE, InstanceFacts, KEY_PAIR, NETWORK_INTERFACE, SECURITY_GROUP, SUBNET, VOLUME,
    arn, fact, facts_of_volume,
};
use lath_iam::records::InstanceProfile;
use lath_iam::resource_types::ROLE;

use super::launch::{default_type, instance_type, metadata_at_launch};
use super::network::Network;
use super::request::RunInstances;
use super::{disks, profiles};
use crate::image_kinds::{IMAGE, SNAPSHOT};
use crate::images::{self, Image};
use crate::launch_templates::LAUNCH_TEMPLATE;
use crate::launch_templates::applied::{Applied, applied};

/// What a request says of an interface that it makes, beside what it says of every resource.
const OF_INTERFACE: &[&str] = &["ec2:AssociatePublicIpAddress"];

/// The needs of a launch. It is judged with the parameters of its template; a policy may ask whether they come from one
/// ([`in_template`]).
pub(super) fn needs(access: Access<RunInstances>) -> Access<RunInstances> {
    let of_instance = |access: Access<RunInstances>| {
        access
            .with_all(INSTANCE.keys, |op, at| instance(&launched(op, at), at))
            .tagged(|op, at| requested(op, at, "instance"))
    };
    access
        .on(&IMAGE, |op, at| launched(op, at).image_id.clone())
        .by(|it| in_template(it, |op| op.image_id.is_some()))
        .on(&KEY_PAIR, |op, at| {
            let name = launched(op, at).key_name.clone();
            name.filter(|name| !name.is_empty())
        })
        .by(|it| in_template(it, |op| op.key_name.is_some()))
        .on(&SUBNET, |op, at| subnets(&launched(op, at), at))
        .by(|it| in_template(it, |op| !named_subnets(op).is_empty()))
        .on(&SECURITY_GROUP, |op, at| groups(&launched(op, at), at))
        .by(|it| in_template(it, names_groups))
        .on(&SNAPSHOT, |op, at| snapshots(&launched(op, at)))
        .by(|it| in_template(it, |op| !snapshots(op).is_empty()))
        .on_each(&NETWORK_INTERFACE, OF_INTERFACE, |op, at| {
            interfaces(&launched(op, at), at)
        })
        .tagged(|op, at| requested(op, at, "network-interface"))
        .by(|it| in_template(it, |op| !op.network_interfaces.is_empty()))
        .on_each(&VOLUME, &[], |op, at| volumes(&launched(op, at), at))
        .tagged(|op, at| requested(op, at, "volume"))
        .by(|it| in_template(it, |op| !op.block_devices.is_empty()))
        .on(&LAUNCH_TEMPLATE, |op, at| {
            op.launch_template.as_ref()?.named().id(at)
        })
        .by(|it| in_template(it, |_| false))
        .makes(&INSTANCE)
        .by(of_instance)
        .by(|it| in_template(it, |_| false))
        .by(tags_at_launch)
        .also("iam:PassRole", &ROLE, |op, at| {
            profile(&launched(op, at), at)?.role.clone()
        })
        .with("iam:PassedToService", |_, at| {
            at.partition().ec2_principal()
        })
        .with("iam:AssociatedResourceArn", |_, at| {
            arn(at, "instance", "*")
        })
}

/// Tags at launch need `ec2:CreateTags` on what gets them.
fn tags_at_launch(access: Access<RunInstances>) -> Access<RunInstances> {
    let when = |kind: &'static str, made: fn(&RunInstances, &Scope<'_>) -> Vec<(String, Facts)>| {
        move |op: &RunInstances, at: &Scope<'_>| {
            let op = launched(op, at);
            if tags::requested(&op.tags, kind).is_empty() {
                Vec::new()
            } else {
                made(&op, at)
            }
        }
    };
    let create = "ec2:CreateTags";
    access
        .also_each(
            create,
            &INSTANCE,
            &[],
            when("instance", |op, at| vec![("*".into(), instance(op, at))]),
        )
        .tagged(|op, at| requested(op, at, "instance"))
        .by(at_launch)
        .also_each(
            create,
            &NETWORK_INTERFACE,
            OF_INTERFACE,
            when("network-interface", interfaces),
        )
        .tagged(|op, at| requested(op, at, "network-interface"))
        .by(at_launch)
        .also_each(create, &VOLUME, &[], when("volume", volumes))
        .tagged(|op, at| requested(op, at, "volume"))
        .by(at_launch)
}

fn at_launch(access: Access<RunInstances>) -> Access<RunInstances> {
    access.with("ec2:CreateAction", |_, _| "RunInstances")
}

/// The keys about templates: which one a launch uses, and whether what it uses comes from there. It does unless the
/// request `names` such resources itself
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/use-launch-templates-to-control-instance-launch.html>).
fn in_template(
    access: Access<RunInstances>,
    names: fn(&RunInstances) -> bool,
) -> Access<RunInstances> {
    access
        .with("ec2:IsLaunchTemplateResource", move |op, at| {
            of_template(op, at).is_some() && !names(op)
        })
        .with("ec2:LaunchTemplate", |op, at| {
            let template = of_template(op, at)?.template;
            Some(arn(at, LAUNCH_TEMPLATE.name, template))
        })
}

fn of_template(op: &RunInstances, at: &Scope<'_>) -> Option<Applied> {
    applied(at.view, op).ok().flatten()
}

/// What is asked for altogether. Of a template that cannot be used the handler says so, and the request is judged by what
/// it names itself.
fn launched<'a>(op: &'a RunInstances, at: &Scope<'_>) -> Cow<'a, RunInstances> {
    of_template(op, at).map_or(Cow::Borrowed(op), |it| Cow::Owned(it.request))
}

fn requested(op: &RunInstances, at: &Scope<'_>, kind: &str) -> Vec<(String, String)> {
    tags::requested(&launched(op, at).tags, kind)
}

/// What the launch will use, as its handler finds it. A request that names something twice, or what is not there, is
/// refused by the handler; its permissions are then about what it names.
fn network(op: &RunInstances, at: &Scope<'_>) -> Option<Network> {
    Network::new(at.view, op).ok()
}

fn subnets(op: &RunInstances, at: &Scope<'_>) -> Vec<String> {
    let mut subnets = named_subnets(op);
    if let Some(network) = network(op, at) {
        subnets.extend(network.all().map(|it| it.subnet.id.to_string()));
    }
    subnets
}

fn named_subnets(op: &RunInstances) -> Vec<String> {
    let of_interfaces = op.network_interfaces.iter();
    let named = of_interfaces.filter_map(|it| it.subnet_id.clone());
    named.chain(op.subnet_id.clone()).collect()
}

fn names_groups(op: &RunInstances) -> bool {
    let of_interfaces = op.network_interfaces.iter();
    let mut groups = of_interfaces.flat_map(|it| &it.groups);
    groups.next().is_some() || !op.group_ids.is_empty() || !op.group_names.is_empty()
}

fn groups(op: &RunInstances, at: &Scope<'_>) -> Vec<String> {
    let of_interfaces = op.network_interfaces.iter();
    let named = of_interfaces.flat_map(|it| it.groups.clone());
    let mut groups: Vec<String> = named.chain(op.group_ids.clone()).collect();
    let network = network(op, at);
    for one in network.iter().flat_map(Network::all) {
        let used = match one.groups.as_slice() {
            [] => default_groups(at.view, &one.subnet.vpc),
            some => some.to_vec(),
        };
        groups.extend(used.iter().map(ToString::to_string));
    }
    groups
}

fn snapshots(op: &RunInstances) -> Vec<String> {
    let devices = op.block_devices.iter();
    let named = devices.filter_map(|it| it.ebs.as_ref()?.snapshot_id.clone());
    named.collect()
}

fn interfaces(op: &RunInstances, at: &Scope<'_>) -> Vec<(String, Facts)> {
    let Some(network) = network(op, at) else {
        let named = op.network_interfaces.iter();
        let named = named.filter_map(|it| it.network_interface_id.clone());
        let made = std::iter::once("*".to_owned());
        return named.chain(made).map(|id| (id, Vec::new())).collect();
    };
    let of_one = |one: &Network| {
        let public = one.wants_public().to_string();
        let public = fact("ec2:AssociatePublicIpAddress", public);
        if let Some(existing) = &one.existing {
            return (existing.id.to_string(), vec![public]);
        }
        let facts = vec![
            public,
            fact("ec2:AvailabilityZone", &one.subnet.availability_zone),
            fact("ec2:Subnet", arn(at, "subnet", &one.subnet.id)),
            fact("ec2:Vpc", arn(at, "vpc", &one.subnet.vpc)),
        ];
        ("*".to_owned(), facts)
    };
    network.all().map(of_one).collect()
}

fn image(op: &RunInstances, at: &Scope<'_>) -> Option<Image> {
    let id = op.image_id.as_deref()?;
    let all = images::of_region(at.account(), at.region(), at.view);
    all.into_iter().find(|image| image.id.as_str() == id)
}

fn volumes(op: &RunInstances, at: &Scope<'_>) -> Vec<(String, Facts)> {
    let made = || {
        let image = image(op, at)?;
        let typed = instance_type(op, &image).ok()?;
        let zone = network(op, at)?.subnet.availability_zone.clone();
        let volumes = disks::volumes(op, &image, typed).ok()?;
        let of_one = |it| ("*".to_owned(), facts_of_volume(at, &zone, it));
        Some(volumes.iter().map(of_one).collect())
    };
    made().unwrap_or_else(|| vec![("*".to_owned(), Vec::new())])
}

fn profile(op: &RunInstances, at: &Scope<'_>) -> Option<std::sync::Arc<InstanceProfile>> {
    let given = op.iam_instance_profile.as_ref()?;
    profiles::named(at.owner(), at.view, given).ok()
}

fn instance(op: &RunInstances, at: &Scope<'_>) -> Facts {
    let placement = op.placement.as_ref();
    let tenancy = placement.and_then(|it| it.tenancy.as_deref());
    let network = network(op, at);
    let recovery = op.maintenance_options.as_ref();
    let metadata = image(op, at).and_then(|image| metadata_at_launch(op, &image).ok());
    let profile = profile(op, at).map(|it| it.arn(at.owner()));
    let made = InstanceFacts {
        instance_type: default_type(op),
        zone: network
            .as_ref()
            .map(|it| it.subnet.availability_zone.as_str())
            .or_else(|| placement?.availability_zone.as_deref()),
        ebs_optimized: op.ebs_optimized == Some(true),
        no_recovery: recovery.and_then(|it| it.auto_recovery.as_deref()) == Some("disabled"),
        tenancy: tenancy.filter(|it| !it.is_empty()).unwrap_or("default"),
        metadata: metadata.as_ref(),
        profile: profile.as_deref(),
    };
    made.facts()
}
