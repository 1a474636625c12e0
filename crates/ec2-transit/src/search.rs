//! Looking for routes of a gateway's table.

use ipnet::Ipv4Net;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Filters};
use lath_ec2_kit::select::{bad_token, page_size};
use lath_ec2_network::block;
use lath_ec2_records::errors::{client, invalid_value, missing, unsupported};
use lath_ec2_records::resources::TRANSIT_ROUTE_TABLE;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::effective::{EffectiveRoute, effective_routes, sources};
use super::routes::{RouteItem, item};
use super::table;

operations! {
    for Ec2 as "ec2";
    read SearchTransitGatewayRoutes -> SearchTransitGatewayRoutesResult = search, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone());
    read ExportTransitGatewayRoutes -> ExportTransitGatewayRoutesResult = export, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SearchTransitGatewayRoutes {
    transit_gateway_route_table_id: String,
    #[serde(rename = "Filter")]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    dry_run: Option<bool>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchTransitGatewayRoutesResult {
    #[serde(rename = "routeSet")]
    routes: Vec<RouteItem>,
    additional_routes_available: bool,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExportTransitGatewayRoutes {
    transit_gateway_route_table_id: String,
    #[serde(rename = "Filter", default)]
    #[expect(
        dead_code,
        reason = "whatever it says, there is no bucket to export to"
    )]
    filters: Vec<Filter>,
    #[expect(dead_code, reason = "there are no buckets")]
    s3_bucket: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportTransitGatewayRoutesResult {
    s3_location: String,
}

/// The filters that compare texts; those that compare blocks are read apart.
const FIELDS: &[Field<RouteItem>] = &[
    ("type", |it| vec![it.kind.clone()]),
    ("state", |it| vec![it.state.clone()]),
    ("prefix-list-id", |it| {
        it.prefix_list_id.iter().cloned().collect()
    }),
    ("attachment.transit-gateway-attachment-id", |it| {
        let all = it.transit_gateway_attachments.iter().flatten();
        all.map(|it| it.transit_gateway_attachment_id.clone())
            .collect()
    }),
    ("attachment.resource-id", |it| {
        let all = it.transit_gateway_attachments.iter().flatten();
        all.map(|it| it.resource_id.clone()).collect()
    }),
    ("attachment.resource-type", |it| {
        let all = it.transit_gateway_attachments.iter().flatten();
        all.map(|it| it.resource_type.clone()).collect()
    }),
];

/// A question about blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Exact,
    LongestPrefix,
    SubnetOf,
    SupernetOf,
}

fn relation(filter: &Filter) -> Result<Option<(Relation, Vec<Ipv4Net>)>, ApiError> {
    let Some(name) = filter
        .name
        .as_deref()
        .and_then(|it| it.strip_prefix("route-search."))
    else {
        return Ok(None);
    };
    let relation = match name {
        "exact-match" => Relation::Exact,
        "longest-prefix-match" => Relation::LongestPrefix,
        "subnet-of-match" => Relation::SubnetOf,
        "supernet-of-match" => Relation::SupernetOf,
        _ => {
            return Err(invalid_value(format!(
                "The filter 'route-search.{name}' is invalid"
            )));
        }
    };
    let cidrs = filter.values.iter().map(|text| {
        // An address alone is asked for as the block of itself.
        let text = if text.contains('/') {
            text.clone()
        } else {
            format!("{text}/32")
        };
        block("route-search", &text)
    });
    Ok(Some((relation, cidrs.collect::<Result<_, _>>()?)))
}

/// Whether a destination has the relation to one of the blocks, among all destinations.
fn holds(relation: Relation, of: &[Ipv4Net], cidr: Ipv4Net, all: &[Ipv4Net]) -> bool {
    of.iter().any(|wanted| match relation {
        Relation::Exact => cidr == *wanted,
        Relation::SubnetOf => wanted.contains(&cidr),
        Relation::SupernetOf => cidr.contains(wanted),
        Relation::LongestPrefix => {
            let longest = all.iter().filter(|it| it.contains(wanted));
            longest.max_by_key(|it| it.prefix_len()) == Some(&cidr)
        }
    })
}

fn search(
    app: &Ec2,
    view: &View,
    op: &SearchTransitGatewayRoutes,
) -> Result<SearchTransitGatewayRoutesResult, ApiError> {
    let table = table(view, &op.transit_gateway_route_table_id)?;
    if op.filters.is_empty() {
        return Err(missing("Filter"));
    }
    let size = page_size(op.max_results, 5..=1000)?.min(1000);
    let mut relations = Vec::new();
    let mut texts = Vec::new();
    for filter in &op.filters {
        match relation(filter)? {
            Some(relation) => relations.push(relation),
            None => texts.push(filter.clone()),
        }
    }
    let filters = Filters::new(&texts, FIELDS)?;
    let routes = effective_routes(&sources(&app.cell, view, &table));
    let all: Vec<Ipv4Net> = routes.keys().copied().collect();
    let related = |cidr: &Ipv4Net| {
        let mut each = relations.iter();
        each.all(|(relation, of)| holds(*relation, of, *cidr, &all))
    };
    let found = routes
        .iter()
        .filter(|(cidr, _)| related(cidr))
        .map(|(cidr, route): (&Ipv4Net, &EffectiveRoute)| (*cidr, item(view, *cidr, route)))
        .filter(|(_, item)| filters.matches(item, &[]));
    // Keys are in the order of blocks, which their texts are not.
    let key = |(cidr, _): &(Ipv4Net, RouteItem)| {
        format!("{:08x}/{:02}", u32::from(cidr.network()), cidr.prefix_len())
    };
    let page = lath_control::paginate(found, key, size, op.next_token.as_deref());
    let page = page.map_err(bad_token)?;
    Ok(SearchTransitGatewayRoutesResult {
        routes: page.items.into_iter().map(|(_, item)| item).collect(),
        additional_routes_available: page.next_token.is_some(),
        next_token: page.next_token,
    })
}

fn export(
    _app: &Ec2,
    view: &View,
    op: &ExportTransitGatewayRoutes,
) -> Result<ExportTransitGatewayRoutesResult, ApiError> {
    table(view, &op.transit_gateway_route_table_id)?;
    Err(unsupported(
        "Routes cannot be exported: there are no buckets here. Use SearchTransitGatewayRoutes.",
    ))
}

/// There is no such reference or route in a table.
pub(super) fn no_reference(list: &str, table: &str) -> ApiError {
    client(
        "InvalidPrefixListReference.NotFound",
        format!("Prefix list {list} is not referenced in Transit Gateway Route Table {table}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_their_relation_to_others() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let all = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"].map(net);
        for (relation, of, want) in [
            (Relation::Exact, "10.1.0.0/16", vec!["10.1.0.0/16"]),
            (Relation::Exact, "10.2.0.0/16", vec![]),
            (Relation::LongestPrefix, "10.1.9.9/32", vec!["10.1.0.0/16"]),
            (Relation::LongestPrefix, "10.1.2.0/24", vec!["10.1.2.0/24"]),
            (Relation::LongestPrefix, "192.168.0.0/16", vec!["0.0.0.0/0"]),
            (
                Relation::SubnetOf,
                "10.1.0.0/16",
                vec!["10.1.0.0/16", "10.1.2.0/24"],
            ),
            (
                Relation::SupernetOf,
                "10.1.0.0/16",
                vec!["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"],
            ),
        ] {
            let found = all
                .iter()
                .filter(|it| holds(relation, &[net(of)], **it, &all));
            let got: Vec<String> = found.map(ToString::to_string).collect();
            assert_eq!(got, want, "{relation:?} {of}");
        }
    }
}
