//! The gateways themselves.

use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, invalid_value, limit, over, unsupported};
use lath_ec2_records::resources::{TRANSIT_GATEWAY, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{
    Life, LifeState, TransitAttachment, TransitGateway, TransitOptions, TransitRouteTable,
};
use lath_model::Timestamp;
use lath_model::id::{TransitGatewayId, TransitGatewayRouteTableId};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::cidr_blocks::blocks;
use super::{attachments_of, gateway, incorrect, switch, switched, table};

/// How many Transit Gateways a region may have.
const MAX_GATEWAYS: Quota<&str> = Quota::new("Transit Gateways", "TransitGatewayLimitExceeded", 5);
/// The number of a gateway that is given none.
const DEFAULT_ASN: i64 = 64512;

operations! {
    for Ec2 as "ec2";
    change CreateTransitGateway -> CreateTransitGatewayResult = create, dry_run
        => creates(&TRANSIT_GATEWAY, |op| &op.tag_specifications);
    change ModifyTransitGateway -> ModifyTransitGatewayResult = modify, dry_run
        => on(&TRANSIT_GATEWAY, |op, _| op.transit_gateway_id.clone())
            .on(&TRANSIT_ROUTE_TABLE, |op, _| op.tables());
    change DeleteTransitGateway -> DeleteTransitGatewayResult = delete, dry_run
        => on(&TRANSIT_GATEWAY, |op, _| op.transit_gateway_id.clone());
    read DescribeTransitGateways -> DescribeTransitGatewaysResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTransitGateway {
    description: Option<String>,
    options: Option<OptionsInput>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionsInput {
    amazon_side_asn: Option<i64>,
    auto_accept_shared_attachments: Option<String>,
    default_route_table_association: Option<String>,
    default_route_table_propagation: Option<String>,
    vpn_ecmp_support: Option<String>,
    dns_support: Option<String>,
    security_group_referencing_support: Option<String>,
    multicast_support: Option<String>,
    #[serde(default)]
    transit_gateway_cidr_blocks: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyTransitGateway {
    transit_gateway_id: String,
    description: Option<String>,
    options: Option<OptionsChange>,
    dry_run: Option<bool>,
}

impl ModifyTransitGateway {
    /// The tables that are to be its defaults.
    fn tables(&self) -> Vec<String> {
        let given = self.options.iter().flat_map(|it| {
            [
                &it.association_default_route_table_id,
                &it.propagation_default_route_table_id,
            ]
        });
        given.flatten().cloned().collect()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionsChange {
    #[serde(default)]
    add_transit_gateway_cidr_blocks: Vec<String>,
    #[serde(default)]
    remove_transit_gateway_cidr_blocks: Vec<String>,
    vpn_ecmp_support: Option<String>,
    dns_support: Option<String>,
    security_group_referencing_support: Option<String>,
    auto_accept_shared_attachments: Option<String>,
    default_route_table_association: Option<String>,
    association_default_route_table_id: Option<String>,
    default_route_table_propagation: Option<String>,
    propagation_default_route_table_id: Option<String>,
    amazon_side_asn: Option<i64>,
    encryption_support: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteTransitGateway {
    transit_gateway_id: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTransitGateways {
    #[serde(default)]
    transit_gateway_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
    dry_run: Option<bool>,
}

macro_rules! one_gateway {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                transit_gateway: GatewayItem,
            }
        )*
    };
}

one_gateway! { CreateTransitGatewayResult ModifyTransitGatewayResult DeleteTransitGatewayResult }

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTransitGatewaysResult {
    #[serde(rename = "transitGatewaySet")]
    transit_gateways: Vec<GatewayItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayItem {
    transit_gateway_id: String,
    transit_gateway_arn: String,
    state: String,
    owner_id: String,
    description: String,
    creation_time: Timestamp,
    options: OptionsItem,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionsItem {
    amazon_side_asn: i64,
    auto_accept_shared_attachments: String,
    default_route_table_association: String,
    association_default_route_table_id: Option<String>,
    default_route_table_propagation: String,
    propagation_default_route_table_id: Option<String>,
    vpn_ecmp_support: String,
    dns_support: String,
    security_group_referencing_support: String,
    transit_gateway_cidr_blocks: Vec<String>,
    multicast_support: String,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGateway,
) -> Result<CreateTransitGatewayResult, ApiError> {
    let tags = tags::specified(&op.tag_specifications, "transit-gateway")?;
    let options = op.options.unwrap_or_default();
    let asn = asn(options.amazon_side_asn)?.unwrap_or(DEFAULT_ASN);
    let cidr_blocks = blocks(&[], &options.transit_gateway_cidr_blocks, &[])?;
    let options = wanted(&options)?;
    let there = tx.list::<TransitGateway>();
    let count = there
        .filter(|it| it.life.state != LifeState::Deleted)
        .count();
    MAX_GATEWAYS.check(&app.cell, count + 1, over)?;
    let life = Life::begin(tx.view().revision());
    let mut gateway = TransitGateway {
        id: TransitGatewayId::random(),
        owner: app.cell.account.clone(),
        description: op.description.unwrap_or_default(),
        asn,
        options,
        association_default: None,
        propagation_default: None,
        cidr_blocks,
        life: life.clone(),
        created_at: tx.now(),
    };
    if options.associates || options.propagates {
        let table = default_table(tx, &gateway, life);
        gateway.association_default = options.associates.then(|| table.clone());
        gateway.propagation_default = options.propagates.then_some(table);
    }
    tags::put(tx, gateway.id.as_str(), tags);
    let gateway = tx.put(gateway);
    Ok(CreateTransitGatewayResult {
        transit_gateway: item(app, tx.view(), &gateway),
    })
}

fn default_table(tx: &mut Tx, gateway: &TransitGateway, life: Life) -> TransitGatewayRouteTableId {
    let id = TransitGatewayRouteTableId::random();
    tx.put(TransitRouteTable {
        id: id.clone(),
        gateway: gateway.id.clone(),
        routes: Default::default(),
        references: Default::default(),
        life,
        created_at: gateway.created_at,
    });
    id
}

/// Private numbers of 16 and of 32 bits.
fn asn(wanted: Option<i64>) -> Result<Option<i64>, ApiError> {
    match wanted {
        None | Some(64512..=65534 | 4_200_000_000..=4_294_967_294) => Ok(wanted),
        Some(other) => Err(invalid_value(format!(
            "Amazon side ASN {other} is not valid. It must be in the range 64512 to 65534 or 4200000000 to 4294967294."
        ))),
    }
}

fn wanted(input: &OptionsInput) -> Result<TransitOptions, ApiError> {
    if switch(
        "MulticastSupport",
        input.multicast_support.as_deref(),
        false,
    )? {
        return Err(unsupported("Multicast is not supported."));
    }
    Ok(TransitOptions {
        auto_accept: switch(
            "AutoAcceptSharedAttachments",
            input.auto_accept_shared_attachments.as_deref(),
            false,
        )?,
        associates: switch(
            "DefaultRouteTableAssociation",
            input.default_route_table_association.as_deref(),
            true,
        )?,
        propagates: switch(
            "DefaultRouteTablePropagation",
            input.default_route_table_propagation.as_deref(),
            true,
        )?,
        vpn_ecmp: switch("VpnEcmpSupport", input.vpn_ecmp_support.as_deref(), true)?,
        dns: switch("DnsSupport", input.dns_support.as_deref(), true)?,
        group_references: switch(
            "SecurityGroupReferencingSupport",
            input.security_group_referencing_support.as_deref(),
            false,
        )?,
    })
}

fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifyTransitGateway,
) -> Result<ModifyTransitGatewayResult, ApiError> {
    let old = super::available_gateway(tx.view(), &op.transit_gateway_id)?;
    let mut gateway = TransitGateway::clone(&old);
    if let Some(description) = op.description {
        gateway.description = description;
    }
    if let Some(change) = &op.options {
        apply(tx.view(), &mut gateway, change)?;
    }
    let gateway = tx.put(gateway);
    Ok(ModifyTransitGatewayResult {
        transit_gateway: item(app, tx.view(), &gateway),
    })
}

fn apply(
    view: &View,
    gateway: &mut TransitGateway,
    change: &OptionsChange,
) -> Result<(), ApiError> {
    gateway.cidr_blocks = blocks(
        &gateway.cidr_blocks,
        &change.add_transit_gateway_cidr_blocks,
        &change.remove_transit_gateway_cidr_blocks,
    )?;
    if switch(
        "EncryptionSupport",
        change.encryption_support.as_deref(),
        false,
    )? {
        return Err(unsupported("Encryption inside a region is not supported."));
    }
    if let Some(asn) = asn(change.amazon_side_asn)? {
        gateway.asn = asn;
    }
    let options = &mut gateway.options;
    for (name, value, option) in [
        (
            "VpnEcmpSupport",
            &change.vpn_ecmp_support,
            &mut options.vpn_ecmp,
        ),
        ("DnsSupport", &change.dns_support, &mut options.dns),
        (
            "SecurityGroupReferencingSupport",
            &change.security_group_referencing_support,
            &mut options.group_references,
        ),
        (
            "AutoAcceptSharedAttachments",
            &change.auto_accept_shared_attachments,
            &mut options.auto_accept,
        ),
        (
            "DefaultRouteTableAssociation",
            &change.default_route_table_association,
            &mut options.associates,
        ),
        (
            "DefaultRouteTablePropagation",
            &change.default_route_table_propagation,
            &mut options.propagates,
        ),
    ] {
        *option = switch(name, value.as_deref(), *option)?;
    }
    let (associates, propagates) = (gateway.options.associates, gateway.options.propagates);
    let association = change.association_default_route_table_id.as_deref();
    gateway.association_default = default_of(
        view,
        gateway,
        associates,
        association,
        gateway.association_default.clone(),
    )?;
    let propagation = change.propagation_default_route_table_id.as_deref();
    gateway.propagation_default = default_of(
        view,
        gateway,
        propagates,
        propagation,
        gateway.propagation_default.clone(),
    )?;
    Ok(())
}

/// The default table after a change: the wanted one, or the old one, if there is to be any.
fn default_of(
    view: &View,
    gateway: &TransitGateway,
    enabled: bool,
    wanted: Option<&str>,
    old: Option<TransitGatewayRouteTableId>,
) -> Result<Option<TransitGatewayRouteTableId>, ApiError> {
    let Some(id) = wanted else {
        return match (enabled, old) {
            (false, _) => Ok(None),
            (true, Some(old)) => Ok(Some(old)),
            (true, None) => Err(client(
                "MissingParameter",
                "A default route table must be named to enable default association or propagation.",
            )),
        };
    };
    if !enabled {
        return Err(lath_ec2_records::errors::combination(
            "A default route table can be named only where it is enabled.",
        ));
    }
    let table = table(view, id)?;
    if table.gateway != gateway.id {
        return Err(invalid_value(format!(
            "Transit Gateway Route Table {id} does not belong to Transit Gateway {}.",
            gateway.id
        )));
    }
    Ok(Some(table.id.clone()))
}

fn delete(
    app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGateway,
) -> Result<DeleteTransitGatewayResult, ApiError> {
    let gateway = gateway(tx.view(), &op.transit_gateway_id)?;
    if gateway.life.state == LifeState::Deleting {
        return Err(incorrect(&op.transit_gateway_id, "deleting"));
    }
    refuse_attached(tx.view(), &gateway)?;
    let (after, now) = (tx.view().revision(), tx.now());
    let tables: Vec<_> = tx
        .list::<TransitRouteTable>()
        .filter(|it| it.gateway == gateway.id && it.life.state.lives())
        .collect();
    for table in tables {
        tx.update::<TransitRouteTable>(table.id.as_str(), |it| {
            it.life.enter(LifeState::Deleting, after, now);
        });
    }
    let deleted = tx.update::<TransitGateway>(gateway.id.as_str(), |it| {
        it.life.enter(LifeState::Deleting, after, now);
    });
    Ok(DeleteTransitGatewayResult {
        transit_gateway: item(app, tx.view(), deleted.as_ref().unwrap_or(&gateway)),
    })
}

fn refuse_attached(view: &View, gateway: &TransitGateway) -> Result<(), ApiError> {
    let left: Vec<_> = attachments_of(view, gateway)
        .into_iter()
        .filter(|it| !it.state.has_ended())
        .collect();
    let named = |peerings: bool| {
        let ids = left.iter().filter(|it| it.peering().is_some() == peerings);
        ids.map(|it| it.id.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (vpcs, peerings) = (named(false), named(true));
    let message = if !vpcs.is_empty() {
        format!("{} has non-deleted VPC Attachments: {vpcs}.", gateway.id)
    } else if !peerings.is_empty() {
        format!(
            "{} has non-deleted Transit Gateway Cross Region Peering Attachments: {peerings}.",
            gateway.id
        )
    } else {
        return Ok(());
    };
    Err(client("IncorrectState", message))
}

fn item(app: &Ec2, view: &View, gateway: &TransitGateway) -> GatewayItem {
    let options = &gateway.options;
    let text = |id: &Option<TransitGatewayRouteTableId>| id.as_ref().map(ToString::to_string);
    GatewayItem {
        transit_gateway_id: gateway.id.to_string(),
        transit_gateway_arn: app
            .cell
            .arn("ec2", format!("transit-gateway/{}", gateway.id)),
        state: gateway.life.state.name().into(),
        owner_id: gateway.owner.clone(),
        description: gateway.description.clone(),
        creation_time: gateway.created_at,
        options: OptionsItem {
            amazon_side_asn: gateway.asn,
            auto_accept_shared_attachments: switched(options.auto_accept),
            default_route_table_association: switched(options.associates),
            association_default_route_table_id: text(&gateway.association_default),
            default_route_table_propagation: switched(options.propagates),
            propagation_default_route_table_id: text(&gateway.propagation_default),
            vpn_ecmp_support: switched(options.vpn_ecmp),
            dns_support: switched(options.dns),
            security_group_referencing_support: switched(options.group_references),
            transit_gateway_cidr_blocks: gateway
                .cidr_blocks
                .iter()
                .map(ToString::to_string)
                .collect(),
            multicast_support: switched(false),
        },
        tags: tags::of(view, gateway.id.as_str()),
    }
}

impl Listed for GatewayItem {
    const ID: IdForm = TRANSIT_GATEWAY.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-id", |it| {
            vec![it.transit_gateway_id.clone()]
        }),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("options.amazon-side-asn", |it| {
            vec![it.options.amazon_side_asn.to_string()]
        }),
        ("options.association-default-route-table-id", |it| {
            let id = it.options.association_default_route_table_id.as_ref();
            id.into_iter().cloned().collect()
        }),
        ("options.propagation-default-route-table-id", |it| {
            let id = it.options.propagation_default_route_table_id.as_ref();
            id.into_iter().cloned().collect()
        }),
        ("options.auto-accept-shared-attachments", |it| {
            vec![it.options.auto_accept_shared_attachments.clone()]
        }),
        ("options.default-route-table-association", |it| {
            vec![it.options.default_route_table_association.clone()]
        }),
        ("options.default-route-table-propagation", |it| {
            vec![it.options.default_route_table_propagation.clone()]
        }),
        ("options.security-group-referencing-support", |it| {
            vec![it.options.security_group_referencing_support.clone()]
        }),
        ("options.dns-support", |it| {
            vec![it.options.dns_support.clone()]
        }),
        ("options.vpn-ecmp-support", |it| {
            vec![it.options.vpn_ecmp_support.clone()]
        }),
    ];
    fn id(&self) -> &str {
        &self.transit_gateway_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeTransitGateways,
) -> Result<DescribeTransitGatewaysResult, ApiError> {
    let show = |it: &TransitGateway| Some(item(app, view, it));
    let query = Query {
        ids: &op.transit_gateway_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeTransitGatewaysResult {
        transit_gateways: page.items,
        next_token: page.next_token,
    })
}

/// How many attachments a gateway may have.
const MAX_ATTACHMENTS: usize = 5000;

/// Refuses one attachment too many.
pub(super) fn room_for_attachment(
    app: &Ec2,
    view: &View,
    gateway: &TransitGateway,
) -> Result<(), ApiError> {
    let is_left = |it: &TransitAttachment| it.gateway == gateway.id && !it.state.has_ended();
    let left = view
        .list::<TransitAttachment>()
        .filter(|it| is_left(it))
        .count();
    if app.cell.mode == Mode::Strict && left >= MAX_ATTACHMENTS {
        return Err(limit(
            "TransitGatewayAttachmentLimitExceeded",
            "Transit Gateway attachments",
        ));
    }
    Ok(())
}
