//! CIDR reservations of subnets: addresses that are kept for what asks for them by name, or for prefixes
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html>).

use ipnet::Ipv4Net;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::invalid_value;
use lath_ec2_records::ids;
use lath_ec2_records::resources::{SUBNET, SUBNET_CIDR_RESERVATION};
use lath_ec2_records::{ReservationType, Subnet, SubnetCidrReservation, SubnetCidrReservationId};
use lath_model::id::SubnetId;
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::vpcs;

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
    if SubnetCidrReservation::of_subnet(view, &subnet.id).any(|it| overlaps(it.cidr)) {
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
    let items = SubnetCidrReservation::of_subnet(view, &subnet.id).map(|it| item(view, &it));
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
    let all: Vec<_> = SubnetCidrReservation::of_subnet(tx.view(), subnet).collect();
    all.iter().for_each(|it| forget(tx, it));
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
