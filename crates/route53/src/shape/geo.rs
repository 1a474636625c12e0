//! Places of geolocation records.

use super::{requests, structures};

structures! {
    #[derive(Eq)]
    GeoLocationDetails {
        "ContinentCode" continent: Option<String>,
        "ContinentName" continent_name: Option<String>,
        "CountryCode" country: Option<String>,
        "CountryName" country_name: Option<String>,
        "SubdivisionCode" subdivision: Option<String>,
        "SubdivisionName" subdivision_name: Option<String>,
    }
    GetGeoLocationResponse {
        "GeoLocationDetails" details: GeoLocationDetails,
    }
    ListGeoLocationsResponse {
        "GeoLocationDetailsList" list: Vec<GeoLocationDetails>,
        "IsTruncated" is_truncated: bool,
        "NextContinentCode" next_continent: Option<String>,
        "NextCountryCode" next_country: Option<String>,
        "NextSubdivisionCode" next_subdivision: Option<String>,
        "MaxItems" max_items: String,
    }
}

requests! {
    GetGeoLocation {
        "continentcode" continent: Option<String>,
        "countrycode" country: Option<String>,
        "subdivisioncode" subdivision: Option<String>,
    }
    ListGeoLocations {
        "startcontinentcode" continent: Option<String>,
        "startcountrycode" country: Option<String>,
        "startsubdivisioncode" subdivision: Option<String>,
        "maxitems" max_items: Option<String>,
    }
}
