//! Managed prefix lists: the account's own, and AWS's
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html>).

mod changes;
mod messages;

use std::ops::RangeInclusive;
use std::sync::Arc;

use lath_control::{Cell, paginate};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::made::{ATTRIBUTES, Making as _};
use lath_ec2_kit::select::{Listed, Query, bad_token, page_size, select};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::client;
use lath_ec2_records::ids::Ids as _;
use lath_ec2_records::prefix_lists::{all, arn, aws, find};
use lath_ec2_records::resources::PREFIX_LIST;
use lath_ec2_records::{ListEntry, ManagedPrefixList};
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;

use self::messages::*;

operations! {
    for Ec2 as "ec2";
    read DescribeManagedPrefixLists -> DescribeManagedPrefixListsResult = describe, dry_run => any();
    read GetManagedPrefixListEntries -> GetManagedPrefixListEntriesResult = entries, dry_run
        => on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone());
    read DescribePrefixLists -> DescribePrefixListsResult = describe_aws, dry_run => any();
    change CreateManagedPrefixList -> ManagedPrefixListResult = changes::create, dry_run
        => creates(&PREFIX_LIST, |op| &op.tag_specifications);
    change ModifyManagedPrefixList -> ManagedPrefixListResult = changes::modify, dry_run
        => on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
        => refusing ["" ModifyManagedPrefixList];
    change DeleteManagedPrefixList -> ManagedPrefixListResult = changes::delete, dry_run
        => on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone());
}

/// The list that a caller names.
fn named(cell: &Cell, view: &View, id: &str) -> Result<Arc<ManagedPrefixList>, ApiError> {
    PREFIX_LIST.id.check(id)?;
    find(cell, view, id).ok_or_else(|| PREFIX_LIST.id.not_found(id))
}

/// The state of a list whose deletion was asked for while something referred to it.
const DELETE_FAILED: &str = "delete-failed";

fn item(cell: &Cell, view: &View, list: &ManagedPrefixList) -> ListItem {
    let aws = list.is_aws();
    ListItem {
        prefix_list_id: list.id.to_string(),
        address_family: if list.ipv6 { "IPv6" } else { "IPv4" }.into(),
        state_message: (list.state == DELETE_FAILED)
            .then(|| "The prefix list is referenced by other resources.".into()),
        state: list.state.clone(),
        prefix_list_arn: arn(&cell.region, &cell.account, list.id.as_str()),
        prefix_list_name: list.name.clone(),
        max_entries: list.max_entries.and_then(|max| i32::try_from(max).ok()),
        version: (!aws).then_some(list.version),
        tags: tags::of(view, list.id.as_str()),
        owner_id: list.owner.clone(),
    }
}

impl Listed for ListItem {
    const ID: IdForm = PREFIX_LIST.id;
    const PAGE: RangeInclusive<i32> = 1..=100;
    const FIELDS: &'static [Field<Self>] = &[
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("prefix-list-id", |it| vec![it.prefix_list_id.clone()]),
        ("prefix-list-name", |it| vec![it.prefix_list_name.clone()]),
    ];
    fn id(&self) -> &str {
        &self.prefix_list_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeManagedPrefixLists,
) -> Result<DescribeManagedPrefixListsResult, ApiError> {
    let items = all(&app.cell, view).map(|list| item(&app.cell, view, &list));
    let query = Query {
        ids: &op.prefix_list_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(DescribeManagedPrefixListsResult {
        next_token: page.next_token,
        prefix_lists: page.items,
    })
}

fn entries(
    app: &Ec2,
    view: &View,
    op: &GetManagedPrefixListEntries,
) -> Result<GetManagedPrefixListEntriesResult, ApiError> {
    let list = named(&app.cell, view, &op.prefix_list_id)?;
    let size = page_size(op.max_results, 1..=100)?;
    let version = op.target_version.unwrap_or(list.version);
    let entries = list.entries_of(version).ok_or_else(|| {
        client(
            "InvalidPrefixListVersion",
            format!("The prefix list '{}' has no version {version}.", list.id),
        )
    })?;
    let mut sorted: Vec<_> = entries.iter().map(entry_item).collect();
    sorted.sort_by(|a, b| a.cidr.cmp(&b.cidr));
    let key = |entry: &EntryItem| entry.cidr.clone();
    let page = paginate(sorted, key, size, op.next_token.as_deref()).map_err(bad_token)?;
    Ok(GetManagedPrefixListEntriesResult {
        entries: page.items,
        next_token: page.next_token,
    })
}

fn entry_item(entry: &ListEntry) -> EntryItem {
    EntryItem {
        cidr: entry.cidr.to_string(),
        description: entry.description.clone(),
    }
}

impl Listed for AwsListItem {
    const ID: IdForm = PREFIX_LIST.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("prefix-list-id", |it| vec![it.prefix_list_id.clone()]),
        ("prefix-list-name", |it| vec![it.prefix_list_name.clone()]),
    ];
    fn id(&self) -> &str {
        &self.prefix_list_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

/// The older operation: AWS's lists only, with their blocks.
fn describe_aws(
    app: &Ec2,
    _view: &View,
    op: &DescribePrefixLists,
) -> Result<DescribePrefixListsResult, ApiError> {
    let items = aws(&app.cell.region).map(|list| AwsListItem {
        cidrs: list
            .entries()
            .iter()
            .map(|it| it.cidr.to_string())
            .collect(),
        prefix_list_id: list.id.to_string(),
        prefix_list_name: list.name,
    });
    let query = Query {
        ids: &op.prefix_list_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(DescribePrefixListsResult {
        next_token: page.next_token,
        prefix_lists: page.items,
    })
}
