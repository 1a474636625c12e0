//! CIDR collections: named sets of address blocks, by which records are chosen.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{Collection, StoredSet};
use crate::resource_types::*;
use crate::shape::{self, *};
use crate::{change, fault, limit, page};

operations! {
    for Route53 as "route53";
    change CreateCidrCollection: post "/2013-04-01/cidrcollection" 201 -> CreateCidrCollectionResponse = create, located
        => any();
    change DeleteCidrCollection: delete "/2013-04-01/cidrcollection/{CidrCollectionId}" 200 -> DeleteCidrCollectionResponse = delete
        => on(&COLLECTION, |op, _| op.id.clone());
    change ChangeCidrCollection: post "/2013-04-01/cidrcollection/{CidrCollectionId}" 200 -> ChangeCidrCollectionResponse = change
        => on(&COLLECTION, |op, _| op.id.clone());
    read ListCidrBlocks: get "/2013-04-01/cidrcollection/{CidrCollectionId}/cidrblocks" 200 -> ListCidrBlocksResponse = list_blocks
        => on(&COLLECTION, |op, _| op.id.clone());
    read ListCidrCollections: get "/2013-04-01/cidrcollection" 200 -> ListCidrCollectionsResponse = list
        => any();
    read ListCidrLocations: get "/2013-04-01/cidrcollection/{CidrCollectionId}" 200 -> ListCidrLocationsResponse = list_locations
        => on(&COLLECTION, |op, _| op.id.clone());
}

/// Items on a page.
const PAGE: usize = 100;

fn find(view: &View, id: &str) -> Result<Arc<Collection>, ApiError> {
    view.get(id).ok_or_else(|| {
        let id: String = id.chars().take(64).collect();
        ApiError::new(
            "NoSuchCidrCollectionException",
            404,
            format!("The CIDR collection {id} does not exist."),
        )
    })
}

fn arn(cell: &Cell, id: &str) -> String {
    cell.global_arn("route53", format!("cidrcollection/{id}"))
}

pub(crate) fn create(
    app: &Route53,
    tx: &mut Tx,
    op: CreateCidrCollection,
) -> Result<CreateCidrCollectionResponse, ApiError> {
    let cell = &app.cell;
    let twin = tx
        .list::<Collection>()
        .find(|known| known.caller_reference == op.caller_reference || known.name == op.name);
    if twin.is_some() {
        return Err(fault::fault(
            "CidrCollectionAlreadyExistsException",
            "A CIDR collection with this name or caller reference already exists.",
        ));
    }
    limit::CIDR_COLLECTIONS.check(cell, tx.list::<Collection>().count() + 1)?;
    let collection = tx.put(Collection {
        id: lath_model::id::HealthCheckId::random().to_string(),
        name: op.name,
        caller_reference: op.caller_reference,
        version: 1,
        locations: Default::default(),
    });
    Ok(CreateCidrCollectionResponse {
        collection: Some(CidrCollection {
            arn: Some(arn(cell, &collection.id)),
            id: Some(collection.id.clone()),
            name: Some(collection.name.clone()),
            version: Some(version(&collection)),
        }),
    })
}

fn version(collection: &Collection) -> i64 {
    i64::try_from(collection.version).unwrap_or(i64::MAX)
}

fn block(text: &str) -> Result<IpNet, ApiError> {
    let shown: String = text.chars().take(50).collect();
    let bad = || fault::invalid(format!("The CIDR block {shown} is not valid."));
    let net: IpNet = text.parse().map_err(|_| bad())?;
    let longest = match net {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 48,
    };
    if net != net.trunc() || !(1..=longest).contains(&net.prefix_len()) {
        return Err(bad());
    }
    Ok(net)
}

fn blocks(list: &[Cidr]) -> Result<BTreeSet<IpNet>, ApiError> {
    if list.is_empty() {
        return Err(fault::invalid(
            "At least one CIDR block has to be specified.",
        ));
    }
    list.iter().map(|text| block(&text.0)).collect()
}

fn apply(collection: &mut Collection, change: &CidrCollectionChange) -> Result<(), ApiError> {
    let blocks = blocks(&change.blocks)?;
    if change.action == CidrAction::DeleteIfExists {
        if let Some(known) = collection.locations.get_mut(&change.location) {
            known.retain(|known| !blocks.contains(known));
        }
        collection.locations.retain(|_, known| !known.is_empty());
        return Ok(());
    }
    for (location, known) in &collection.locations {
        let shared = known.intersection(&blocks).next();
        if let Some(block) = shared.filter(|_| *location != change.location) {
            let text = format!("The CIDR block {block} is in the location {location} already.");
            return Err(fault::fault("CidrBlockInUseException", text));
        }
    }
    let known = collection.locations.entry(change.location.clone());
    known.or_default().extend(blocks);
    Ok(())
}

/// The locations of a collection that records refer to.
fn used(view: &View, id: &str) -> BTreeSet<String> {
    view.list::<StoredSet>()
        .filter_map(|stored| stored.set.cidr.clone())
        .filter(|cidr| cidr.collection_id == id)
        .map(|cidr| cidr.location)
        .collect()
}

pub(crate) fn change(
    app: &Route53,
    tx: &mut Tx,
    op: ChangeCidrCollection,
) -> Result<ChangeCidrCollectionResponse, ApiError> {
    let cell = &app.cell;
    let mut collection = Collection::clone(&*find(tx.view(), &op.id)?);
    if !(1..=1000).contains(&op.changes.len()) {
        return Err(fault::invalid(
            "Between 1 and 1000 changes have to be specified.",
        ));
    }
    if op
        .version
        .is_some_and(|given| given != version(&collection))
    {
        return Err(ApiError::new(
            "CidrCollectionVersionMismatchException",
            409,
            "The CIDR collection version you provided, does not match the one in the CIDR collection.",
        ));
    }
    for change in &op.changes {
        apply(&mut collection, change)?;
    }
    for location in used(tx.view(), &collection.id) {
        if location != "*" && !collection.locations.contains_key(&location) {
            let text = format!("The location {location} is used by a resource record set.");
            return Err(fault::fault("CidrBlockInUseException", text));
        }
    }
    let count = collection.locations.values().map(BTreeSet::len).sum();
    limit::CIDR_BLOCKS.check(cell, count)?;
    collection.version += 1;
    tx.put(collection);
    let change = change::submit(tx, None);
    let id = change.id.trim_start_matches("/change/").to_owned();
    Ok(ChangeCidrCollectionResponse { id })
}

pub(crate) fn delete(
    _: &Route53,
    tx: &mut Tx,
    op: DeleteCidrCollection,
) -> Result<DeleteCidrCollectionResponse, ApiError> {
    let collection = find(tx.view(), &op.id)?;
    if !collection.locations.is_empty() || !used(tx.view(), &collection.id).is_empty() {
        return Err(fault::fault(
            "CidrCollectionInUseException",
            "This CIDR collection is in use, and isn't empty.",
        ));
    }
    tx.delete::<Collection>(&collection.id);
    Ok(DeleteCidrCollectionResponse {})
}

pub(crate) fn list(
    app: &Route53,
    view: &View,
    op: &ListCidrCollections,
) -> Result<ListCidrCollectionsResponse, ApiError> {
    let cell = &app.cell;
    let size = page::size(op.max_results.as_deref(), PAGE)?;
    let all = view.list::<Collection>();
    let page = page::from_token(
        all,
        |known| known.id.clone(),
        op.next_token.as_deref(),
        size,
    )?;
    let summary = |known: &Arc<Collection>| shape::CollectionSummary {
        arn: Some(arn(cell, &known.id)),
        id: Some(known.id.clone()),
        name: Some(known.name.clone()),
        version: Some(version(known)),
    };
    Ok(ListCidrCollectionsResponse {
        collections: page.items.iter().map(summary).collect(),
        next_token: page.next_token,
    })
}

pub(crate) fn list_locations(
    _: &Route53,
    view: &View,
    op: &ListCidrLocations,
) -> Result<ListCidrLocationsResponse, ApiError> {
    let collection = find(view, &op.id)?;
    let size = page::size(op.max_results.as_deref(), PAGE)?;
    let all = collection.locations.keys().cloned();
    let page = page::from_token(all, String::clone, op.next_token.as_deref(), size)?;
    let summary = |location| LocationSummary {
        location: Some(location),
    };
    Ok(ListCidrLocationsResponse {
        locations: page.items.into_iter().map(summary).collect(),
        next_token: page.next_token,
    })
}

pub(crate) fn list_blocks(
    _: &Route53,
    view: &View,
    op: &ListCidrBlocks,
) -> Result<ListCidrBlocksResponse, ApiError> {
    let collection = find(view, &op.id)?;
    if let Some(location) = &op.location
        && !collection.locations.contains_key(location)
    {
        return Err(ApiError::new(
            "NoSuchCidrLocationException",
            404,
            "The CIDR collection location doesn't match any locations in your collection.",
        ));
    }
    let wanted = |location: &&String| op.location.as_ref().is_none_or(|w| w == *location);
    let mut all: Vec<(String, String)> = collection
        .locations
        .iter()
        .filter(|(location, _)| wanted(location))
        .flat_map(|(location, blocks)| {
            blocks
                .iter()
                .map(move |block| (location.clone(), block.to_string()))
        })
        .collect();
    let size = page::size(op.max_results.as_deref(), PAGE)?;
    let key = |(location, block): &(String, String)| format!("{location}/{block}");
    all.sort_by_key(key);
    let page = page::from_token(all, key, op.next_token.as_deref(), size)?;
    let summary = |(location, block)| CidrBlockSummary {
        block: Some(block),
        location: Some(location),
    };
    Ok(ListCidrBlocksResponse {
        blocks: page.items.into_iter().map(summary).collect(),
        next_token: page.next_token,
    })
}
