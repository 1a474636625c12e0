//! The default VPC of a region: one in a new data directory, and whenever a caller asks for it
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html>).

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_records::errors::{client, over};
use lath_ec2_records::options_id;
use lath_ec2_records::{CidrBlock, Destination, InternetGateway, NetworkAcl, Route, Target, Vpc};
use lath_model::id::{InternetGatewayId, NetworkAclId, VpcId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::*;
use super::{MAX_VPCS, item, main_table};
use crate::{internet_gateways, security_groups, subnets};

/// "A VPC with a size /16 IPv4 CIDR block (172.31.0.0/16)".
const BLOCK: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(172, 31, 0, 0), 16);

/// The region's default VPC.
pub fn find(view: &View) -> Option<Arc<Vpc>> {
    view.by::<Vpc>("state", "default").next()
}

/// Makes the default VPC of a state that was never written. Returns whether it did: a state that was written before, even
/// by a start that made none, gets none unasked, and neither does one whose records were all deleted.
///
/// # Errors
/// That the store failed.
pub async fn furnish(cell: &Cell) -> Result<bool, ApiError> {
    cell.db
        .write(|tx: &mut Tx| {
            let is_new = tx.view().revision() == 0;
            if is_new {
                make(cell, tx);
            }
            Ok(is_new)
        })
        .await
}

pub(super) fn create(
    app: &Ec2,
    tx: &mut Tx,
    _op: CreateDefaultVpc,
) -> Result<CreateVpcResult, ApiError> {
    if find(tx.view()).is_some() {
        return Err(client(
            "DefaultVpcAlreadyExists",
            "A Default VPC already exists for this account in this region.",
        ));
    }
    MAX_VPCS.check(&app.cell, tx.view().count::<Vpc>() + 1, over)?;
    let gateways = tx.view().count::<InternetGateway>();
    internet_gateways::MAX_GATEWAYS.check(&app.cell, gateways + 1, over)?;
    let vpc = make(&app.cell, tx);
    let observed = app.cell.observed.borrow();
    Ok(CreateVpcResult {
        vpc: item(tx.view(), &observed, &vpc),
    })
}

/// The VPC with an internet gateway, a route to it in the main table, and a subnet in each zone.
fn make(cell: &Cell, tx: &mut Tx) -> Arc<Vpc> {
    let vpc = Vpc {
        id: VpcId::random(),
        owner: cell.account.clone(),
        cidrs: vec![CidrBlock::new(BLOCK)],
        is_default: true,
        dhcp_options: Some(options_id(cell)),
        network_acl: NetworkAclId::random(),
        dns_support: true,
        dns_hostnames: true,
        available: false,
        created_at: tx.now(),
    };
    let gateway = InternetGateway {
        id: InternetGatewayId::random(),
        owner: cell.account.clone(),
        vpc: Some(vpc.id.clone()),
    };
    let mut table = main_table(&vpc);
    table.routes.push(Route {
        destination: Destination::Cidr(IpNet::V4(Ipv4Net::default())),
        target: Target::InternetGateway(gateway.id.clone()),
    });
    tx.put(table);
    tx.put(gateway);
    tx.put(NetworkAcl::default_of(&vpc));
    tx.put(security_groups::default_group(&vpc));
    for (zone, block) in cell.availability_zones().into_iter().zip(blocks(&vpc)) {
        subnets::put_default(cell, tx, &vpc, zone, block);
    }
    tx.put(vpc)
}

/// The blocks that default subnets may have.
pub(crate) fn blocks(vpc: &Vpc) -> impl Iterator<Item = Ipv4Net> {
    let cidr = vpc.primary_cidr();
    cidr.subnets(20).into_iter().flatten()
}
