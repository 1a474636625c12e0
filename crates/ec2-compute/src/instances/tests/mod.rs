//! Instances through their lives, with an observer in place of a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_clock::ManualClock;
use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::tags::{TagInput, TagSpecification};
use lath_ec2_records::*;
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
use super::response::{InstanceItem, Reservation};
use super::status::DescribeInstanceStatus;
use super::type_catalogue::{DescribeInstanceTypeOfferings, DescribeInstanceTypes};
use super::volumes::DescribeVolumes;
use crate::images;
use crate::key_pairs::{CreateKeyPair, DeleteKeyPair, DescribeKeyPairs, ImportKeyPair};

struct Lab {
    app: Arc<Ec2>,
    hands: ManualClock,
    observe: watch::Sender<Arc<Observed>>,
    seen: Observed,
    subnet: SubnetId,
    group: SecurityGroupId,
    foreign_group: SecurityGroupId,
}

fn caller() -> Caller {
    Caller {
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
        from_vpc: None,
    }
}

impl Lab {
    async fn new() -> Self {
        let hands = ManualClock::at(Timestamp::from_millis(1_767_225_600_000));
        let (cell, observe) = Cell::for_test_at(hands.clock());
        let lab = Self {
            app: Arc::new(Ec2 { cell }),
            hands,
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
        let written = lath_service::run::change(&*self.app, None, |tx| {
            tx.put(Vpc {
                id: vpc.clone(),
                owner: "123456789012".into(),
                cidrs: vec![CidrBlock::new("10.0.0.0/16".parse().unwrap())],
                is_default: false,
                dhcp_options: Some(DhcpOptionsId::random()),
                network_acl: NetworkAclId::random(),
                dns_support: true,
                dns_hostnames: false,
                available: true,
                created_at: tx.now(),
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
                network_acl: None,
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
        self.app.handle(&caller(), op).await
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
                let since = self.app.cell.now();
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
        let view = self.app.cell.db.view();
        lath_control::derive_into(
            &self.app.cell,
            &[&lath_ec2_network::CONTRIBUTIONS[..], &crate::CONTRIBUTIONS].concat(),
            &view,
            &mut snapshot,
        );
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
            created_at: Timestamp::default(),
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
        launched_at: Timestamp::default(),
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
        skips_shutdown: false,
        names: PrivateDnsNames::default(),
        options: InstanceOptions::default(),
        cluster: None,
        for_kubernetes: false,
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

mod launches;
mod life;
mod permissions;
mod refusals;
mod settings;
mod templates;
