//! VPC peering connections within a region (<https://docs.aws.amazon.com/vpc/latest/peering/what-is-vpc-peering.html>).
//!
//! Both sides are of this account, so that either of them may accept, reject and delete. Routes name a connection from the
//! moment it is asked for, and lead nowhere until it works.

mod life;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use lath_authz::Scope;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::Done;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{client, invalid_value, missing, over, unsupported};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::resources::{VPC, VPC_PEERING, arn};
use lath_ec2_records::{PeeringSide, PeeringState, Vpc, VpcPeering};
use lath_model::id::{VpcId, VpcPeeringConnectionId};
use lath_service::{IdForm, Quota, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::messages::*;

pub(crate) use life::{advance, feed};

/// How many connections a VPC may have that wait to be accepted, of those that it asked for.
const MAX_PENDING: Quota<&str> = Quota::new(
    "outstanding VPC peering connections",
    "OutstandingVpcPeeringConnectionLimitExceeded",
    25,
);
/// How many active connections a VPC may have.
const MAX_ACTIVE: Quota<&str> = Quota::new(
    "active VPC peering connections",
    "ActiveVpcPeeringConnectionPerVpcLimitExceeded",
    50,
);
/// "If the owner of the accepter VPC takes no action, the request expires after seven days".
const EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);

operations! {
    for Ec2 as "ec2";
    change CreateVpcPeeringConnection -> PeeringResult = create, dry_run
        => on(&VPC, |op, at| op.vpcs(at))
            .makes(&VPC_PEERING)
            .with("ec2:RequesterVpc", |op, at| arn(at, "vpc", &op.vpc_id))
            .with("ec2:AccepterVpc", |op, at| arn(at, "vpc", op.peer_vpc_id.as_deref().unwrap_or_default()))
            .with_tags_of(&VPC_PEERING, |op| &op.tag_specifications);
    change AcceptVpcPeeringConnection -> PeeringResult = accept, dry_run
        => on(&VPC_PEERING, |op, _| op.vpc_peering_connection_id.clone())
            .on(&VPC, |op, at| accepter_of(at.view, &op.vpc_peering_connection_id));
    change RejectVpcPeeringConnection -> Done = reject, dry_run
        => on(&VPC_PEERING, |op, _| op.vpc_peering_connection_id.clone());
    change DeleteVpcPeeringConnection -> Done = delete, dry_run
        => on(&VPC_PEERING, |op, _| op.vpc_peering_connection_id.clone());
    read DescribeVpcPeeringConnections -> DescribeVpcPeeringConnectionsResult = describe, dry_run => any();
    change ModifyVpcPeeringConnectionOptions -> ModifyVpcPeeringConnectionOptionsResult = modify, dry_run
        => on(&VPC_PEERING, |op, _| op.vpc_peering_connection_id.clone())
        => refusing ["AccepterPeeringConnectionOptions." OptionsInput, "RequesterPeeringConnectionOptions." OptionsInput];
}

impl CreateVpcPeeringConnection {
    /// Both VPCs, when both are of this region and account.
    fn vpcs(&self, at: &Scope<'_>) -> Vec<String> {
        let region = self.peer_region.as_deref();
        let owner = self.peer_owner_id.as_deref();
        let is_here =
            region.is_none_or(|it| it == at.region()) && owner.is_none_or(|it| it == at.account());
        let peer = self.peer_vpc_id.clone().filter(|_| is_here);
        std::iter::once(self.vpc_id.clone()).chain(peer).collect()
    }
}

fn accepter_of(view: &View, id: &str) -> Option<String> {
    Some(view.get::<VpcPeering>(id)?.accepter.vpc.to_string())
}

/// The connections of a VPC that live.
pub(crate) fn of_vpc<'a>(
    view: &'a View,
    vpc: &VpcId,
) -> impl Iterator<Item = Arc<VpcPeering>> + 'a {
    view.by::<VpcPeering>("vpc", vpc.as_str())
}

/// Whether one that works joins the two VPCs.
pub(crate) fn joins(view: &View, one: &VpcId, other: &VpcId) -> bool {
    let mut of_one = of_vpc(view, one);
    of_one.any(|it| it.state.is_up() && it.seen_from(other).is_some())
}

/// Whether it joins the VPC to another one now.
pub(crate) fn is_alive(view: &View, vpc: &VpcId, id: &VpcPeeringConnectionId) -> bool {
    let found = view.get::<VpcPeering>(id.as_str());
    found.is_some_and(|it| it.state == PeeringState::Active && it.seen_from(vpc).is_some())
}

/// The connection that a route of the VPC may name.
///
/// # Errors
/// `InvalidVpcPeeringConnectionID.NotFound`, and `InvalidParameterValue` for one of other VPCs.
pub(crate) fn target(view: &View, vpc: &VpcId, id: &str) -> Result<Arc<VpcPeering>, ApiError> {
    let peering = ids::find::<VpcPeering>(view, id)?;
    if !peering.state.lives() {
        return Err(VPC_PEERING.id.not_found(id));
    }
    if peering.seen_from(vpc).is_none() {
        return Err(invalid_value(format!(
            "VPC peering connection {id} and VPC {vpc} belong to different networks"
        )));
    }
    Ok(peering)
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateVpcPeeringConnection,
) -> Result<PeeringResult, ApiError> {
    let requester = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    let peer = op
        .peer_vpc_id
        .as_deref()
        .ok_or_else(|| missing("peerVpcId"))?;
    let region = op.peer_region.as_deref().unwrap_or(&app.cell.region);
    if region != app.cell.region {
        return Err(unsupported(format!(
            "VPC peering connections with VPCs of other regions, such as {region}, are not supported. Use Transit Gateways."
        )));
    }
    let tags = tags::specified(&op.tag_specifications, VPC_PEERING.name)?;
    let owner = op.peer_owner_id.as_ref().unwrap_or(&app.cell.account);
    let accepter = if *owner == app.cell.account {
        side(&*ids::find::<Vpc>(tx.view(), peer)?)
    } else {
        PeeringSide {
            vpc: VPC.id.parse(peer)?,
            owner: owner.clone(),
            cidrs: Vec::new(),
            shares_names: false,
        }
    };
    let requester = side(&requester);
    check_pair(app, tx.view(), &requester, &accepter)?;
    let fails = accepter.cidrs.is_empty() || overlap(&requester.cidrs, &accepter.cidrs);
    let now = tx.now();
    let peering = tx.put(VpcPeering {
        id: VpcPeeringConnectionId::random(),
        requester,
        accepter,
        state: if fails {
            PeeringState::Failed
        } else {
            PeeringState::Pending
        },
        after: 0,
        expires_at: now.plus(EXPIRES),
        ended_at: fails.then_some(now),
    });
    tags::put(tx, peering.id.as_str(), tags);
    let mut answer = item(app, tx.view(), &peering);
    // What AWS answers, whatever comes of it: clients wait for the next state.
    let owner = &peering.accepter.owner;
    answer.status = StatusItem {
        code: "initiating-request".into(),
        message: format!("Initiating Request to {owner}"),
    };
    Ok(PeeringResult {
        vpc_peering_connection: answer,
    })
}

fn side(vpc: &Vpc) -> PeeringSide {
    PeeringSide {
        vpc: vpc.id.clone(),
        owner: vpc.owner.clone(),
        cidrs: vpc.cidrs.iter().map(|block| block.cidr).collect(),
        shares_names: false,
    }
}

fn overlap(one: &[Ipv4Net], other: &[Ipv4Net]) -> bool {
    let overlaps = |a: &Ipv4Net, b: &Ipv4Net| a.contains(b) || b.contains(a);
    one.iter().any(|a| other.iter().any(|b| overlaps(a, b)))
}

fn check_pair(
    app: &Ec2,
    view: &View,
    requester: &PeeringSide,
    accepter: &PeeringSide,
) -> Result<(), ApiError> {
    if requester.vpc == accepter.vpc {
        return Err(invalid_value(
            "A VPC cannot be peered with itself: vpcId and peerVpcId are equal.",
        ));
    }
    let own: Vec<_> = of_vpc(view, &requester.vpc).collect();
    if own.iter().any(|it| it.seen_from(&accepter.vpc).is_some()) {
        return Err(client(
            "VpcPeeringConnectionAlreadyExists",
            format!(
                "A VPC peering connection between {} and {} already exists.",
                requester.vpc, accepter.vpc
            ),
        ));
    }
    let pending = own
        .iter()
        .filter(|it| it.state == PeeringState::Pending && it.requester.vpc == requester.vpc);
    MAX_PENDING.check(&app.cell, pending.count() + 1, over)
}

/// A connection in this state, for the change to another one.
fn in_state(
    view: &View,
    id: &str,
    from: &[PeeringState],
    to: &str,
) -> Result<Arc<VpcPeering>, ApiError> {
    let peering = ids::find::<VpcPeering>(view, id)?;
    if from.contains(&peering.state) {
        return Ok(peering);
    }
    Err(client(
        "InvalidStateTransition",
        format!(
            "Invalid state transition for {id}, attempted to transition from {} to {to}",
            peering.state.code()
        ),
    ))
}

fn accept(
    app: &Ec2,
    tx: &mut Tx,
    op: AcceptVpcPeeringConnection,
) -> Result<PeeringResult, ApiError> {
    let pending = [PeeringState::Pending];
    let id = &op.vpc_peering_connection_id;
    let peering = in_state(tx.view(), id, &pending, "active")?;
    for vpc in [&peering.requester.vpc, &peering.accepter.vpc] {
        let active = of_vpc(tx.view(), vpc).filter(|it| it.state.is_up());
        MAX_ACTIVE.check(&app.cell, active.count() + 1, over)?;
    }
    // The blocks of now: one that was added since may overlap.
    let blocks = |vpc: &VpcId| {
        let vpc = tx.view().get::<Vpc>(vpc.as_str());
        vpc.map_or_else(Vec::new, |vpc| side(&vpc).cidrs)
    };
    let (one, other) = (
        blocks(&peering.requester.vpc),
        blocks(&peering.accepter.vpc),
    );
    let fails = overlap(&one, &other);
    let (after, now) = (tx.view().revision(), tx.now());
    let peering = tx.update::<VpcPeering>(peering.id.as_str(), |peering| {
        peering.after = after;
        peering.state = if fails {
            peering.ended_at = Some(now);
            PeeringState::Failed
        } else {
            PeeringState::Provisioning
        };
    });
    let peering = peering.ok_or_else(|| VPC_PEERING.id.not_found(id))?;
    Ok(PeeringResult {
        vpc_peering_connection: item(app, tx.view(), &peering),
    })
}

fn reject(_app: &Ec2, tx: &mut Tx, op: RejectVpcPeeringConnection) -> Result<Done, ApiError> {
    let pending = [PeeringState::Pending];
    let id = &op.vpc_peering_connection_id;
    let peering = in_state(tx.view(), id, &pending, "rejected")?;
    end(tx, &peering, PeeringState::Rejected);
    Ok(Done::YES)
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteVpcPeeringConnection) -> Result<Done, ApiError> {
    let lives = [
        PeeringState::Pending,
        PeeringState::Provisioning,
        PeeringState::Active,
        PeeringState::Rejected,
        PeeringState::Expired,
    ];
    let id = &op.vpc_peering_connection_id;
    let peering = in_state(tx.view(), id, &lives, "deleted")?;
    end(tx, &peering, PeeringState::Deleted);
    Ok(Done::YES)
}

fn end(tx: &mut Tx, peering: &VpcPeering, state: PeeringState) {
    let now = tx.now();
    tx.update::<VpcPeering>(peering.id.as_str(), |peering| {
        peering.state = state;
        peering.ended_at = Some(now);
    });
}

fn modify(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyVpcPeeringConnectionOptions,
) -> Result<ModifyVpcPeeringConnectionOptionsResult, ApiError> {
    let id = &op.vpc_peering_connection_id;
    let peering = ids::find::<VpcPeering>(tx.view(), id)?;
    let (accepter, requester) = (
        op.accepter_peering_connection_options,
        op.requester_peering_connection_options,
    );
    let given = [accepter, requester];
    given.iter().flatten().try_for_each(Refuses::refuse)?;
    if given.iter().all(Option::is_none) {
        return Err(missing(
            "AccepterPeeringConnectionOptions or RequesterPeeringConnectionOptions",
        ));
    }
    if peering.state != PeeringState::Active {
        return Err(client(
            "OperationNotPermitted",
            format!(
                "Peering {id} is not active. Peering options can be added only to active peerings."
            ),
        ));
    }
    let set = |side: &mut PeeringSide, given: Option<OptionsInput>| {
        let names = given.and_then(|it| it.allow_dns_resolution_from_remote_vpc);
        side.shares_names = names.unwrap_or(side.shares_names);
    };
    let peering = tx.update::<VpcPeering>(peering.id.as_str(), |peering| {
        set(&mut peering.accepter, accepter);
        set(&mut peering.requester, requester);
    });
    let peering = peering.ok_or_else(|| VPC_PEERING.id.not_found(id))?;
    Ok(ModifyVpcPeeringConnectionOptionsResult {
        accepter_peering_connection_options: accepter.map(|_| options(&peering.accepter)),
        requester_peering_connection_options: requester.map(|_| options(&peering.requester)),
    })
}

fn options(side: &PeeringSide) -> OptionsItem {
    OptionsItem {
        allow_dns_resolution_from_remote_vpc: side.shares_names,
        allow_egress_from_local_classic_link_to_remote_vpc: false,
        allow_egress_from_local_vpc_to_remote_classic_link: false,
    }
}

fn item(app: &Ec2, view: &View, peering: &VpcPeering) -> PeeringItem {
    let message = match peering.state {
        PeeringState::Pending => format!("Pending Acceptance by {}", peering.accepter.owner),
        PeeringState::Provisioning => "Provisioning".to_owned(),
        PeeringState::Active => "Active".to_owned(),
        PeeringState::Rejected => format!("Rejected by {}", peering.accepter.owner),
        PeeringState::Deleted => format!("Deleted by {}", app.cell.account),
        PeeringState::Expired => "Expired".to_owned(),
        PeeringState::Failed => {
            "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range".to_owned()
        }
    };
    let is_pending = peering.state == PeeringState::Pending;
    PeeringItem {
        accepter_vpc_info: side_item(app, view, peering, &peering.accepter),
        requester_vpc_info: side_item(app, view, peering, &peering.requester),
        expiration_time: is_pending.then_some(peering.expires_at),
        status: StatusItem {
            code: peering.state.code().into(),
            message,
        },
        tags: tags::of(view, peering.id.as_str()),
        vpc_peering_connection_id: peering.id.to_string(),
    }
}

/// The blocks of a VPC that is there, else those that it had. Before it is accepted, the accepter's are not told, as at AWS.
fn side_item(app: &Ec2, view: &View, peering: &VpcPeering, side: &PeeringSide) -> SideItem {
    let vpc = view.get::<Vpc>(side.vpc.as_str());
    let mut cidrs = vpc.map_or_else(|| side.cidrs.clone(), |vpc| self::side(&vpc).cidrs);
    if side.vpc == peering.accepter.vpc && !peering.state.is_up() {
        cidrs.clear();
    }
    SideItem {
        cidr_block: cidrs.first().map(ToString::to_string),
        cidr_block_set: cidrs
            .iter()
            .map(|cidr| BlockItem {
                cidr_block: cidr.to_string(),
            })
            .collect(),
        owner_id: side.owner.clone(),
        peering_options: peering.state.is_up().then(|| options(side)),
        vpc_id: side.vpc.to_string(),
        region: app.cell.region.clone(),
    }
}

fn blocks_of(side: &SideItem) -> Vec<String> {
    let blocks = side.cidr_block_set.iter();
    blocks.map(|it| it.cidr_block.clone()).collect()
}

impl Listed for PeeringItem {
    const ID: IdForm = VPC_PEERING.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("vpc-peering-connection-id", |it| {
            vec![it.vpc_peering_connection_id.clone()]
        }),
        ("accepter-vpc-info.cidr-block", |it| {
            blocks_of(&it.accepter_vpc_info)
        }),
        ("accepter-vpc-info.owner-id", |it| {
            vec![it.accepter_vpc_info.owner_id.clone()]
        }),
        ("accepter-vpc-info.vpc-id", |it| {
            vec![it.accepter_vpc_info.vpc_id.clone()]
        }),
        ("requester-vpc-info.cidr-block", |it| {
            blocks_of(&it.requester_vpc_info)
        }),
        ("requester-vpc-info.owner-id", |it| {
            vec![it.requester_vpc_info.owner_id.clone()]
        }),
        ("requester-vpc-info.vpc-id", |it| {
            vec![it.requester_vpc_info.vpc_id.clone()]
        }),
        ("expiration-time", |it| {
            it.expiration_time.iter().map(ToString::to_string).collect()
        }),
        ("status-code", |it| vec![it.status.code.clone()]),
        ("status-message", |it| vec![it.status.message.clone()]),
    ];
    fn id(&self) -> &str {
        &self.vpc_peering_connection_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeVpcPeeringConnections,
) -> Result<DescribeVpcPeeringConnectionsResult, ApiError> {
    let show = |peering: &VpcPeering| Some(item(app, view, peering));
    let query = Query {
        ids: &op.vpc_peering_connection_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeVpcPeeringConnectionsResult {
        vpc_peering_connections: page.items,
        next_token: page.next_token,
    })
}

refused! {
    OptionsInput { allow_egress_from_local_classic_link_to_remote_vpc, allow_egress_from_local_vpc_to_remote_classic_link }
}
