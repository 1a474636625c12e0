//! CIDR reservations of subnets: addresses that are kept for what asks for them by name, or for prefixes
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html>).

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use lath_model::id::SubnetId;
use lath_service::{IdForm, Kind, Resource, operations};
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Ec2;
use crate::errors::invalid_value;
use crate::filter::{Field, Filter};
use crate::ids;
use crate::networks::vpcs;
use crate::records::Subnet;
use crate::resources::{Making as _, SUBNET, ids as id_form, resource_type};
use crate::select::{Listed, Query, select};
use crate::tags::{self, Tag, TagSpecification};

lath_model::ids! {
    /// A CIDR reservation of a subnet.
    pub SubnetCidrReservationId = "scr";
}

/// A CIDR reservation of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubnetCidrReservation {
    id: SubnetCidrReservationId,
    /// The subnet it is in.
    pub(crate) subnet: SubnetId,
    /// Its block, inside that of the subnet. No two reservations of a VPC overlap.
    pub(crate) cidr: Ipv4Net,
    reservation_type: ReservationType,
    description: Option<String>,
    /// The account.
    owner: String,
}

/// What the addresses of a reservation are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReservationType {
    /// Prefixes of interfaces, which the service picks.
    Prefix,
    /// Addresses that callers name.
    Explicit,
}

impl Record for SubnetCidrReservation {
    const KIND: &'static str = "ec2.subnet-cidr-reservation";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("subnet", self.subnet.to_string())]
    }
}

/// A CIDR reservation of a subnet.
pub(crate) const SUBNET_CIDR_RESERVATION: Kind = Kind::of::<SubnetCidrReservation>(
    id_form(
        "scr",
        "InvalidSubnetCidrReservationID.Malformed",
        "InvalidSubnetCidrReservationID.NotFound",
        "The subnet CIDR reservation ID '{}' does not exist",
    ),
    resource_type!("subnet-cidr-reservation", [], |_, _| Vec::new()),
);

impl Resource for SubnetCidrReservation {
    const RESOURCE: Kind = SUBNET_CIDR_RESERVATION;
}

operations! {
    for Ec2 as "ec2";
    change CreateSubnetCidrReservation -> CreateSubnetCidrReservationResult = create, dry_run
        => on(&SUBNET, |op, _| op.subnet_id.clone())
            .with_tags_of(&SUBNET_CIDR_RESERVATION, |op| &op.tag_specifications);
    read GetSubnetCidrReservations -> GetSubnetCidrReservationsResult = get, dry_run => any();
    change DeleteSubnetCidrReservation -> DeleteSubnetCidrReservationResult = delete, dry_run => any();
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateSubnetCidrReservation {
    subnet_id: String,
    cidr: String,
    reservation_type: ReservationType,
    description: Option<String>,
    dry_run: Option<bool>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateSubnetCidrReservationResult {
    subnet_cidr_reservation: ReservationItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReservationItem {
    subnet_cidr_reservation_id: String,
    subnet_id: String,
    cidr: String,
    reservation_type: ReservationType,
    owner_id: String,
    description: Option<String>,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetSubnetCidrReservations {
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    subnet_id: String,
    dry_run: Option<bool>,
    next_token: Option<String>,
    max_results: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetSubnetCidrReservationsResult {
    #[serde(rename = "subnetIpv4CidrReservationSet")]
    ipv4: Vec<ReservationItem>,
    #[serde(rename = "subnetIpv6CidrReservationSet")]
    ipv6: Vec<ReservationItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteSubnetCidrReservation {
    subnet_cidr_reservation_id: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteSubnetCidrReservationResult {
    deleted_subnet_cidr_reservation: ReservationItem,
}

/// The reserved block may hold addresses that are in use, which stay where they are.
fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateSubnetCidrReservation,
) -> Result<CreateSubnetCidrReservationResult, ApiError> {
    let subnet = ids::find::<Subnet>(tx.view(), &op.subnet_id)?;
    let cidr = checked_cidr(tx.view(), &subnet, &op.cidr)?;
    let tags = tags::specified(&op.tag_specifications, SUBNET_CIDR_RESERVATION.name)?;
    let reservation = tx.put(SubnetCidrReservation {
        id: SubnetCidrReservationId::random(),
        subnet: subnet.id.clone(),
        cidr,
        reservation_type: op.reservation_type,
        description: op.description,
        owner: app.cell.account.clone(),
    });
    tags::put(tx, reservation.id.as_str(), tags);
    Ok(CreateSubnetCidrReservationResult {
        subnet_cidr_reservation: item(tx.view(), &reservation),
    })
}

fn checked_cidr(view: &View, subnet: &Subnet, text: &str) -> Result<Ipv4Net, ApiError> {
    let cidr = vpcs::block("cidr", text)?;
    if !subnet.cidr.contains(&cidr) {
        return Err(invalid_value(format!(
            "Reservation CIDR {cidr} is not within the CIDR block of subnet {}",
            subnet.id
        )));
    }
    let overlaps = |other: Ipv4Net| other.contains(&cidr) || cidr.contains(&other);
    // Subnets do not overlap, so that the other reservations of the VPC cannot.
    if of_subnet(view, &subnet.id).any(|it| overlaps(it.cidr)) {
        return Err(invalid_value(format!(
            "Reservation CIDR {cidr} has overlap with existing reserved CIDR block"
        )));
    }
    Ok(cidr)
}

fn get(
    _app: &Ec2,
    view: &View,
    op: &GetSubnetCidrReservations,
) -> Result<GetSubnetCidrReservationsResult, ApiError> {
    let subnet = ids::find::<Subnet>(view, &op.subnet_id)?;
    let items = of_subnet(view, &subnet.id).map(|it| item(view, &it));
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(GetSubnetCidrReservationsResult {
        ipv4: page.items,
        ipv6: Vec::new(),
        next_token: page.next_token,
    })
}

fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteSubnetCidrReservation,
) -> Result<DeleteSubnetCidrReservationResult, ApiError> {
    let id = &op.subnet_cidr_reservation_id;
    let reservation = ids::find::<SubnetCidrReservation>(tx.view(), id)?;
    let deleted = item(tx.view(), &reservation);
    forget(tx, &reservation);
    Ok(DeleteSubnetCidrReservationResult {
        deleted_subnet_cidr_reservation: deleted,
    })
}

fn forget(tx: &mut Tx, reservation: &SubnetCidrReservation) {
    tags::forget(tx, reservation.id.as_str());
    tx.delete::<SubnetCidrReservation>(reservation.id.as_str());
}

/// Deletes the reservations of a subnet that is being deleted.
pub(crate) fn forget_all(tx: &mut Tx, subnet: &SubnetId) {
    let all: Vec<_> = of_subnet(tx.view(), subnet).collect();
    all.iter().for_each(|it| forget(tx, it));
}

fn of_subnet<'a>(
    view: &'a View,
    subnet: &'a SubnetId,
) -> impl Iterator<Item = Arc<SubnetCidrReservation>> + 'a {
    view.by::<SubnetCidrReservation>("subnet", subnet.as_str())
}

/// The blocks of a subnet from which no address is given to what does not ask for it by name.
pub(crate) fn reserved(view: &View, subnet: &SubnetId) -> Reserved {
    let blocks = of_subnet(view, subnet).map(|it| (it.cidr, it.reservation_type));
    Reserved(blocks.collect())
}

/// See [`reserved`].
#[derive(Default)]
pub(crate) struct Reserved(Vec<(Ipv4Net, ReservationType)>);

impl Reserved {
    /// The blocks, none of which overlaps another.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.0.iter().map(|(cidr, _)| *cidr)
    }

    /// Whether an address is in one of them.
    pub(crate) fn contains(&self, ip: Ipv4Addr) -> bool {
        self.0.iter().any(|(cidr, _)| cidr.contains(&ip))
    }

    /// Whether a block has addresses in common with one of them.
    pub(crate) fn overlaps(&self, block: Ipv4Net) -> bool {
        let overlaps = |cidr: &Ipv4Net| cidr.contains(&block) || block.contains(cidr);
        self.0.iter().any(|(cidr, _)| overlaps(cidr))
    }

    /// Whether a block is in one of them that is for prefixes.
    pub(crate) fn for_prefixes(&self, block: Ipv4Net) -> bool {
        let mut all = self.0.iter();
        all.any(|(cidr, of)| *of == ReservationType::Prefix && cidr.contains(&block))
    }
}

fn item(view: &View, reservation: &SubnetCidrReservation) -> ReservationItem {
    ReservationItem {
        subnet_cidr_reservation_id: reservation.id.to_string(),
        subnet_id: reservation.subnet.to_string(),
        cidr: reservation.cidr.to_string(),
        reservation_type: reservation.reservation_type,
        owner_id: reservation.owner.clone(),
        description: reservation.description.clone(),
        tags: tags::of(view, reservation.id.as_str()),
    }
}

impl Listed for ReservationItem {
    const ID: IdForm = SUBNET_CIDR_RESERVATION.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("reservationType", |it| {
            vec![it.reservation_type.name().to_owned()]
        }),
        ("subnet-id", |it| vec![it.subnet_id.clone()]),
    ];
    fn id(&self) -> &str {
        &self.subnet_cidr_reservation_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl ReservationType {
    fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Explicit => "explicit",
        }
    }
}
