//! Route tables of gateways.

use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, limit};
use lath_ec2_records::resources::{TRANSIT_GATEWAY, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{
    Life, LifeState, TableLink, TransitAttachment, TransitGateway, TransitRouteTable,
};
use lath_model::Timestamp;
use lath_model::id::TransitGatewayRouteTableId;
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::{attachments_of, available_gateway, incorrect, table};

/// How many tables a gateway may have.
const MAX_TABLES: usize = 20;

operations! {
    for Ec2 as "ec2";
    change CreateTransitGatewayRouteTable -> CreateTransitGatewayRouteTableResult = create, dry_run
        => on(&TRANSIT_GATEWAY, |op, _| op.transit_gateway_id.clone())
            .creates(&TRANSIT_ROUTE_TABLE, |op| &op.tag_specifications);
    change DeleteTransitGatewayRouteTable -> DeleteTransitGatewayRouteTableResult = delete, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone());
    read DescribeTransitGatewayRouteTables -> DescribeTransitGatewayRouteTablesResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTransitGatewayRouteTable {
    transit_gateway_id: String,
    #[serde(default)]
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteTransitGatewayRouteTable {
    transit_gateway_route_table_id: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTransitGatewayRouteTables {
    #[serde(default)]
    transit_gateway_route_table_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateTransitGatewayRouteTableResult {
    transit_gateway_route_table: TableItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteTransitGatewayRouteTableResult {
    transit_gateway_route_table: TableItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTransitGatewayRouteTablesResult {
    transit_gateway_route_tables: Vec<TableItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TableItem {
    transit_gateway_route_table_id: String,
    transit_gateway_id: String,
    state: String,
    default_association_route_table: bool,
    default_propagation_route_table: bool,
    creation_time: Timestamp,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGatewayRouteTable,
) -> Result<CreateTransitGatewayRouteTableResult, ApiError> {
    let tags = tags::specified(&op.tag_specifications, "transit-gateway-route-table")?;
    let gateway = available_gateway(tx.view(), &op.transit_gateway_id)?;
    let lives =
        |it: &TransitRouteTable| it.gateway == gateway.id && it.life.state != LifeState::Deleted;
    let count = tx
        .list::<TransitRouteTable>()
        .filter(|it| lives(it))
        .count();
    if app.cell.mode == Mode::Strict && count >= MAX_TABLES {
        return Err(limit(
            "TransitGatewayRouteTableLimitExceeded",
            "Transit Gateway route tables",
        ));
    }
    let table = tx.put(TransitRouteTable {
        id: TransitGatewayRouteTableId::random(),
        gateway: gateway.id.clone(),
        routes: Default::default(),
        references: Default::default(),
        life: Life::begin(tx.view().revision()),
        created_at: tx.now(),
    });
    tags::put(tx, table.id.as_str(), tags);
    Ok(CreateTransitGatewayRouteTableResult {
        transit_gateway_route_table: item(tx.view(), &table),
    })
}

fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGatewayRouteTable,
) -> Result<DeleteTransitGatewayRouteTableResult, ApiError> {
    let id = &op.transit_gateway_route_table_id;
    let table = table(tx.view(), id)?;
    if table.life.state == LifeState::Deleting {
        return Err(incorrect(id, "deleting"));
    }
    refuse_used(tx.view(), &table)?;
    let (after, now) = (tx.view().revision(), tx.now());
    detach_propagations(tx, &table);
    let deleted = tx.update::<TransitRouteTable>(id, |it| {
        it.life.enter(LifeState::Deleting, after, now);
    });
    Ok(DeleteTransitGatewayRouteTableResult {
        transit_gateway_route_table: item(tx.view(), deleted.as_ref().unwrap_or(&table)),
    })
}

fn refuse_used(view: &View, table: &TransitRouteTable) -> Result<(), ApiError> {
    let Some(gateway) = view.get::<TransitGateway>(table.gateway.as_str()) else {
        return Ok(());
    };
    let is_it = |link: &Option<TableLink>| link.as_ref().is_some_and(|it| it.table == table.id);
    let attached = attachments_of(view, &gateway);
    if attached.iter().any(|it| is_it(&it.association)) {
        return Err(client(
            "IncorrectState",
            format!("{} has non-deleted associations.", table.id),
        ));
    }
    let defaults = [&gateway.association_default, &gateway.propagation_default];
    if defaults.into_iter().flatten().any(|it| *it == table.id) {
        return Err(client(
            "IncorrectState",
            format!(
                "Transit Gateway Route Table {} is a default route table of {} and cannot be deleted.",
                table.id, gateway.id
            ),
        ));
    }
    Ok(())
}

/// Propagations end with their table.
fn detach_propagations(tx: &mut Tx, table: &TransitRouteTable) {
    let users: Vec<_> = tx
        .list::<TransitAttachment>()
        .filter(|it| it.propagations.iter().any(|link| link.table == table.id))
        .collect();
    for user in users {
        tx.update::<TransitAttachment>(user.id.as_str(), |it| {
            it.propagations.retain(|link| link.table != table.id);
        });
    }
}

fn item(view: &View, table: &TransitRouteTable) -> TableItem {
    let gateway = view.get::<TransitGateway>(table.gateway.as_str());
    let gateway = gateway.as_ref();
    let is_it = |id: &Option<TransitGatewayRouteTableId>| id.as_ref() == Some(&table.id);
    TableItem {
        transit_gateway_route_table_id: table.id.to_string(),
        transit_gateway_id: table.gateway.to_string(),
        state: table.life.state.name().into(),
        default_association_route_table: gateway.is_some_and(|it| is_it(&it.association_default)),
        default_propagation_route_table: gateway.is_some_and(|it| is_it(&it.propagation_default)),
        creation_time: table.created_at,
        tags: tags::of(view, table.id.as_str()),
    }
}

impl Listed for TableItem {
    const ID: IdForm = TRANSIT_ROUTE_TABLE.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-route-table-id", |it| {
            vec![it.transit_gateway_route_table_id.clone()]
        }),
        ("transit-gateway-id", |it| {
            vec![it.transit_gateway_id.clone()]
        }),
        ("state", |it| vec![it.state.clone()]),
        ("default-association-route-table", |it| {
            vec![it.default_association_route_table.to_string()]
        }),
        ("default-propagation-route-table", |it| {
            vec![it.default_propagation_route_table.to_string()]
        }),
    ];
    fn id(&self) -> &str {
        &self.transit_gateway_route_table_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeTransitGatewayRouteTables,
) -> Result<DescribeTransitGatewayRouteTablesResult, ApiError> {
    let show = |it: &TransitRouteTable| Some(item(view, it));
    let query = Query {
        ids: &op.transit_gateway_route_table_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeTransitGatewayRouteTablesResult {
        transit_gateway_route_tables: page.items,
        next_token: page.next_token,
    })
}
