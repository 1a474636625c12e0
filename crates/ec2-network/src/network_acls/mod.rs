//! Network ACLs: rules without memory at the edges of subnets
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>).
//!
//! Each subnet has one: that of its own association, or the default one, which came with its VPC.

mod entries;
mod messages;

use std::sync::Arc;

use lath_control::{Cell, claims_on};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{has_dependencies, invalid_value, over};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{NETWORK_ACL, SUBNET, VPC};
use lath_ec2_records::{NetworkAcl, Subnet, Vpc};
use lath_model::id::{NetworkAclId, random_suffix};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::messages::*;

/// How many network ACLs a VPC may have.
const MAX_ACLS: Quota<&str> = Quota::new("network acls", "NetworkAclLimitExceeded", 200);

operations! {
    for Ec2 as "ec2";
    change CreateNetworkAcl -> CreateNetworkAclResult = create, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone())
            .creates(&NETWORK_ACL, |op| &op.tag_specifications);
    change DeleteNetworkAcl -> Nothing = delete, dry_run
        => on(&NETWORK_ACL, |op, _| op.network_acl_id.clone());
    read DescribeNetworkAcls -> DescribeNetworkAclsResult = describe, dry_run => any();
    change CreateNetworkAclEntry -> Nothing = entries::create, dry_run
        => on(&NETWORK_ACL, |op, _| op.network_acl_id.clone());
    change ReplaceNetworkAclEntry -> Nothing = entries::replace, dry_run
        => on(&NETWORK_ACL, |op, _| op.network_acl_id.clone());
    change DeleteNetworkAclEntry -> Nothing = entries::delete, dry_run
        => on(&NETWORK_ACL, |op, _| op.network_acl_id.clone());
    change ReplaceNetworkAclAssociation -> ReplaceNetworkAclAssociationResult = replace, dry_run
        => on(&NETWORK_ACL, |op, _| op.network_acl_id.clone())
            .on(&NETWORK_ACL, |op, at| acl_with(at.view, &op.association_id))
            .on(&SUBNET, |op, at| {
                Some(associated(at.view, &op.association_id)?.id.to_string())
            });
}

/// The id of a new association with a subnet.
pub(crate) fn association() -> String {
    format!("aclassoc-{}", random_suffix())
}

/// The ACL of a subnet of the VPC.
pub(crate) fn of_subnet<'a>(vpc: &'a Vpc, subnet: &'a Subnet) -> &'a NetworkAclId {
    subnet.network_acl.as_ref().unwrap_or(&vpc.network_acl)
}

/// Gives its default ACL to every VPC of a state that was written before ACLs had records. Returns how many it made.
///
/// # Errors
/// That the store failed.
pub async fn complete(cell: &Cell) -> Result<usize, ApiError> {
    cell.db.write(|tx: &mut Tx| Ok(complete_in(tx))).await
}

/// The same, within a transaction.
pub(crate) fn complete_in(tx: &mut Tx) -> usize {
    let view = tx.view();
    let without = |vpc: &Arc<Vpc>| view.get::<NetworkAcl>(vpc.network_acl.as_str()).is_none();
    let vpcs: Vec<_> = view.list::<Vpc>().filter(without).collect();
    for vpc in &vpcs {
        tx.put(NetworkAcl::default_of(vpc));
    }
    vpcs.len()
}

/// The subnet that has an association.
fn associated(view: &View, association: &str) -> Option<Arc<Subnet>> {
    view.by::<Subnet>("acl-association", association).next()
}

/// The ACL that an association is of.
fn acl_with(view: &View, association: &str) -> Option<String> {
    let subnet = associated(view, association)?;
    let vpc = view.get::<Vpc>(subnet.vpc.as_str())?;
    Some(of_subnet(&vpc, &subnet).to_string())
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateNetworkAcl,
) -> Result<CreateNetworkAclResult, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    let tags = tags::specified(&op.tag_specifications, NETWORK_ACL.name)?;
    let acl = NetworkAcl::new(&vpc);
    let fingerprint = idempotency::fingerprint(&(&op.vpc_id, &tags));
    let token = op.client_token.as_deref();
    let id = acl.id.as_str();
    let id = match idempotency::claim(tx, "CreateNetworkAcl", token, fingerprint, id)? {
        Some(id) => id,
        None => {
            let acls = tx.view().by::<NetworkAcl>("vpc", vpc.id.as_str()).count();
            MAX_ACLS.check(&app.cell, acls + 1, over)?;
            tags::put(tx, id, tags);
            tx.put(acl).id.to_string()
        }
    };
    let acl = ids::find::<NetworkAcl>(tx.view(), &id)?;
    Ok(CreateNetworkAclResult {
        network_acl: item(tx.view(), &acl),
        client_token: op.client_token,
    })
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteNetworkAcl) -> Result<Nothing, ApiError> {
    let acl = ids::find::<NetworkAcl>(tx.view(), &op.network_acl_id)?;
    let id = acl.id.as_str();
    if is_default(tx.view(), &acl) {
        return Err(invalid_value(format!(
            "cannot delete default network ACL {id}"
        )));
    }
    if tx.view().has::<Subnet>("acl", id) || !claims_on(tx.view(), id).is_empty() {
        return Err(has_dependencies("networkAcl", id));
    }
    tags::forget(tx, id);
    tx.delete::<NetworkAcl>(id);
    Ok(Nothing {})
}

/// Associates the subnet of an association with another ACL of its VPC.
fn replace(
    _app: &Ec2,
    tx: &mut Tx,
    op: ReplaceNetworkAclAssociation,
) -> Result<ReplaceNetworkAclAssociationResult, ApiError> {
    use lath_ec2_records::ids::Ids as _;
    ids::ACL_ASSOCIATION.check(&op.association_id)?;
    let subnet = associated(tx.view(), &op.association_id)
        .ok_or_else(|| ids::ACL_ASSOCIATION.not_found(&op.association_id))?;
    let acl = ids::find::<NetworkAcl>(tx.view(), &op.network_acl_id)?;
    if acl.vpc != subnet.vpc {
        return Err(invalid_value(format!(
            "Network ACL {} and subnet {} belong to different networks",
            acl.id, subnet.id
        )));
    }
    if acl_with(tx.view(), &op.association_id).as_deref() == Some(acl.id.as_str()) {
        return Ok(ReplaceNetworkAclAssociationResult {
            new_association_id: op.association_id,
        });
    }
    let own = (!is_default(tx.view(), &acl)).then(|| acl.id.clone());
    let id = association();
    tx.update::<Subnet>(subnet.id.as_str(), |subnet| {
        subnet.acl_association = id.clone();
        subnet.network_acl = own;
    });
    Ok(ReplaceNetworkAclAssociationResult {
        new_association_id: id,
    })
}

fn is_default(view: &View, acl: &NetworkAcl) -> bool {
    let vpc = view.get::<Vpc>(acl.vpc.as_str());
    vpc.is_some_and(|vpc| vpc.network_acl == acl.id)
}

fn item(view: &View, acl: &NetworkAcl) -> AclItem {
    let id = acl.id.to_string();
    let is_default = is_default(view, acl);
    let is_own = |subnet: &Subnet| match &subnet.network_acl {
        Some(its) => *its == acl.id,
        None => is_default,
    };
    let subnets = view.by::<Subnet>("vpc", acl.vpc.as_str());
    let associations = subnets.filter(|subnet| is_own(subnet));
    let associations = associations.map(|subnet| AssociationItem {
        network_acl_association_id: subnet.acl_association.clone(),
        network_acl_id: id.clone(),
        subnet_id: subnet.id.to_string(),
    });
    AclItem {
        vpc_id: acl.vpc.to_string(),
        owner_id: acl.owner.clone(),
        is_default,
        associations: associations.collect(),
        entries: entries::shown(acl),
        tags: tags::of(view, &id),
        network_acl_id: id,
    }
}

fn associations(it: &AclItem, text: fn(&AssociationItem) -> &String) -> Vec<String> {
    it.associations.iter().map(text).cloned().collect()
}

fn entry_texts(it: &AclItem, text: fn(&EntryItem) -> Option<String>) -> Vec<String> {
    it.entries.iter().filter_map(text).collect()
}

impl Listed for AclItem {
    const ID: IdForm = NETWORK_ACL.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("network-acl-id", |it| vec![it.network_acl_id.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("default", |it| vec![it.is_default.to_string()]),
        ("association.association-id", |it| {
            associations(it, |it| &it.network_acl_association_id)
        }),
        ("association.network-acl-id", |it| {
            associations(it, |it| &it.network_acl_id)
        }),
        ("association.subnet-id", |it| {
            associations(it, |it| &it.subnet_id)
        }),
        ("entry.cidr", |it| {
            entry_texts(it, |it| it.cidr_block.clone())
        }),
        ("entry.ipv6-cidr", |it| {
            entry_texts(it, |it| it.ipv6_cidr_block.clone())
        }),
        ("entry.egress", |it| {
            entry_texts(it, |it| Some(it.egress.to_string()))
        }),
        ("entry.protocol", |it| {
            let numbers = entry_texts(it, |it| Some(it.protocol.clone()));
            let names = entry_texts(it, |it| {
                entries::protocol_name(&it.protocol).map(str::to_owned)
            });
            [numbers, names].concat()
        }),
        ("entry.rule-action", |it| {
            entry_texts(it, |it| Some(it.rule_action.clone()))
        }),
        ("entry.rule-number", |it| {
            entry_texts(it, |it| Some(it.rule_number.to_string()))
        }),
        ("entry.icmp.code", |it| {
            entry_texts(it, |it| Some(it.icmp_type_code?.code.to_string()))
        }),
        ("entry.icmp.type", |it| {
            entry_texts(it, |it| Some(it.icmp_type_code?.kind.to_string()))
        }),
        ("entry.port-range.from", |it| {
            entry_texts(it, |it| Some(it.port_range?.from.to_string()))
        }),
        ("entry.port-range.to", |it| {
            entry_texts(it, |it| Some(it.port_range?.to.to_string()))
        }),
    ];
    fn id(&self) -> &str {
        &self.network_acl_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeNetworkAcls,
) -> Result<DescribeNetworkAclsResult, ApiError> {
    let show = |acl: &NetworkAcl| Some(item(view, acl));
    let query = Query {
        ids: &op.network_acl_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeNetworkAclsResult {
        network_acls: page.items,
        next_token: page.next_token,
    })
}
