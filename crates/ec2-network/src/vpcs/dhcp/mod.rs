//! DHCP options: what instances are told of name servers and domains when they boot
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html>). The region has a set of its own, which
//! has no record; others are made, associated with VPCs and deleted, but never changed.

mod values;

use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{has_dependencies, over};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::resources::DHCP_OPTIONS;
use lath_ec2_records::{DhcpOptions, Vpc, options_id};
use lath_feed::NameServer;
use lath_model::id::DhcpOptionsId;
use lath_service::{IdForm, Quota};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::{
    AssociateDhcpOptions, CreateDhcpOptions, CreateDhcpOptionsResult, DeleteDhcpOptions,
    DescribeDhcpOptions, DescribeDhcpOptionsResult, DhcpConfiguration, DhcpOptionsItem, DhcpValue,
};

/// How many sets of its own an account may have in a region. AWS documents no number.
const MAX_OPTIONS: Quota<&str> = Quota::new("DHCP options", "DhcpOptionsLimitExceeded", 100);

/// What stands for no options where an id is expected.
const NONE: &str = "default";
const AMAZON: &str = "AmazonProvidedDNS";
const DOMAIN: &str = "domain-name";
const SERVERS: &str = "domain-name-servers";

/// The region's options.
fn of_region(cell: &Cell) -> DhcpOptions {
    let domain = match cell.region.as_str() {
        "us-east-1" => "ec2.internal".into(),
        other => format!("{other}.compute.internal"),
    };
    let values = [(DOMAIN, domain), (SERVERS, AMAZON.into())];
    DhcpOptions {
        id: options_id(cell),
        owner: cell.account.clone(),
        values: values
            .map(|(key, value)| (key.to_owned(), vec![value]))
            .into(),
    }
}

/// What nodes are told of a VPC's options; `None` for the region's.
pub(crate) fn feed(cell: &Cell, view: &View, vpc: &Vpc) -> Option<lath_feed::DhcpOptions> {
    let Some(id) = &vpc.dhcp_options else {
        return Some(lath_feed::DhcpOptions::default());
    };
    if *id == options_id(cell) {
        return None;
    }
    let options = view.get::<DhcpOptions>(id.as_str())?;
    let values = |key: &str| options.values.get(key).map_or(&[][..], Vec::as_slice);
    let server = |text: &String| match text.as_str() {
        AMAZON => Some(NameServer::Amazon),
        other => other.parse().ok().map(NameServer::At),
    };
    Some(lath_feed::DhcpOptions {
        domain_name: values(DOMAIN).first().cloned(),
        domain_name_servers: values(SERVERS).iter().filter_map(server).collect(),
    })
}

/// As VPCs show their options.
pub(super) fn shown(id: Option<&DhcpOptionsId>) -> String {
    id.map_or_else(|| NONE.to_owned(), ToString::to_string)
}

fn item(view: &View, options: &DhcpOptions) -> DhcpOptionsItem {
    let id = options.id.to_string();
    let configurations = options.values.iter().map(|(key, values)| {
        let values = values.iter().cloned();
        DhcpConfiguration {
            key: key.clone(),
            values: values.map(|value| DhcpValue { value }).collect(),
        }
    });
    DhcpOptionsItem {
        owner_id: options.owner.clone(),
        configurations: configurations.collect(),
        tags: tags::of(view, &id),
        dhcp_options_id: id,
    }
}

pub(super) fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateDhcpOptions,
) -> Result<CreateDhcpOptionsResult, ApiError> {
    let values = values::read(&op.configurations)?;
    let tags = tags::specified(&op.tag_specifications, "dhcp-options")?;
    MAX_OPTIONS.check(&app.cell, tx.view().count::<DhcpOptions>() + 1, over)?;
    let options = DhcpOptions {
        id: DhcpOptionsId::random(),
        owner: app.cell.account.clone(),
        values,
    };
    tags::put(tx, options.id.as_str(), tags);
    let options = tx.put(options);
    Ok(CreateDhcpOptionsResult {
        dhcp_options: item(tx.view(), &options),
    })
}

pub(super) fn associate(
    app: &Ec2,
    tx: &mut Tx,
    op: AssociateDhcpOptions,
) -> Result<Nothing, ApiError> {
    let options = match op.dhcp_options_id.as_str() {
        NONE => None,
        id => Some(named(&app.cell, tx.view(), id)?),
    };
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    tx.update::<Vpc>(vpc.id.as_str(), |vpc| vpc.dhcp_options = options);
    Ok(Nothing {})
}

fn named(cell: &Cell, view: &View, text: &str) -> Result<DhcpOptionsId, ApiError> {
    let id: DhcpOptionsId = DHCP_OPTIONS.id.parse(text)?;
    if (DHCP_OPTIONS.exists)(cell, view, id.as_str()) {
        Ok(id)
    } else {
        Err(DHCP_OPTIONS.id.not_found(text))
    }
}

/// The region's options are never deleted: each new VPC gets them.
pub(super) fn delete(app: &Ec2, tx: &mut Tx, op: DeleteDhcpOptions) -> Result<Nothing, ApiError> {
    let id = named(&app.cell, tx.view(), &op.dhcp_options_id)?;
    let is_used = tx.view().has::<Vpc>("dhcp-options", id.as_str());
    if is_used || id == options_id(&app.cell) {
        return Err(has_dependencies("dhcpOptions", &id));
    }
    tags::forget(tx, id.as_str());
    tx.delete::<DhcpOptions>(id.as_str());
    Ok(Nothing {})
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
    let of_region = of_region(&app.cell);
    let own = view.list::<DhcpOptions>();
    let mut items: Vec<_> = own.map(|options| item(view, &options)).collect();
    items.push(item(view, &of_region));
    items.sort_by(|a, b| a.dhcp_options_id.cmp(&b.dhcp_options_id));
    let page = select(items, &query)?;
    Ok(DescribeDhcpOptionsResult {
        next_token: page.next_token,
        dhcp_options: page.items,
    })
}
