//! What there is to read, as folders and leaves:
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html#instancedata-data-categories>.

use lath_feed::{Instance, Interface, SecurityGroup, Snapshot, Vpc};
use lath_model::{Partition, WorkloadId};

use super::{credentials, identity, workload};

/// The roots; all show the same.
pub(super) const VERSIONS: &[&str] = &[
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];

/// Something to read.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: &'static str,
}

impl Leaf {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            bytes: text.into().into_bytes(),
            content_type: "text/plain",
        }
    }
}

/// A place in the tree.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Folder(Vec<Entry>),
}

/// A named place.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    /// Where the listing shows something else than the name.
    shown: Option<String>,
    node: Node,
}

impl Entry {
    /// What it is the name of.
    pub(super) fn into_node(self) -> Node {
        self.node
    }

    /// Folders end in a slash.
    pub(super) fn listed(&self) -> String {
        match (&self.shown, &self.node) {
            (Some(shown), _) => shown.clone(),
            (None, Node::Folder(_)) => format!("{}/", self.name),
            (None, Node::Leaf(_)) => self.name.clone(),
        }
    }
}

impl Node {
    pub(super) fn into_child(self, name: &str) -> Option<Self> {
        match self {
            Self::Leaf(_) => None,
            Self::Folder(entries) => entries
                .into_iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.node),
        }
    }
}

fn entry(name: impl Into<String>, node: Node) -> Entry {
    Entry {
        name: name.into(),
        shown: None,
        node,
    }
}

pub(super) fn text(name: &str, text: impl Into<String>) -> Entry {
    entry(name, Node::Leaf(Leaf::text(text)))
}

pub(super) fn folder(name: &str, entries: Vec<Entry>) -> Entry {
    entry(name, Node::Folder(entries))
}

/// Everything that one instance may read.
pub(super) fn root_of(snapshot: &Snapshot, vpc: &Vpc, instance: &Instance) -> Node {
    let view = View::new(snapshot, vpc, instance);
    let document = identity::document(snapshot, instance, view.primary_address());
    let mut entries = vec![
        folder(
            "dynamic",
            vec![folder(
                "instance-identity",
                vec![text("document", document)],
            )],
        ),
        folder("meta-data", view.meta_data()),
    ];
    if !instance.user_data.is_empty() {
        let leaf = Leaf {
            bytes: instance.user_data.clone(),
            content_type: "application/octet-stream",
        };
        entries.push(entry("user-data", Node::Leaf(leaf)));
    }
    Node::Folder(entries)
}

struct View<'a> {
    snapshot: &'a Snapshot,
    vpc: &'a Vpc,
    instance: &'a Instance,
    /// The instance's interfaces by device index.
    interfaces: Vec<(u32, &'a Interface)>,
}

impl<'a> View<'a> {
    fn new(snapshot: &'a Snapshot, vpc: &'a Vpc, instance: &'a Instance) -> Self {
        let workload = WorkloadId::from(instance.id.clone());
        let mut interfaces: Vec<(u32, &Interface)> = vpc
            .interfaces
            .values()
            .filter_map(|interface| Some((interface.device_at(&workload)?, interface)))
            .collect();
        interfaces.sort_by_key(|(index, _)| *index);
        Self {
            snapshot,
            vpc,
            instance,
            interfaces,
        }
    }

    fn primary(&self) -> Option<&'a Interface> {
        self.interfaces.first().map(|(_, interface)| *interface)
    }

    fn primary_address(&self) -> Option<std::net::Ipv4Addr> {
        self.primary()?
            .addresses
            .first()
            .map(|address| address.private)
    }

    fn meta_data(&self) -> Vec<Entry> {
        let (instance, metadata) = (self.instance, &self.instance.metadata);
        let hostname = self.vpc.local_hostname(&instance.hostname);
        let mut entries = vec![
            text("ami-id", metadata.image.as_str()),
            text("ami-launch-index", metadata.launch_index.to_string()),
            text("hostname", &hostname),
            text("instance-action", "none"),
            text("instance-id", instance.id.as_str()),
            text("instance-life-cycle", "on-demand"),
            text("instance-type", &metadata.instance_type),
            text("local-hostname", &hostname),
            folder("placement", self.placement()),
            text("reservation-id", metadata.reservation.as_str()),
            folder("services", self.services()),
        ];
        if let Some(primary) = self.primary() {
            entries.extend(self.addresses(primary));
        }
        entries.extend(metadata.profile.as_ref().map(credentials::folder_of));
        entries.extend(self.public_keys());
        entries.extend(workload::closed(self.snapshot));
        entries.extend(self.tags());
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The world that the region is in.
    fn services(&self) -> Vec<Entry> {
        let partition = Partition::of_region(&self.snapshot.region);
        vec![
            text("domain", partition.dns_suffix()),
            text("partition", partition.name()),
        ]
    }

    fn placement(&self) -> Vec<Entry> {
        let zone = &self.instance.metadata.availability_zone;
        vec![
            text("availability-zone", zone),
            text(
                "availability-zone-id",
                identity::zone_id(&self.snapshot.region, zone),
            ),
            text("region", &self.snapshot.region),
        ]
    }

    /// What follows from the interfaces.
    fn addresses(&self, primary: &Interface) -> Vec<Entry> {
        let macs = self
            .interfaces
            .iter()
            .map(|(index, interface)| folder(&interface.mac, self.interface(*index, interface)))
            .collect();
        let mut entries = vec![
            text("mac", &primary.mac),
            folder(
                "network",
                vec![folder("interfaces", vec![folder("macs", macs)])],
            ),
            text("security-groups", self.group_names(primary)),
        ];
        if let Some(address) = primary.addresses.first() {
            entries.push(text("local-ipv4", address.private.to_string()));
            if let Some(public) = address.public {
                entries.push(text("public-ipv4", public.to_string()));
                entries.extend(self.public_hostname(public));
            }
        }
        entries
    }

    fn public_hostname(&self, public: std::net::Ipv4Addr) -> Option<Entry> {
        let name = identity::public_hostname(&self.snapshot.region, public);
        self.vpc
            .dns_hostnames
            .then(|| text("public-hostname", name))
    }

    fn interface(&self, index: u32, interface: &Interface) -> Vec<Entry> {
        let lines = |parts: Vec<String>| parts.join("\n");
        let private = interface.addresses.iter().map(|it| it.private.to_string());
        let public: Vec<String> = interface
            .addresses
            .iter()
            .filter_map(|it| it.public.map(|public| public.to_string()))
            .collect();
        let groups = interface.security_groups.iter().map(|id| id.to_string());
        let blocks: Vec<String> = self.vpc.cidrs.iter().map(ToString::to_string).collect();
        let mut entries = vec![
            text("device-number", index.to_string()),
            text("interface-id", interface.id.as_str()),
            text(
                "local-hostname",
                self.vpc.local_hostname(&self.instance.hostname),
            ),
            text("local-ipv4s", lines(private.collect())),
            text("mac", &interface.mac),
            text("owner-id", &self.vpc.owner),
            text("security-group-ids", lines(groups.collect())),
            text("security-groups", self.group_names(interface)),
            text("subnet-id", interface.subnet.as_str()),
            text("vpc-id", self.vpc.id.as_str()),
            text(
                "vpc-ipv4-cidr-block",
                blocks.first().cloned().unwrap_or_default(),
            ),
            text("vpc-ipv4-cidr-blocks", lines(blocks)),
        ];
        if let Some(subnet) = self.vpc.subnets.get(&interface.subnet) {
            entries.push(text("subnet-ipv4-cidr-block", subnet.cidr.to_string()));
        }
        if !interface.prefixes.is_empty() {
            let prefixes = interface.prefixes.iter().map(ToString::to_string);
            entries.push(text("ipv4-prefix", lines(prefixes.collect())));
        }
        if !public.is_empty() {
            entries.push(folder("ipv4-associations", associations(interface)));
            entries.push(text("public-ipv4s", lines(public)));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn group_names(&self, interface: &Interface) -> String {
        let named = |group: &SecurityGroup| group.name.clone();
        let names: Vec<String> = interface
            .security_groups
            .iter()
            .filter_map(|id| self.snapshot.security_groups.get(id).map(|it| named(it)))
            .collect();
        names.join("\n")
    }

    fn public_keys(&self) -> Option<Entry> {
        let (name, key) = self.instance.metadata.key.as_ref()?;
        let only = Entry {
            name: "0".into(),
            shown: Some(format!("0={name}")),
            node: Node::Folder(vec![text("openssh-key", key)]),
        };
        Some(folder("public-keys", vec![only]))
    }

    fn tags(&self) -> Option<Entry> {
        let tags = self.instance.metadata.tags.as_ref()?;
        let tags = tags.iter().map(|(key, value)| text(key, value)).collect();
        Some(folder("tags", vec![folder("instance", tags)]))
    }
}

/// Public addresses, each with the private one it stands for.
fn associations(interface: &Interface) -> Vec<Entry> {
    interface
        .addresses
        .iter()
        .filter_map(|it| Some(text(&it.public?.to_string(), it.private.to_string())))
        .collect()
}
