//! Elastic addresses
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>).

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{
    client, combination, dependency, invalid_parameter, invalid_value, limit, missing, unsupported,
};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::public_pool;
use lath_ec2_records::resources::{ELASTIC_IP, INSTANCE, NETWORK_INTERFACE};
use lath_ec2_records::{
    Address, AddressAssociation, InternetGateway, NetworkInterface, PublicAddress,
};
use lath_model::id::{AllocationId, AssociationId};
use lath_service::{IdForm, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::interfaces;

/// How many elastic addresses a region may have.
const MAX_ADDRESSES: usize = 5;

operations! {
    for Ec2 as "ec2";
    change AllocateAddress -> AllocateAddressResult = allocate, dry_run
        => creates(&ELASTIC_IP, |op| &op.tag_specifications)
        => refusing ["" AllocateAddress];
    change ReleaseAddress -> Nothing = release, dry_run
        => on(&ELASTIC_IP, |op, at| judged(at.view, op.allocation_id.as_ref(), op.public_ip.as_ref()));
    change AssociateAddress -> AssociateAddressResult = associate, dry_run
        => on(&ELASTIC_IP, |op, at| op.addresses(at.view))
            .on(&NETWORK_INTERFACE, |op, at| op.interfaces(at.view))
            .on(&INSTANCE, |op, at| op.instances(at.view));
    change DisassociateAddress -> Nothing = disassociate, dry_run
        => on(&ELASTIC_IP, |op, at| op.address(at.view).map(|it| it.id.to_string()))
            .on(&NETWORK_INTERFACE, |op, at| {
                let address = op.address(at.view)?;
                Some(address.association.as_ref()?.interface.to_string())
            });
    read DescribeAddresses -> DescribeAddressesResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AllocateAddress {
    domain: Option<String>,
    address: Option<String>,
    public_ipv4_pool: Option<String>,
    network_border_group: Option<String>,
    customer_owned_ipv4_pool: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    ipam_pool_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AllocateAddressResult {
    allocation_id: String,
    public_ipv4_pool: String,
    network_border_group: String,
    domain: String,
    public_ip: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReleaseAddress {
    allocation_id: Option<String>,
    public_ip: Option<String>,
    network_border_group: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssociateAddress {
    allocation_id: Option<String>,
    instance_id: Option<String>,
    public_ip: Option<String>,
    dry_run: Option<bool>,
    network_interface_id: Option<String>,
    private_ip_address: Option<String>,
    allow_reassociation: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociateAddressResult {
    association_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DisassociateAddress {
    association_id: Option<String>,
    public_ip: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeAddresses {
    #[serde(rename = "PublicIp", default)]
    public_ips: Vec<String>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    #[serde(rename = "AllocationId", default)]
    allocation_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeAddressesResult {
    #[serde(rename = "addressesSet")]
    addresses: Vec<ElasticAddressItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ElasticAddressItem {
    allocation_id: String,
    association_id: Option<String>,
    domain: String,
    network_interface_id: Option<String>,
    network_interface_owner_id: Option<String>,
    private_ip_address: Option<String>,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
    public_ipv4_pool: String,
    network_border_group: String,
    instance_id: Option<String>,
    public_ip: String,
}

fn allocate(
    app: &Ec2,
    tx: &mut Tx,
    op: AllocateAddress,
) -> Result<AllocateAddressResult, ApiError> {
    op.refuse()?;
    match op.domain.as_deref() {
        None | Some("vpc") => {}
        Some("standard") => return Err(unsupported("The domain 'standard' is not supported.")),
        Some(other) => return Err(invalid_parameter("domain", other, "Invalid domain.")),
    }
    if let Some(pool) = op.public_ipv4_pool.as_deref().filter(|it| *it != "amazon") {
        return Err(client(
            "InvalidPublicIpv4PoolID.NotFound",
            format!("The public IPv4 pool ID '{pool}' does not exist"),
        ));
    }
    check_border_group(app, op.network_border_group.as_deref())?;
    let tags = tags::specified(&op.tag_specifications, "elastic-ip")?;
    let full = app.cell.mode == Mode::Strict && tx.view().count::<Address>() >= MAX_ADDRESSES;
    let ip = public_pool::take(&app.cell, tx.view()).filter(|_| !full);
    let ip = ip.ok_or_else(|| limit("AddressLimitExceeded", "addresses"))?;
    let address = tx.put(Address {
        id: AllocationId::random(),
        owner: app.cell.account.clone(),
        ip,
        association: None,
    });
    tags::put(tx, address.id.as_str(), tags);
    Ok(AllocateAddressResult {
        allocation_id: address.id.to_string(),
        public_ipv4_pool: "amazon".into(),
        network_border_group: app.cell.region.clone(),
        domain: "vpc".into(),
        public_ip: address.ip.to_string(),
    })
}

fn check_border_group(app: &Ec2, group: Option<&str>) -> Result<(), ApiError> {
    match group.filter(|group| *group != app.cell.region) {
        Some(other) => Err(invalid_parameter(
            "networkBorderGroup",
            other,
            "The region has no such network border group.",
        )),
        None => Ok(()),
    }
}

/// The address that a request means: by allocation, or by itself.
fn named(view: &View, id: Option<&str>, ip: Option<&str>) -> Result<Arc<Address>, ApiError> {
    match (id, ip) {
        (Some(_), Some(_)) => Err(combination(
            "You may specify public IP or allocation id, but not both in the same call",
        )),
        (Some(id), None) => ids::find::<Address>(view, id),
        (None, Some(ip)) => by_ip(view, ip),
        (None, None) => Err(missing("allocationId or publicIp")),
    }
}

/// The id of the address that a request means, as `named` finds it.
fn judged(view: &View, id: Option<&String>, ip: Option<&String>) -> Option<String> {
    let by_ip = || Some(by_ip(view, ip?).ok()?.id.to_string());
    id.cloned().or_else(by_ip)
}

impl AssociateAddress {
    /// In a VPC an address moves unless the caller forbids it.
    fn moves(&self) -> bool {
        self.allow_reassociation.unwrap_or(true)
    }

    fn address(&self, view: &View) -> Result<Arc<Address>, ApiError> {
        let (id, ip) = (self.allocation_id.as_deref(), self.public_ip.as_deref());
        named(view, id, ip)
    }

    /// The address, and the one whose place it takes.
    fn addresses(&self, view: &View) -> Vec<String> {
        let target = wanted_interface(view, self).ok().filter(|_| self.moves());
        let displaced = target.and_then(|interface| {
            let index = wanted_index(&interface, self.private_ip_address.as_deref());
            let public = interface.addresses[index.ok()?].public.as_ref()?;
            Some(public.elastic.as_ref()?.0.to_string())
        });
        let (id, ip) = (self.allocation_id.as_ref(), self.public_ip.as_ref());
        let named = judged(view, id, ip).into_iter();
        named.chain(displaced).collect()
    }

    /// The interface that gets the address - the one that is named, or the instance's primary one - and the one that
    /// loses it.
    fn interfaces(&self, view: &View) -> Vec<String> {
        let instance = self.instance_id.iter();
        let primary = instance.filter_map(|id| Some(primary_of(view, id).ok()?.id.to_string()));
        let address = self.address(view).ok().filter(|_| self.moves());
        let loser = address.and_then(|it| Some(it.association.as_ref()?.interface.to_string()));
        let named = self.network_interface_id.clone();
        primary.chain(named).chain(loser).collect()
    }

    /// The instance that is named, or that has the interface, and the one that loses the address.
    fn instances(&self, view: &View) -> Vec<String> {
        let interface = self.network_interface_id.as_ref();
        let interface = interface.and_then(|id| view.get::<NetworkInterface>(id));
        let owner = interfaces::instance_of(interface.as_deref());
        let address = self.address(view).ok().filter(|_| self.moves());
        let loser = address.and_then(|it| {
            view.get::<NetworkInterface>(it.association.as_ref()?.interface.as_str())
        });
        let loser = interfaces::instance_of(loser.as_deref());
        let named = self.instance_id.clone();
        owner.into_iter().chain(named).chain(loser).collect()
    }
}

impl DisassociateAddress {
    fn address(&self, view: &View) -> Option<Arc<Address>> {
        match (&self.association_id, &self.public_ip) {
            (Some(id), _) => by_association(view, id).ok(),
            (None, Some(ip)) => by_ip(view, ip).ok(),
            (None, None) => None,
        }
    }
}

fn by_ip(view: &View, text: &str) -> Result<Arc<Address>, ApiError> {
    let ip: Ipv4Addr = text
        .parse()
        .map_err(|_| invalid_parameter("publicIp", text, "Invalid IPv4 address."))?;
    view.by::<Address>("ip", &ip.to_string())
        .next()
        .ok_or_else(|| {
            client(
                "InvalidAddress.NotFound",
                format!("Address '{ip}' not found."),
            )
        })
}

fn release(app: &Ec2, tx: &mut Tx, op: ReleaseAddress) -> Result<Nothing, ApiError> {
    check_border_group(app, op.network_border_group.as_deref())?;
    let address = named(
        tx.view(),
        op.allocation_id.as_deref(),
        op.public_ip.as_deref(),
    )?;
    if address.association.is_some() {
        return Err(client(
            "InvalidIPAddress.InUse",
            format!("Address {} is in use.", address.ip),
        ));
    }
    if !lath_control::claims_on(tx.view(), address.id.as_str()).is_empty() {
        return Err(dependency(format!("Address {} is in use.", address.ip)));
    }
    tags::forget(tx, address.id.as_str());
    tx.delete::<Address>(address.id.as_str());
    Ok(Nothing {})
}

fn associate(
    _app: &Ec2,
    tx: &mut Tx,
    op: AssociateAddress,
) -> Result<AssociateAddressResult, ApiError> {
    let address = op.address(tx.view())?;
    let interface = wanted_interface(tx.view(), &op)?;
    let index = wanted_index(&interface, op.private_ip_address.as_deref())?;
    refuse_managed(tx.view(), interface.id.as_str())?;
    let vpc = interface.vpc.as_str();
    if !tx.view().has::<InternetGateway>("vpc", vpc) {
        return Err(client(
            "Gateway.NotAttached",
            format!(
                "Network {} is not attached to any internet gateway",
                interface.vpc
            ),
        ));
    }
    let moves = op.moves();
    if let Some(old) = &address.association {
        let same =
            old.interface == interface.id && old.private == interface.addresses[index].private;
        if same {
            return Ok(AssociateAddressResult {
                association_id: old.id.to_string(),
            });
        }
        if !moves {
            return Err(client(
                "Resource.AlreadyAssociated",
                format!(
                    "resource {} is already associated with associate-id {}",
                    address.id, old.id
                ),
            ));
        }
        refuse_managed(tx.view(), old.interface.as_str())?;
        unmap(tx, &address);
    }
    displace(tx, &interface, index, moves)?;
    Ok(map(tx, &address, &interface, index))
}

fn wanted_interface(view: &View, op: &AssociateAddress) -> Result<Arc<NetworkInterface>, ApiError> {
    match (&op.network_interface_id, &op.instance_id) {
        (Some(_), Some(_)) => Err(combination(
            "You may specify a network interface or an instance, but not both.",
        )),
        (Some(id), None) => ids::find::<NetworkInterface>(view, id),
        (None, Some(id)) => {
            INSTANCE.id.check(id)?;
            primary_of(view, id)
        }
        (None, None) => Err(missing("instanceId or networkInterfaceId")),
    }
}

fn primary_of(view: &View, instance: &str) -> Result<Arc<NetworkInterface>, ApiError> {
    view.by::<NetworkInterface>("instance", instance)
        .find(|interface| {
            let attachment = interface.attachment.as_ref();
            attachment.is_some_and(|it| it.device_index == 0)
        })
        .ok_or_else(|| INSTANCE.id.not_found(instance))
}

fn wanted_index(interface: &NetworkInterface, private: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = private else {
        return Ok(0);
    };
    interface
        .addresses
        .iter()
        .position(|address| address.private.to_string() == text)
        .ok_or_else(|| {
            invalid_value(format!(
                "The private IP address {text} is not assigned to interface {}.",
                interface.id
            ))
        })
}

/// Frees the private address: an automatic public address is given back, an elastic one only if moving
/// is allowed.
fn displace(
    tx: &mut Tx,
    interface: &NetworkInterface,
    index: usize,
    moves: bool,
) -> Result<(), ApiError> {
    let public = interface.addresses[index].public.as_ref();
    let Some((allocation, association)) = public.and_then(|it| it.elastic.as_ref()) else {
        return Ok(());
    };
    if !moves {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!(
                "resource {} is already associated with associate-id {association}",
                interface.id
            ),
        ));
    }
    tx.update::<Address>(allocation.as_str(), |address| address.association = None);
    Ok(())
}

fn map(
    tx: &mut Tx,
    address: &Address,
    interface: &NetworkInterface,
    index: usize,
) -> AssociateAddressResult {
    let id = AssociationId::random();
    let private = interface.addresses[index].private;
    tx.update::<Address>(address.id.as_str(), |address| {
        address.association = Some(AddressAssociation {
            id: id.clone(),
            interface: interface.id.clone(),
            private,
        });
    });
    tx.update::<NetworkInterface>(interface.id.as_str(), |interface| {
        interface.addresses[index].public = Some(PublicAddress {
            ip: address.ip,
            elastic: Some((address.id.clone(), id.clone())),
        });
    });
    AssociateAddressResult {
        association_id: id.to_string(),
    }
}

/// Maps a free address to an interface's primary one; answers the association's id.
pub(crate) fn give(tx: &mut Tx, address: &Address, interface: &NetworkInterface) -> String {
    map(tx, address, interface, 0).association_id
}

fn refuse_managed(view: &View, interface: &str) -> Result<(), ApiError> {
    let interface = view.get::<NetworkInterface>(interface);
    interface.map_or(Ok(()), |it| {
        lath_ec2_records::interfaces::refuse_managed(&it)
    })
}

/// Takes an address off its interface.
fn unmap(tx: &mut Tx, address: &Address) {
    if let Some(association) = &address.association {
        tx.update::<NetworkInterface>(association.interface.as_str(), |interface| {
            for it in &mut interface.addresses {
                if it.private == association.private {
                    it.public = None;
                }
            }
        });
    }
    tx.update::<Address>(address.id.as_str(), |address| address.association = None);
}

fn disassociate(_app: &Ec2, tx: &mut Tx, op: DisassociateAddress) -> Result<Nothing, ApiError> {
    let address = match (&op.association_id, &op.public_ip) {
        (Some(_), Some(_)) => {
            return Err(combination(
                "You may specify public IP or association id, but not both in the same call",
            ));
        }
        (Some(id), None) => by_association(tx.view(), id)?,
        (None, Some(ip)) => by_ip(tx.view(), ip)?,
        (None, None) => return Err(missing("associationId or publicIp")),
    };
    if let Some(association) = &address.association {
        refuse_managed(tx.view(), association.interface.as_str())?;
    }
    unmap(tx, &address);
    Ok(Nothing {})
}

fn by_association(view: &View, id: &str) -> Result<Arc<Address>, ApiError> {
    ids::ASSOCIATION.check(id)?;
    view.by::<Address>("association", id)
        .next()
        .ok_or_else(|| ids::ASSOCIATION.not_found(id))
}

fn item(app: &Ec2, view: &View, address: &Address) -> ElasticAddressItem {
    let association = address.association.as_ref();
    let interface = association.and_then(|it| view.get::<NetworkInterface>(it.interface.as_str()));
    let attachment = interface.as_ref().and_then(|it| it.attachment.as_ref());
    ElasticAddressItem {
        allocation_id: address.id.to_string(),
        association_id: association.map(|it| it.id.to_string()),
        domain: "vpc".into(),
        network_interface_id: association.map(|it| it.interface.to_string()),
        network_interface_owner_id: association.map(|_| address.owner.clone()),
        private_ip_address: association.map(|it| it.private.to_string()),
        tags: tags::of(view, address.id.as_str()),
        public_ipv4_pool: "amazon".into(),
        network_border_group: app.cell.region.clone(),
        instance_id: attachment.map(|it| it.instance.to_string()),
        public_ip: address.ip.to_string(),
    }
}

fn given(text: Option<&String>) -> Vec<String> {
    text.into_iter().cloned().collect()
}

impl Listed for ElasticAddressItem {
    const ID: IdForm = ELASTIC_IP.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("allocation-id", |it| vec![it.allocation_id.clone()]),
        ("association-id", |it| given(it.association_id.as_ref())),
        ("domain", |it| vec![it.domain.clone()]),
        ("instance-id", |it| given(it.instance_id.as_ref())),
        ("network-border-group", |it| {
            vec![it.network_border_group.clone()]
        }),
        ("network-interface-id", |it| {
            given(it.network_interface_id.as_ref())
        }),
        ("network-interface-owner-id", |it| {
            given(it.network_interface_owner_id.as_ref())
        }),
        ("private-ip-address", |it| {
            given(it.private_ip_address.as_ref())
        }),
        ("public-ip", |it| vec![it.public_ip.clone()]),
    ];
    fn id(&self) -> &str {
        &self.allocation_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeAddresses,
) -> Result<DescribeAddressesResult, ApiError> {
    for ip in &op.public_ips {
        by_ip(view, ip)?;
    }
    let wanted =
        |it: &ElasticAddressItem| op.public_ips.is_empty() || op.public_ips.contains(&it.public_ip);
    let show = |it: &Address| Some(item(app, view, it)).filter(wanted);
    let query = Query {
        ids: &op.allocation_ids,
        filters: &op.filters,
        ..Query::default()
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeAddressesResult {
        addresses: page.items,
    })
}

refused! {
    AllocateAddress { address, customer_owned_ipv4_pool, ipam_pool_id }
}
