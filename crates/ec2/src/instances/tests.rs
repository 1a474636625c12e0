//! Instances through their lives, with an observer in place of a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::Cell;
use lath_feed::{InstanceObserved, InstancePhase, Observed, Power, RootSource, Snapshot};
use lath_model::Timestamp;
use lath_model::id::{
    DhcpOptionsId, ImageId, InstanceId, NetworkAclId, ReservationId, SecurityGroupId, SubnetId,
    VolumeId, VpcId,
};
use lath_wire::{ApiError, Caller, Handle, Operation, Principal};
use tokio::sync::watch;

use super::attributes::*;
use super::console::GetConsoleOutput;
use super::credits::DescribeInstanceCreditSpecifications;
use super::describe::{DescribeInstances, describe};
use super::power::*;
use super::request::*;
use super::shown::{InstanceItem, Reservation};
use super::status::DescribeInstanceStatus;
use super::type_catalogue::{DescribeInstanceTypeOfferings, DescribeInstanceTypes};
use super::volumes::DescribeVolumes;
use crate::Ec2;
use crate::filter::Filter;
use crate::images;
use crate::key_pairs::{CreateKeyPair, DeleteKeyPair, DescribeKeyPairs, ImportKeyPair};
use crate::records::*;
use crate::tags::{TagInput, TagSpecification};

struct Lab {
    app: Arc<Ec2>,
    observe: watch::Sender<Arc<Observed>>,
    seen: Observed,
    subnet: SubnetId,
    group: SecurityGroupId,
    foreign_group: SecurityGroupId,
}

impl Lab {
    async fn new() -> Self {
        let (cell, observe) = Cell::for_test();
        let lab = Self {
            app: Arc::new(Ec2 { cell }),
            observe,
            seen: Observed::default(),
            subnet: SubnetId::random(),
            group: SecurityGroupId::random(),
            foreign_group: SecurityGroupId::random(),
        };
        lab.put_network().await;
        lab
    }

    /// A VPC with one subnet of eleven addresses and its default group, and a group of another VPC.
    async fn put_network(&self) {
        let vpc = VpcId::random();
        let group = |id: &SecurityGroupId, vpc: &VpcId| SecurityGroup {
            id: id.clone(),
            vpc: vpc.clone(),
            owner: "123456789012".into(),
            name: "default".into(),
            description: "d".into(),
            rules: Vec::new(),
        };
        let written = self.app.change(None, |tx| {
            tx.put(Vpc {
                id: vpc.clone(),
                owner: "123456789012".into(),
                cidrs: vec![CidrBlock::new("10.0.0.0/16".parse().unwrap())],
                is_default: false,
                dhcp_options: DhcpOptionsId::random(),
                network_acl: NetworkAclId::random(),
                dns_support: true,
                dns_hostnames: false,
                available: true,
                created_at: Timestamp::now(),
            });
            tx.put(Subnet {
                id: self.subnet.clone(),
                vpc: vpc.clone(),
                owner: "123456789012".into(),
                cidr: "10.0.1.0/28".parse().unwrap(),
                availability_zone: "us-east-1a".into(),
                default_for_az: false,
                map_public_ip_on_launch: false,
                acl_association: "aclassoc-0".into(),
                created_after: 0,
                available: true,
                names: PrivateDnsNames::default(),
            });
            tx.put(group(&self.group, &vpc));
            tx.put(group(&self.foreign_group, &VpcId::random()));
            Ok(())
        });
        written.await.unwrap();
    }

    fn image(&self) -> String {
        let view = self.app.cell.db.view();
        images::all(&self.app.cell, &view)[0].id.to_string()
    }

    /// What the CLI sends for the common options.
    fn request(&self) -> RunInstances {
        RunInstances {
            image_id: Some(self.image()),
            instance_type: Some("t3.medium".into()),
            min_count: 1,
            max_count: 1,
            subnet_id: Some(self.subnet.to_string()),
            ..RunInstances::default()
        }
    }

    async fn call<Op: Operation>(&self, op: Op) -> Result<Op::Output, ApiError>
    where
        Ec2: Handle<Op>,
    {
        let caller = Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "ec2".into(),
            principal: Principal {
                arn: "arn:aws:iam::123456789012:root".into(),
                user_id: "123456789012".into(),
            },
            access_key_id: "AKIA".into(),
            request_id: "r".into(),
            source_ip: None,
        };
        self.app.handle(&caller, op).await
    }

    async fn run(&self, op: RunInstances) -> InstanceItem {
        let mut reservation: Reservation = self.call(op).await.unwrap();
        reservation.instances_set.remove(0)
    }

    /// Code and status of a refusal.
    async fn refusal<Op: Operation>(&self, op: Op) -> String
    where
        Ec2: Handle<Op>,
    {
        match self.call(op).await {
            Ok(_) => "no refusal".into(),
            Err(error) => format!("{} {}", error.code, error.status),
        }
    }

    /// The node reports the instance so, having obeyed everything.
    async fn node_says(&mut self, id: &str, state: Option<InstancePhase>) {
        let key = id.parse().unwrap();
        match state {
            None => drop(self.seen.instances.remove(&key)),
            Some(state) => {
                let boot = self.record(id).boot;
                let since = Timestamp::now();
                let observed = InstanceObserved { state, boot, since };
                self.seen.instances.insert(key, observed);
            }
        }
        self.seen.applied_version = self.app.cell.db.view().revision();
        self.observe.send_replace(Arc::new(self.seen.clone()));
        super::reconcile(Arc::clone(&self.app)).await.unwrap();
    }

    fn record(&self, id: &str) -> Arc<Instance> {
        self.app.cell.db.view().get::<Instance>(id).unwrap()
    }

    fn shown(&self, id: &str) -> InstanceItem {
        let op = DescribeInstances {
            ids: vec![id.into()],
            ..DescribeInstances::default()
        };
        let view = self.app.cell.db.view();
        let mut found = describe(&self.app, &view, &op).unwrap();
        found.reservation_set.remove(0).instances_set.remove(0)
    }

    fn state(&self, id: &str) -> String {
        self.shown(id).instance_state.name
    }

    fn feed(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        super::contribute(&self.app.cell, &self.app.cell.db.view(), &mut snapshot);
        snapshot
    }

    fn interfaces(&self) -> usize {
        self.app.cell.db.view().list::<NetworkInterface>().count()
    }
}

/// For tests of parts: a running instance.
pub(super) fn an_instance() -> Instance {
    Instance {
        id: InstanceId::random(),
        owner: "123456789012".into(),
        reservation: ReservationId::random(),
        launch_index: 0,
        image: ImageId::random(),
        root: RootSource::Host,
        root_volume: Volume {
            id: VolumeId::random(),
            device: "/dev/xvda".into(),
            size: 8,
            kind: "gp3".into(),
            iops: None,
            throughput: None,
            encrypted: false,
            snapshot: None,
            created_at: Timestamp::now(),
        },
        volumes: Vec::new(),
        architecture: "x86_64".into(),
        instance_type: "t3.medium".into(),
        key: None,
        vpc: VpcId::random(),
        subnet: SubnetId::random(),
        availability_zone: "us-east-1a".into(),
        primary_interface: None,
        private_ip: Some([10, 0, 1, 10].into()),
        wants_public_ip: false,
        user_data: None,
        state: InstanceState::Running,
        state_after: 0,
        boot: 1,
        state_reason: None,
        transition_reason: String::new(),
        launched_at: Timestamp::now(),
        terminated_at: None,
        client_token: None,
        metadata: MetadataOptions {
            enabled: true,
            tokens_required: false,
            hop_limit: 1,
            tags: false,
        },
        on_shutdown: ShutdownBehavior::Stop,
        termination_protected: false,
        stop_protected: false,
        names: PrivateDnsNames::default(),
        options: InstanceOptions::default(),
    }
}

fn public_interface(lab: &Lab) -> RunInstances {
    RunInstances {
        subnet_id: None,
        network_interfaces: vec![InterfaceSpecification {
            device_index: Some(0),
            associate_public_ip_address: Some(true),
            subnet_id: Some(lab.subnet.to_string()),
            groups: vec![lab.group.to_string()],
            ..InterfaceSpecification::default()
        }],
        ..lab.request()
    }
}

fn disk(device: &str, ebs: EbsDevice) -> BlockDevice {
    BlockDevice {
        device_name: Some(device.to_owned()),
        ebs: Some(ebs),
        ..BlockDevice::default()
    }
}

fn ids(id: &str) -> Vec<String> {
    vec![id.to_owned()]
}

macro_rules! op {
    ($op:ident { $($field:ident: $value:expr),* $(,)? }) => {
        $op { $($field: $value,)* ..$op::default() }
    };
}

#[tokio::test]
async fn an_instance_lives_and_dies_as_its_node_says() {
    let mut lab = Lab::new().await;
    let shown = lab.run(public_interface(&lab)).await;
    let id = shown.instance_id.as_str();
    assert_eq!(shown.instance_state.name, "pending");
    assert_eq!(shown.private_ip_address.as_deref(), Some("10.0.1.4"));
    assert!(shown.ip_address.is_some());
    assert_eq!(shown.private_dns_name, "ip-10-0-1-4.ec2.internal");
    let fed = Arc::clone(&lab.feed().instances[&id.parse().unwrap()]);
    assert_eq!((fed.power, fed.boot), (Power::On, 1));
    assert_eq!(fed.hostname, "ip-10-0-1-4.ec2.internal");

    lab.node_says(id, Some(InstancePhase::Starting)).await;
    assert_eq!(lab.state(id), "pending");
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(lab.state(id), "running");

    lab.call(StopInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "stopping");
    assert_eq!(lab.feed().instances[&id.parse().unwrap()].power, Power::Off);
    lab.node_says(id, Some(InstancePhase::Stopped)).await;
    let stopped = lab.shown(id);
    assert_eq!(stopped.instance_state.name, "stopped");
    assert_eq!(stopped.ip_address, None);
    assert_eq!(stopped.private_ip_address.as_deref(), Some("10.0.1.4"));

    lab.call(StartInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "pending");
    assert!(lab.shown(id).ip_address.is_some());
    assert_eq!(lab.feed().instances[&id.parse().unwrap()].boot, 2);
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(lab.state(id), "running");

    lab.call(TerminateInstances::of(id)).await.unwrap();
    assert_eq!(lab.state(id), "shutting-down");
    assert!(lab.feed().instances.is_empty());
    lab.node_says(id, Some(InstancePhase::Stopping)).await;
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    let gone = lab.shown(id);
    assert_eq!(gone.instance_state.code, 48);
    assert_eq!((gone.private_ip_address, gone.subnet_id), (None, None));
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn a_node_that_has_not_obeyed_yet_does_not_end_an_instance() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.call(TerminateInstances::of(id)).await.unwrap();
    super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    assert_eq!(lab.state(id), "terminated");
}

#[tokio::test]
async fn what_cannot_start_is_terminated_and_says_why() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    let reason = "no space left".to_owned();
    lab.node_says(id, Some(InstancePhase::Failed { reason }))
        .await;
    assert_eq!(lab.state(id), "shutting-down");
    lab.node_says(id, None).await;
    let reason = lab.shown(id).state_reason.unwrap();
    assert_eq!(reason.code, "Server.InternalError");
    assert_eq!(reason.message, "Server.InternalError: no space left");
}

#[tokio::test]
async fn a_shutdown_from_within_stops_or_terminates_as_chosen() {
    for (behaviour, want) in [(None, "stopping"), (Some("terminate"), "shutting-down")] {
        let mut lab = Lab::new().await;
        let mut request = lab.request();
        request.instance_initiated_shutdown_behavior = behaviour.map(str::to_owned);
        let shown = lab.run(request).await;
        let id = shown.instance_id.as_str();
        lab.node_says(id, Some(InstancePhase::Running)).await;
        let reason = "ended".to_owned();
        lab.node_says(id, Some(InstancePhase::Failed { reason }))
            .await;
        assert_eq!(lab.state(id), want);
    }
}

#[tokio::test]
async fn an_observation_of_an_earlier_boot_changes_nothing() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(RebootInstances::of(id)).await.unwrap();
    let seen = lab.seen.instances.get_mut(&id.parse().unwrap()).unwrap();
    seen.state = InstancePhase::Failed {
        reason: "old".into(),
    };
    lab.observe.send_replace(Arc::new(lab.seen.clone()));
    super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "running");
}

#[tokio::test]
async fn a_stop_right_after_a_reboot_comes_to_its_end() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    lab.call(RebootInstances::of(id)).await.unwrap();
    lab.call(StopInstances::of(id)).await.unwrap();
    // The node never saw the second boot.
    let seen = lab.seen.instances.get_mut(&id.parse().unwrap()).unwrap();
    seen.state = InstancePhase::Stopped;
    lab.seen.applied_version = lab.app.cell.db.view().revision();
    lab.observe.send_replace(Arc::new(lab.seen.clone()));
    super::reconcile(Arc::clone(&lab.app)).await.unwrap();
    assert_eq!(lab.state(id), "stopped");
}

#[tokio::test]
async fn a_repeated_token_launches_once_and_a_changed_request_is_refused() {
    let lab = Lab::new().await;
    let request = |kind: &str| RunInstances {
        client_token: Some("t".into()),
        instance_type: Some(kind.into()),
        ..lab.request()
    };
    let first = lab.run(request("t3.medium")).await;
    let again = lab.run(request("t3.medium")).await;
    assert_eq!(first.instance_id, again.instance_id);
    assert_eq!(lab.interfaces(), 1);
    let mismatch = lab.refusal(request("t3.large")).await;
    assert_eq!(mismatch, "IdempotentParameterMismatch 400");
}

#[tokio::test]
async fn as_many_as_addresses_allow_are_launched() {
    let lab = Lab::new().await;
    let many = |least, most| RunInstances {
        instance_type: Some("t2.micro".into()),
        min_count: least,
        max_count: most,
        ..lab.request()
    };
    let refused = lab.refusal(many(12, 12)).await;
    assert_eq!(refused, "InsufficientFreeAddressesInSubnet 400");
    assert_eq!(lab.interfaces(), 0);
    let some = lab.call(many(1, 20)).await.unwrap();
    assert_eq!(some.instances_set.len(), 11);
    let addresses: BTreeSet<_> = some
        .instances_set
        .iter()
        .map(|it| it.private_ip_address.clone())
        .collect();
    assert_eq!(addresses.len(), 11);
}

#[tokio::test]
async fn the_quota_of_vcpus_holds() {
    let lab = Lab::new().await;
    let big = RunInstances {
        instance_type: Some("m5.4xlarge".into()),
        min_count: 3,
        max_count: 3,
        ..lab.request()
    };
    assert_eq!(lab.refusal(big).await, "VcpuLimitExceeded 400");
}

#[tokio::test]
async fn a_dry_run_launches_nothing() {
    let lab = Lab::new().await;
    let mut request = lab.request();
    request.dry_run = Some(true);
    assert_eq!(lab.refusal(request).await, "DryRunOperation 412");
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn bad_launches_are_refused() {
    let lab = Lab::new().await;
    let text = |text: &str| Some(text.to_owned());
    let big = STANDARD.encode(vec![b'x'; 16_385]);
    let tagged = |kind: &str| TagSpecification {
        resource_type: Some(kind.into()),
        tags: vec![TagInput::default()],
    };
    let specified = |it: InterfaceSpecification| RunInstances {
        network_interfaces: vec![it],
        subnet_id: None,
        ..lab.request()
    };
    macro_rules! run {
        ($($field:ident: $value:expr),*) => { RunInstances { $($field: $value,)* ..lab.request() } };
    }
    let table = [
        ("no image", run!(image_id: None), "MissingParameter 400"),
        (
            "image None",
            run!(image_id: text("None")),
            "InvalidAMIID.Malformed 400",
        ),
        (
            "image unknown",
            run!(image_id: text("ami-0123456789abcdef0")),
            "InvalidAMIID.NotFound 400",
        ),
        (
            "type",
            run!(instance_type: text("x.y")),
            "InvalidParameterValue 400",
        ),
        (
            "other machine",
            run!(instance_type: text("t4g.small")),
            "InvalidParameterValue 400",
        ),
        (
            "type without its hardware",
            run!(instance_type: text("p4d.24xlarge")),
            "Unsupported 400",
        ),
        (
            "optimised type that is none",
            run!(instance_type: text("t2.micro"), ebs_optimized: Some(true)),
            "InvalidParameterCombination 400",
        ),
        (
            "credits of a type without any",
            run!(instance_type: text("m6i.large"), credit_specification: Some(CreditSpecification { cpu_credits: "standard".into() })),
            "InvalidParameterCombination 400",
        ),
        (
            "cores that the type has not",
            run!(cpu_options: Some(op!(CpuOptions { core_count: Some(3) }))),
            "InvalidParameterValue 400",
        ),
        (
            "key",
            run!(key_name: text("k")),
            "InvalidKeyPair.NotFound 400",
        ),
        (
            "subnet None",
            run!(subnet_id: text("None")),
            "InvalidSubnetID.Malformed 400",
        ),
        (
            "subnet",
            run!(subnet_id: text("subnet-0123456789abcdef0")),
            "InvalidSubnetID.NotFound 400",
        ),
        (
            "no default VPC",
            run!(subnet_id: None),
            "VPCIdNotSpecified 400",
        ),
        (
            "group",
            run!(group_ids: ids("sg-0123456789abcdef0")),
            "InvalidGroup.NotFound 400",
        ),
        (
            "group None",
            run!(group_ids: ids("None")),
            "InvalidGroupId.Malformed 400",
        ),
        (
            "foreign group",
            run!(group_ids: ids(lab.foreign_group.as_str())),
            "InvalidParameter 400",
        ),
        (
            "group name",
            run!(group_names: ids("default")),
            "InvalidParameterCombination 400",
        ),
        (
            "user data",
            run!(user_data: text("%")),
            "InvalidUserData.Malformed 400",
        ),
        (
            "long user data",
            run!(user_data: Some(big)),
            "InvalidParameterValue 400",
        ),
        (
            "no instance",
            run!(min_count: 0),
            "InvalidParameterValue 400",
        ),
        (
            "min above max",
            run!(min_count: 2),
            "InvalidParameterValue 400",
        ),
        (
            "too many",
            run!(max_count: 1001),
            "InvalidParameterValue 400",
        ),
        (
            "reserved address",
            run!(private_ip_address: text("10.0.1.1")),
            "InvalidParameterValue 400",
        ),
        (
            "no address",
            run!(private_ip_address: text("x")),
            "InvalidParameterValue 400",
        ),
        (
            "shutdown",
            run!(instance_initiated_shutdown_behavior: text("x")),
            "InvalidParameterValue 400",
        ),
        (
            "kernel",
            run!(kernel_id: text("aki-1")),
            "UnsupportedOperation 400",
        ),
        (
            "template",
            run!(launch_template: Some(Structure {})),
            "UnsupportedOperation 400",
        ),
        (
            "tags of a VPC",
            run!(tags: vec![tagged("vpc")]),
            "InvalidParameterValue 400",
        ),
        (
            "tag without key",
            run!(tags: vec![tagged("instance")]),
            "InvalidParameterValue 400",
        ),
        (
            "long token",
            run!(client_token: Some("t".repeat(65))),
            "InvalidParameterValue 400",
        ),
        (
            "profile",
            run!(iam_instance_profile: Some(op!(InstanceProfile { name: text("p") }))),
            "InvalidParameterValue 400",
        ),
        (
            "metadata",
            run!(metadata_options: Some(op!(MetadataOptionsInput { http_tokens: text("maybe") }))),
            "InvalidParameterValue 400",
        ),
        (
            "disk without size",
            run!(block_devices: vec![op!(BlockDevice { device_name: text("/dev/sdf") })]),
            "MissingParameter 400",
        ),
        (
            "iops of gp2",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { volume_size: Some(10), volume_type: text("gp2"), iops: Some(100) }))]),
            "InvalidParameterCombination 400",
        ),
        (
            "few iops",
            run!(block_devices: vec![disk("/dev/xvda", op!(EbsDevice { volume_type: text("gp3"), iops: Some(100) }))]),
            "InvalidParameterValue 400",
        ),
        (
            "io2 without iops",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { volume_size: Some(10), volume_type: text("io2") }))]),
            "MissingParameter 400",
        ),
        (
            "key of a disk",
            run!(block_devices: vec![disk("/dev/xvda", op!(EbsDevice { kms_key_id: text("k") }))]),
            "UnsupportedOperation 400",
        ),
        (
            "snapshot",
            run!(block_devices: vec![disk("/dev/sdf", op!(EbsDevice { snapshot_id: text("snap-1") }))]),
            "InvalidSnapshot.NotFound 400",
        ),
        (
            "zone of another subnet",
            run!(placement: Some(op!(Placement { availability_zone: text("us-east-1b") }))),
            "InvalidParameterValue 400",
        ),
        (
            "both forms",
            run!(network_interfaces: vec![InterfaceSpecification::default()]),
            "InvalidParameterCombination 400",
        ),
        (
            "no index",
            specified(InterfaceSpecification::default()),
            "InvalidParameterValue 400",
        ),
        (
            "unknown interface",
            specified(op!(InterfaceSpecification {
                network_interface_id: text("eni-0123456789abcdef0")
            })),
            "InvalidNetworkInterfaceID.NotFound 400",
        ),
    ];
    for (name, request, want) in table {
        assert_eq!(lab.refusal(request).await, want, "{name}");
    }
    assert_eq!(lab.interfaces(), 0);
}

#[tokio::test]
async fn instances_that_do_not_exist_are_not_found() {
    let lab = Lab::new().await;
    for (id, want) in [
        ("None", "InvalidInstanceID.Malformed 400"),
        ("i-0123456789abcdef0", "InvalidInstanceID.NotFound 400"),
    ] {
        assert_eq!(lab.refusal(StartInstances::of(id)).await, want);
        assert_eq!(lab.refusal(StopInstances::of(id)).await, want);
        assert_eq!(lab.refusal(TerminateInstances::of(id)).await, want);
        assert_eq!(lab.refusal(RebootInstances::of(id)).await, want);
        assert_eq!(
            lab.refusal(op!(DescribeInstances { ids: ids(id) })).await,
            want
        );
        assert_eq!(lab.refusal(DescribeInstanceStatus::of(id)).await, want);
        assert_eq!(lab.refusal(GetConsoleOutput::of(id)).await, want);
        assert_eq!(
            lab.refusal(DescribeInstanceCreditSpecifications::of(id))
                .await,
            want
        );
        assert_eq!(
            lab.refusal(DescribeInstanceAttribute::of(id, "userData"))
                .await,
            want
        );
        assert_eq!(lab.refusal(ModifyInstanceAttribute::of(id)).await, want);
        assert_eq!(
            lab.refusal(ResetInstanceAttribute::of(id, "sourceDestCheck"))
                .await,
            want
        );
        assert_eq!(
            lab.refusal(ModifyInstanceMetadataOptions::of(id)).await,
            want
        );
    }
    let none = "InvalidParameterCombination 400";
    assert_eq!(lab.refusal(TerminateInstances::default()).await, none);
    assert_eq!(lab.refusal(StopInstances::default()).await, none);
    assert_eq!(lab.refusal(StartInstances::default()).await, none);
    assert_eq!(lab.refusal(RebootInstances::default()).await, none);
}

#[tokio::test]
async fn wrong_states_and_protections_are_respected() {
    let mut lab = Lab::new().await;
    let mut request = lab.request();
    request.disable_api_termination = Some(true);
    request.disable_api_stop = Some(true);
    let shown = lab.run(request).await;
    let id = shown.instance_id.as_str();
    assert_eq!(
        lab.refusal(StopInstances::of(id)).await,
        "IncorrectInstanceState 400"
    );
    lab.node_says(id, Some(InstancePhase::Running)).await;
    assert_eq!(
        lab.refusal(StopInstances::of(id)).await,
        "OperationNotPermitted 400"
    );
    assert_eq!(
        lab.refusal(TerminateInstances::of(id)).await,
        "OperationNotPermitted 400"
    );
    let off = |name: &str| ModifyInstanceAttribute::named(id, name, "false");
    lab.call(off("disableApiTermination")).await.unwrap();
    lab.call(TerminateInstances::of(id)).await.unwrap();
    assert_eq!(
        lab.refusal(StartInstances::of(id)).await,
        "IncorrectInstanceState 400"
    );
    let reboot = lab.refusal(RebootInstances::of(id)).await;
    assert_eq!(reboot, "IncorrectInstanceState 400");
    assert_eq!(
        lab.refusal(off("disableApiStop")).await,
        "IncorrectInstanceState 400"
    );
}

#[tokio::test]
async fn attributes_change_one_at_a_time() {
    let mut lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let id = shown.instance_id.as_str();
    lab.node_says(id, Some(InstancePhase::Running)).await;
    for (name, value, want) in [
        ("disableApiStop", "maybe", "InvalidParameterValue 400"),
        ("shoeSize", "9", "InvalidParameterValue 400"),
        ("kernel", "aki-1", "UnsupportedOperation 400"),
        ("instanceType", "t3.large", "IncorrectInstanceState 400"),
        ("userData", "eA==", "IncorrectInstanceState 400"),
        (
            "groupSet",
            "sg-0123456789abcdef0",
            "InvalidGroup.NotFound 400",
        ),
        (
            "groupSet",
            lab.foreign_group.as_str(),
            "InvalidGroup.NotFound 400",
        ),
        (
            "instanceInitiatedShutdownBehavior",
            "explode",
            "InvalidParameterValue 400",
        ),
    ] {
        let op = ModifyInstanceAttribute::named(id, name, value);
        assert_eq!(lab.refusal(op).await, want, "{name}");
    }
    assert_eq!(
        lab.refusal(ModifyInstanceAttribute::of(id)).await,
        "MissingParameter 400"
    );
    let unknown = DescribeInstanceAttribute::of(id, "shoeSize");
    assert_eq!(lab.refusal(unknown).await, "InvalidParameterValue 400");
    let kernel = ResetInstanceAttribute::of(id, "kernel");
    assert_eq!(lab.refusal(kernel).await, "UnsupportedOperation 400");
    let off = ModifyInstanceAttribute::named(id, "sourceDestCheck", "false");
    lab.call(off).await.unwrap();
    assert_eq!(lab.shown(id).source_dest_check, Some(false));
    lab.call(ResetInstanceAttribute::of(id, "sourceDestCheck"))
        .await
        .unwrap();
    assert_eq!(lab.shown(id).source_dest_check, Some(true));
}

#[tokio::test]
async fn other_bad_requests_are_refused() {
    let lab = Lab::new().await;
    let filter = || {
        vec![Filter {
            name: Some("colour".into()),
            values: ids("red"),
        }]
    };
    let bad = "InvalidParameterValue 400";
    assert_eq!(
        lab.refusal(op!(DescribeInstances { filters: filter() }))
            .await,
        bad
    );
    assert_eq!(
        lab.refusal(op!(DescribeInstances {
            max_results: Some(4)
        }))
        .await,
        bad
    );
    let token = Some("junk".to_owned());
    let page = op!(DescribeInstances {
        max_results: Some(5),
        next_token: token
    });
    assert_eq!(lab.refusal(page).await, "InvalidNextToken 400");
    let both = op!(DescribeInstances {
        ids: ids("i-0123456789abcdef0"),
        max_results: Some(5)
    });
    assert_eq!(lab.refusal(both).await, "InvalidParameterCombination 400");
    assert_eq!(
        lab.refusal(DescribeVolumes::of("vol-0123456789abcdef0"))
            .await,
        "InvalidVolume.NotFound 400"
    );
    assert_eq!(
        lab.refusal(DescribeInstanceTypes::of("x.y")).await,
        "InvalidInstanceType 400"
    );
    assert_eq!(
        lab.refusal(DescribeInstanceTypeOfferings::of("moon")).await,
        bad
    );
}

#[tokio::test]
async fn key_pairs_are_made_once_and_found_until_deleted() {
    let lab = Lab::new().await;
    let create = |name: &str| CreateKeyPair::of(name, "ed25519");
    let made = lab.call(create("k")).await.unwrap();
    let again = lab.refusal(create("k")).await;
    assert_eq!(again, "InvalidKeyPair.Duplicate 400");
    let shown = lab.call(DescribeKeyPairs::of("k")).await.unwrap();
    let json = serde_json::to_value(&shown).unwrap();
    let json_made = serde_json::to_value(&made).unwrap();
    assert_eq!(
        json["keySet"][0]["keyFingerprint"],
        json_made["keyFingerprint"]
    );
    let mut request = lab.request();
    request.key_name = Some("k".into());
    assert_eq!(lab.run(request).await.key_name.as_deref(), Some("k"));
    for _ in 0..2 {
        lab.call(DeleteKeyPair::of("k")).await.unwrap();
    }
    for (name, got, want) in [
        (
            "describe",
            lab.refusal(DescribeKeyPairs::of("k")).await,
            "InvalidKeyPair.NotFound 400",
        ),
        (
            "no name",
            lab.refusal(create("")).await,
            "MissingParameter 400",
        ),
        (
            "not ASCII",
            lab.refusal(create("é")).await,
            "InvalidParameterValue 400",
        ),
        (
            "type",
            lab.refusal(CreateKeyPair::of("x", "dsa")).await,
            "InvalidParameterValue 400",
        ),
        (
            "import",
            lab.refusal(ImportKeyPair::of("x", b"junk")).await,
            "InvalidKey.Format 400",
        ),
        (
            "delete",
            lab.refusal(DeleteKeyPair::default()).await,
            "MissingParameter 400",
        ),
    ] {
        assert_eq!(got, want, "{name}");
    }
}

#[tokio::test]
async fn an_instance_without_a_node_has_an_empty_console() {
    let lab = Lab::new().await;
    let shown = lab.run(lab.request()).await;
    let console = lab
        .call(GetConsoleOutput::of(&shown.instance_id))
        .await
        .unwrap();
    let json = serde_json::to_value(&console).unwrap();
    assert_eq!(json["output"], serde_json::Value::Null);
}

/// What Terraform sends for an instance with every usual setting.
#[tokio::test]
async fn settings_are_shown_as_they_were_chosen() {
    let lab = Lab::new().await;
    let text = |text: &str| Some(text.to_owned());
    let shown = lab
        .run(RunInstances {
            instance_type: text("t3.large"),
            monitoring: Some(Monitoring { enabled: true }),
            ebs_optimized: Some(true),
            credit_specification: Some(CreditSpecification {
                cpu_credits: "standard".into(),
            }),
            cpu_options: Some(op!(CpuOptions {
                threads_per_core: Some(1)
            })),
            maintenance_options: Some(MaintenanceOptions {
                auto_recovery: text("disabled"),
            }),
            private_dns_name_options: Some(op!(PrivateDnsNameOptions {
                hostname_type: text("resource-name"),
                enable_resource_name_dns_a_record: Some(true)
            })),
            block_devices: vec![
                disk(
                    "/dev/xvda",
                    op!(EbsDevice {
                        encrypted: Some(true),
                        iops: Some(4000),
                        volume_size: Some(20)
                    }),
                ),
                disk(
                    "/dev/sdf",
                    op!(EbsDevice {
                        volume_size: Some(100),
                        volume_type: text("gp2")
                    }),
                ),
                op!(BlockDevice {
                    device_name: text("/dev/sdg"),
                    virtual_name: text("ephemeral0")
                }),
            ],
            ..lab.request()
        })
        .await;
    let id = shown.instance_id.as_str();
    let name = format!("{id}.ec2.internal");
    let json = serde_json::to_value(lab.shown(id)).unwrap();
    for (path, want) in [
        ("/monitoring/state", "enabled".into()),
        ("/ebsOptimized", true.into()),
        ("/cpuOptions/coreCount", 1.into()),
        ("/cpuOptions/threadsPerCore", 1.into()),
        ("/maintenanceOptions/autoRecovery", "disabled".into()),
        ("/privateDnsName", serde_json::Value::from(name.clone())),
        (
            "/privateDnsNameOptions/hostnameType",
            "resource-name".into(),
        ),
        (
            "/privateDnsNameOptions/enableResourceNameDnsARecord",
            true.into(),
        ),
        ("/blockDeviceMapping/1/deviceName", "/dev/sdf".into()),
        ("/blockDeviceMapping/2", serde_json::Value::Null),
    ] {
        let found = json.pointer(path).cloned().unwrap_or_default();
        assert_eq!(found, want, "{path}");
    }
    let fed = Arc::clone(&lab.feed().instances[&id.parse().unwrap()]);
    assert_eq!(fed.hostname, name);
    assert_eq!(fed.resource_name, Some(name));
    let volumes = lab.call(DescribeVolumes::default()).await.unwrap();
    let volumes = serde_json::to_value(volumes).unwrap();
    let mut seen: Vec<_> = volumes["volumeSet"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["size"].as_i64(),
                it["iops"].as_i64(),
                it["encrypted"].as_bool(),
            )
        })
        .collect();
    seen.sort_unstable();
    let want = [
        (Some(20), Some(4000), Some(true)),
        (Some(100), Some(300), Some(false)),
    ];
    assert_eq!(seen, want);
    let credits = lab.call(DescribeInstanceCreditSpecifications::of(id)).await;
    let credits = serde_json::to_value(credits.unwrap()).unwrap();
    let credits = &credits["instanceCreditSpecificationSet"][0]["cpuCredits"];
    assert_eq!(credits, "standard");
}

#[tokio::test]
async fn types_of_the_other_architecture_run_images_that_are_named_so() {
    let lab = Lab::new().await;
    let view = lab.app.cell.db.view();
    let other = match super::types::host_architecture() {
        "arm64" => ("x86_64", "m6i.large"),
        _ => ("arm64", "t4g.micro"),
    };
    let all = images::all(&lab.app.cell, &view);
    let image = all.iter().find(|it| it.architecture == other.0).unwrap();
    let shown = lab
        .run(RunInstances {
            image_id: Some(image.id.to_string()),
            instance_type: Some(other.1.into()),
            ..lab.request()
        })
        .await;
    assert_eq!(shown.architecture, other.0);
}

#[tokio::test]
async fn several_interfaces_and_addresses_are_there_from_the_start() {
    let lab = Lab::new().await;
    let interface = |index: i32| InterfaceSpecification {
        device_index: Some(index),
        subnet_id: Some(lab.subnet.to_string()),
        ..InterfaceSpecification::default()
    };
    let request = |interfaces: Vec<InterfaceSpecification>| RunInstances {
        subnet_id: None,
        network_interfaces: interfaces,
        ..lab.request()
    };
    let first = InterfaceSpecification {
        secondary_private_ip_address_count: Some(2),
        ..interface(0)
    };
    let shown = lab.run(request(vec![interface(1), first.clone()])).await;
    let seen: Vec<_> = shown
        .network_interface_set
        .iter()
        .map(|it| {
            let addresses = it.private_ip_addresses_set.len();
            (it.attachment.device_index, addresses)
        })
        .collect();
    assert_eq!(seen, [(0, 3), (1, 1)]);
    let public = InterfaceSpecification {
        associate_public_ip_address: Some(true),
        ..interface(1)
    };
    for (name, interfaces, want) in [
        (
            "twice",
            vec![interface(0), interface(0)],
            "InvalidParameterValue 400",
        ),
        ("no first", vec![interface(1)], "InvalidParameterValue 400"),
        (
            "public",
            vec![interface(0), public],
            "InvalidParameterCombination 400",
        ),
    ] {
        assert_eq!(lab.refusal(request(interfaces)).await, want, "{name}");
    }
}
