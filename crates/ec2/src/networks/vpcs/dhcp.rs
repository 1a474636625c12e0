//! The account's DHCP options: every VPC uses these, and instances get them from the node.

use lath_control::Cell;
use lath_model::id::DhcpOptionsId;
use lath_service::IdForm;
use lath_store::View;
use lath_wire::ApiError;

use super::messages::{
    DescribeDhcpOptions, DescribeDhcpOptionsResult, DhcpConfiguration, DhcpOptionsItem, DhcpValue,
};
use crate::Ec2;
use crate::filter::Field;
use crate::ids;
use crate::resources::DHCP_OPTIONS;
use crate::select::{Listed, Query, select};
use crate::tags::{self, Tag};

/// The id of the options: the same for ever in a region of an account.
pub(crate) fn options_id(cell: &Cell) -> DhcpOptionsId {
    let name = format!("dhcp-options/{}/{}", cell.account, cell.region);
    ids::fixed("dopt", &name)
}

fn domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".into(),
        other => format!("{other}.compute.internal"),
    }
}

fn item(cell: &Cell, view: &View) -> DhcpOptionsItem {
    let id = options_id(cell).to_string();
    let configuration = |key: &str, value: String| DhcpConfiguration {
        key: key.into(),
        values: vec![DhcpValue { value }],
    };
    DhcpOptionsItem {
        owner_id: cell.account.clone(),
        configurations: vec![
            configuration("domain-name", domain(&cell.region)),
            configuration("domain-name-servers", "AmazonProvidedDNS".into()),
        ],
        tags: tags::of(view, &id),
        dhcp_options_id: id,
    }
}

impl Listed for DhcpOptionsItem {
    const ID: IdForm = DHCP_OPTIONS.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("dhcp-options-id", |it| vec![it.dhcp_options_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("key", |it| {
            it.configurations.iter().map(|it| it.key.clone()).collect()
        }),
        ("value", |it| {
            let values = it.configurations.iter().flat_map(|it| &it.values);
            values.map(|it| it.value.clone()).collect()
        }),
    ];
    fn id(&self) -> &str {
        &self.dhcp_options_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

pub(super) fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeDhcpOptions,
) -> Result<DescribeDhcpOptionsResult, ApiError> {
    let query = Query {
        ids: &op.dhcp_options_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select([item(&app.cell, view)], &query)?;
    Ok(DescribeDhcpOptionsResult {
        next_token: page.next_token,
        dhcp_options: page.items,
    })
}
