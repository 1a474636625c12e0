//! Which subnets use which table.

use std::sync::Arc;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::refused;
use lath_ec2_records::errors::{client, invalid_value, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::{RouteTable, Subnet, TableAssociation};
use lath_model::id::{RouteTableAssociationId, SubnetId};
use lath_service::Refuses;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::*;

pub(super) fn associate(
    _app: &Ec2,
    tx: &mut Tx,
    op: AssociateRouteTable,
) -> Result<AssociateRouteTableResult, ApiError> {
    op.refuse()?;
    let table = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    let subnet = op
        .subnet_id
        .ok_or_else(|| missing("subnetId or gatewayId"))?;
    let subnet = ids::find::<Subnet>(tx.view(), &subnet)?;
    if subnet.vpc != table.vpc {
        return Err(invalid_value(format!(
            "Route table {} and subnet {} belong to different networks",
            table.id, subnet.id
        )));
    }
    if tx.view().has::<RouteTable>("subnet", subnet.id.as_str()) {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!(
                "the specified association for route table {} conflicts with an existing association",
                table.id
            ),
        ));
    }
    let id = add(tx, &table, Some(subnet.id.clone()));
    Ok(AssociateRouteTableResult {
        association_id: id.to_string(),
        association_state: AssociationState::associated(),
    })
}

fn add(tx: &mut Tx, table: &RouteTable, subnet: Option<SubnetId>) -> RouteTableAssociationId {
    let id = RouteTableAssociationId::random();
    tx.update::<RouteTable>(table.id.as_str(), |table| {
        let id = id.clone();
        table.associations.push(TableAssociation { id, subnet });
    });
    id
}

fn remove(tx: &mut Tx, table: &RouteTable, association: &TableAssociation) {
    tx.update::<RouteTable>(table.id.as_str(), |table| {
        table.associations.retain(|it| it.id != association.id);
    });
}

fn find(view: &View, id: &str) -> Result<(Arc<RouteTable>, TableAssociation), ApiError> {
    ids::ROUTE_TABLE_ASSOCIATION.check(id)?;
    view.by::<RouteTable>("association", id)
        .find_map(|table| {
            let mut all = table.associations.iter();
            let found = all.find(|it| it.id.as_str() == id)?.clone();
            Some((table, found))
        })
        .ok_or_else(|| ids::ROUTE_TABLE_ASSOCIATION.not_found(id))
}

/// The table that has this association.
pub(super) fn table_of(view: &View, association: &str) -> Option<String> {
    let (table, _) = find(view, association).ok()?;
    Some(table.id.to_string())
}

/// The subnet that has this association; none of that of a main table.
pub(super) fn subnet_of(view: &View, association: &str) -> Option<String> {
    let (_, association) = find(view, association).ok()?;
    Some(association.subnet?.to_string())
}

pub(super) fn disassociate(
    _app: &Ec2,
    tx: &mut Tx,
    op: DisassociateRouteTable,
) -> Result<Nothing, ApiError> {
    let (table, association) = find(tx.view(), &op.association_id)?;
    if association.subnet.is_none() {
        return Err(invalid_value(format!(
            "cannot disassociate the main route table association {}",
            association.id
        )));
    }
    remove(tx, &table, &association);
    Ok(Nothing {})
}

/// Moves a subnet, or the place of the main table, to another table of the VPC.
pub(super) fn replace(
    _app: &Ec2,
    tx: &mut Tx,
    op: ReplaceRouteTableAssociation,
) -> Result<ReplaceRouteTableAssociationResult, ApiError> {
    let (old, association) = find(tx.view(), &op.association_id)?;
    let new = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    if new.vpc != old.vpc {
        return Err(invalid_value(format!(
            "Route table {} and association {} belong to different networks",
            new.id, association.id
        )));
    }
    remove(tx, &old, &association);
    let id = add(tx, &new, association.subnet);
    Ok(ReplaceRouteTableAssociationResult {
        new_association_id: id.to_string(),
        association_state: AssociationState::associated(),
    })
}

refused! {
    AssociateRouteTable { gateway_id, public_ipv4_pool }
}
