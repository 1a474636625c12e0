//! CIDR collections.

use lath_service::Located;
use serde::{Deserialize, Serialize};

use super::{location, requests, structures, values};

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
    fn headers(&self) -> Vec<(&'static str, String)> {
        let id = self.collection.as_ref().and_then(|it| it.id.as_ref());
        id.map(|id| location(format!("cidrcollection/{id}")))
            .into_iter()
            .collect()
    }
}

requests! {
    CreateCidrCollection {
        "Name" name: String,
        "CallerReference" caller_reference: String,
    }
    DeleteCidrCollection {
        "CidrCollectionId" id: String,
    }
    ChangeCidrCollection {
        "CidrCollectionId" id: String,
        "CollectionVersion" version: Option<i64>,
        "Changes" changes: Vec<CidrCollectionChange>,
    }
    ListCidrBlocks {
        "CidrCollectionId" id: String,
        "location" location: Option<String>,
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
    ListCidrCollections {
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
    ListCidrLocations {
        "CidrCollectionId" id: String,
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
}
