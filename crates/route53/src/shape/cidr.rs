//! CIDR collections.

use serde::{Deserialize, Serialize};

use super::{Located, operations, structures, values};
use crate::resource_types::COLLECTION;

values! {
    /// What a change does to a location's blocks.
    CidrAction {
        Put = "PUT",
        DeleteIfExists = "DELETE_IF_EXISTS",
    }
}

/// A block, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cidr(pub(crate) String);

structures! {
    CidrCollection {
        "Arn" arn: Option<String>,
        "Id" id: Option<String>,
        "Name" name: Option<String>,
        "Version" version: Option<i64>,
    }
    #[serde(rename = "member")]
    CollectionSummary {
        "Arn" arn: Option<String>,
        "Id" id: Option<String>,
        "Name" name: Option<String>,
        "Version" version: Option<i64>,
    }
    #[serde(rename = "member")]
    LocationSummary {
        "LocationName" location: Option<String>,
    }
    #[serde(rename = "member")]
    CidrBlockSummary {
        "CidrBlock" block: Option<String>,
        "LocationName" location: Option<String>,
    }
    CidrCollectionChange {
        "LocationName" location: String,
        "Action" action: CidrAction,
        "CidrList" blocks: Vec<Cidr>,
    }
    CreateCidrCollectionResponse {
        "Collection" collection: Option<CidrCollection>,
    }
    DeleteCidrCollectionResponse {}
    ChangeCidrCollectionResponse {
        "Id" id: String,
    }
    ListCidrBlocksResponse {
        "NextToken" next_token: Option<String>,
        "CidrBlocks" blocks: Vec<CidrBlockSummary>,
    }
    ListCidrCollectionsResponse {
        "NextToken" next_token: Option<String>,
        "CidrCollections" collections: Vec<CollectionSummary>,
    }
    ListCidrLocationsResponse {
        "NextToken" next_token: Option<String>,
        "CidrLocations" locations: Vec<LocationSummary>,
    }
}

impl Located for CreateCidrCollectionResponse {
    fn location(&self) -> Option<String> {
        let id = self.collection.as_ref()?.id.as_ref()?;
        Some(format!("cidrcollection/{id}"))
    }
}
impl Located for DeleteCidrCollectionResponse {}
impl Located for ChangeCidrCollectionResponse {}
impl Located for ListCidrBlocksResponse {}
impl Located for ListCidrCollectionsResponse {}
impl Located for ListCidrLocationsResponse {}

operations! {
    CreateCidrCollection post "cidrcollection" 201 -> CreateCidrCollectionResponse => any() {
        "Name" name: String,
        "CallerReference" caller_reference: String,
    }
    DeleteCidrCollection delete "cidrcollection/{CidrCollectionId}" 200 -> DeleteCidrCollectionResponse
        => on(&COLLECTION, |op, _| op.id.clone())
    {
        "CidrCollectionId" id: String,
    }
    ChangeCidrCollection post "cidrcollection/{CidrCollectionId}" 200 -> ChangeCidrCollectionResponse
        => on(&COLLECTION, |op, _| op.id.clone())
    {
        "CidrCollectionId" id: String,
        "CollectionVersion" version: Option<i64>,
        "Changes" changes: Vec<CidrCollectionChange>,
    }
    ListCidrBlocks get "cidrcollection/{CidrCollectionId}/cidrblocks" 200 -> ListCidrBlocksResponse
        => on(&COLLECTION, |op, _| op.id.clone())
    {
        "CidrCollectionId" id: String,
        "location" location: Option<String>,
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
    ListCidrCollections get "cidrcollection" 200 -> ListCidrCollectionsResponse => any() {
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
    ListCidrLocations get "cidrcollection/{CidrCollectionId}" 200 -> ListCidrLocationsResponse
        => on(&COLLECTION, |op, _| op.id.clone())
    {
        "CidrCollectionId" id: String,
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
}
