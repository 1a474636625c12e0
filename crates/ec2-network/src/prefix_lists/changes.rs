//! Making, changing and deleting the account's own lists.

use std::sync::Arc;

use ipnet::IpNet;
use lath_control::claims_on;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::refused;
use lath_ec2_kit::tags;
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, unauthorized,
};
use lath_ec2_records::{Destination, ListEntry, ManagedPrefixList, RouteTable, SecurityGroup};
use lath_model::id::PrefixListId;
use lath_service::Refuses;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::*;
use super::{item, named};

/// How many entries a list may hold.
const MAX_ENTRIES: usize = 1000;
/// How many entries one call may add or remove.
const MAX_CHANGES: usize = 100;

pub(super) fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateManagedPrefixList,
) -> Result<ManagedPrefixListResult, ApiError> {
    let ipv6 = family(&op.address_family)?;
    check_name(&op.prefix_list_name)?;
    let max = max_entries(op.max_entries)?;
    let tags = tags::specified(&op.tag_specifications, "prefix-list")?;
    let entries = added(Vec::new(), &op.entries, ipv6, max)?;
    let id = PrefixListId::random();
    let fingerprint = idempotency::fingerprint(&(
        &op.prefix_list_name,
        &op.entries,
        op.max_entries,
        &op.address_family,
        &tags,
    ));
    let token = op.client_token.as_deref();
    let used = idempotency::claim(
        tx,
        "CreateManagedPrefixList",
        token,
        fingerprint,
        id.as_str(),
    )?;
    let id = if let Some(id) = used {
        id
    } else {
        tags::put(tx, id.as_str(), tags);
        tx.put(ManagedPrefixList {
            id: id.clone(),
            name: op.prefix_list_name,
            owner: app.cell.account.clone(),
            ipv6,
            max_entries: Some(max),
            version: 1,
            history: vec![(1, entries)],
            state: "create-complete".into(),
        });
        id.to_string()
    };
    let list = named(&app.cell, tx.view(), &id)?;
    Ok(answer(app, tx.view(), &list))
}

fn answer(app: &Ec2, view: &View, list: &ManagedPrefixList) -> ManagedPrefixListResult {
    ManagedPrefixListResult {
        prefix_list: item(&app.cell, view, list),
    }
}

fn family(text: &str) -> Result<bool, ApiError> {
    match text {
        "IPv4" => Ok(false),
        "IPv6" => Ok(true),
        other => Err(invalid_parameter(
            "AddressFamily",
            other,
            "It must be IPv4 or IPv6.",
        )),
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.chars().count() > 255 || name.starts_with("com.amazonaws") {
        return Err(invalid_parameter(
            "PrefixListName",
            name.chars().take(300).collect::<String>(),
            "It must have 1 to 255 characters and must not begin with com.amazonaws.",
        ));
    }
    Ok(())
}

fn max_entries(wanted: i32) -> Result<usize, ApiError> {
    usize::try_from(wanted)
        .ok()
        .filter(|max| (1..=MAX_ENTRIES).contains(max))
        .ok_or_else(|| invalid_parameter("MaxEntries", wanted, "It must be between 1 and 1000."))
}

/// The entries with new ones; one that is there already gets the new description.
fn added(
    mut entries: Vec<ListEntry>,
    new: &[EntryInput],
    ipv6: bool,
    max: usize,
) -> Result<Vec<ListEntry>, ApiError> {
    check_changes(new.len())?;
    for input in new {
        let entry = ListEntry {
            cidr: block(&input.cidr, ipv6)?,
            description: input.description.clone().filter(|text| !text.is_empty()),
        };
        if entry
            .description
            .as_ref()
            .is_some_and(|it| it.chars().count() > 255)
        {
            return Err(invalid_value("A description has at most 255 characters."));
        }
        entries.retain(|other| other.cidr != entry.cidr);
        entries.push(entry);
    }
    if entries.len() > max {
        return Err(client(
            "PrefixListMaxEntriesExceeded",
            format!("The prefix list can have at most {max} entries."),
        ));
    }
    Ok(entries)
}

fn check_changes(count: usize) -> Result<(), ApiError> {
    if count > MAX_CHANGES {
        return Err(invalid_value(format!(
            "At most {MAX_CHANGES} entries can be changed in one request."
        )));
    }
    Ok(())
}

fn block(text: &str, ipv6: bool) -> Result<IpNet, ApiError> {
    text.parse::<IpNet>()
        .ok()
        .filter(|cidr| matches!(cidr, IpNet::V6(_)) == ipv6)
        .map(|cidr| cidr.trunc())
        .ok_or_else(|| {
            invalid_parameter(
                "Cidr",
                text,
                "It is not a CIDR block of the list's address family.",
            )
        })
}

/// The account's own list of this id; AWS's cannot be changed.
fn own(app: &Ec2, view: &View, id: &str) -> Result<Arc<ManagedPrefixList>, ApiError> {
    let list = named(&app.cell, view, id)?;
    if list.is_aws() {
        return Err(unauthorized());
    }
    Ok(list)
}

/// Removals come before additions.
pub(super) fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifyManagedPrefixList,
) -> Result<ManagedPrefixListResult, ApiError> {
    op.refuse()?;
    let old = own(app, tx.view(), &op.prefix_list_id)?;
    let mut list = ManagedPrefixList::clone(&old);
    let changes_entries = !op.add_entries.is_empty() || !op.remove_entries.is_empty();
    if changes_entries && op.max_entries.is_some() {
        return Err(combination(
            "MaxEntries cannot be changed together with entries.",
        ));
    }
    if let Some(name) = op.prefix_list_name {
        check_name(&name)?;
        list.name = name;
    }
    if let Some(max) = op.max_entries {
        list.max_entries = Some(resized(&list, max)?);
    }
    check_version(&list, op.current_version, changes_entries)?;
    if changes_entries {
        let kept = removed(&list, &op.remove_entries)?;
        let max = list.max_entries.unwrap_or(MAX_ENTRIES);
        let entries = added(kept, &op.add_entries, list.ipv6, max)?;
        list.advance(entries);
    }
    list.state = "modify-complete".into();
    let list = tx.put(list);
    Ok(answer(app, tx.view(), &list))
}

fn resized(list: &ManagedPrefixList, wanted: i32) -> Result<usize, ApiError> {
    let max = max_entries(wanted)?;
    if max < list.entries().len() {
        return Err(client(
            "PrefixListMaxEntriesExceeded",
            format!("The prefix list has {} entries.", list.entries().len()),
        ));
    }
    Ok(max)
}

fn check_version(
    list: &ManagedPrefixList,
    given: Option<i64>,
    needed: bool,
) -> Result<(), ApiError> {
    match given {
        None if needed => Err(missing("CurrentVersion")),
        Some(given) if given != list.version => Err(client(
            "PrefixListVersionMismatch",
            format!(
                "The prefix list has the incorrect version number. The current version is {}.",
                list.version
            ),
        )),
        _ => Ok(()),
    }
}

fn removed(
    list: &ManagedPrefixList,
    removals: &[EntryRemoval],
) -> Result<Vec<ListEntry>, ApiError> {
    check_changes(removals.len())?;
    let mut entries = list.entries().to_vec();
    for removal in removals {
        let cidr = block(&removal.cidr, list.ipv6)?;
        let before = entries.len();
        entries.retain(|entry| entry.cidr != cidr);
        if entries.len() == before {
            return Err(invalid_parameter(
                "RemoveEntry",
                cidr,
                "The prefix list has no such entry.",
            ));
        }
    }
    Ok(entries)
}

pub(super) fn delete(
    app: &Ec2,
    tx: &mut Tx,
    op: DeleteManagedPrefixList,
) -> Result<ManagedPrefixListResult, ApiError> {
    let list = own(app, tx.view(), &op.prefix_list_id)?;
    if is_used(tx.view(), &list.id) {
        return Ok(deletion_fails(app, tx, &list));
    }
    let mut gone = ManagedPrefixList::clone(&list);
    gone.state = "delete-complete".into();
    let answer = answer(app, tx.view(), &gone);
    tags::forget(tx, list.id.as_str());
    tx.delete::<ManagedPrefixList>(list.id.as_str());
    Ok(answer)
}

/// As on AWS, the call succeeds and the deletion fails: the list stays, works, and says so in its state.
fn deletion_fails(app: &Ec2, tx: &mut Tx, list: &ManagedPrefixList) -> ManagedPrefixListResult {
    let mut shown = list.clone();
    shown.state = "delete-in-progress".into();
    let answer = answer(app, tx.view(), &shown);
    tx.update::<ManagedPrefixList>(list.id.as_str(), |it| {
        it.state = super::DELETE_FAILED.into();
    });
    answer
}

fn is_used(view: &View, id: &PrefixListId) -> bool {
    let destination = Destination::PrefixList(id.clone());
    view.has::<SecurityGroup>("names", id.as_str())
        || view
            .list::<RouteTable>()
            .any(|table| table.routes.iter().any(|it| it.destination == destination))
        || !claims_on(view, id.as_str()).is_empty()
}

refused! {
    ModifyManagedPrefixList { ipam_prefix_list_resolver_sync_enabled }
}
