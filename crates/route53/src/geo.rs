//! Places that geolocation records may name.

use lath_feed::Location;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::Route53;
use crate::geo_table::{CONTINENTS, COUNTRIES, SUBDIVISIONS};
use crate::shape::*;
use crate::{fault, page};

operations! {
    for Route53 as "route53";
    read GetGeoLocation: get "/2013-04-01/geolocation" 200 -> GetGeoLocationResponse = get
        => any();
    read ListGeoLocations: get "/2013-04-01/geolocations" 200 -> ListGeoLocationsResponse = list
        => any();
}

/// Places on a page.
const PAGE: usize = 100;

/// The codes of a place: a continent's, or a country's and perhaps a subdivision's.
type Codes<'c> = (Option<&'c str>, Option<&'c str>, Option<&'c str>);

fn codes(location: &GeoLocation) -> Codes<'_> {
    (
        location.continent.as_deref(),
        location.country.as_deref(),
        location.subdivision.as_deref(),
    )
}

fn country(code: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    COUNTRIES.iter().find(|(_, known, _)| *known == code)
}

fn details((continent, country_code, subdivision): Codes<'_>) -> Option<GeoLocationDetails> {
    let mut found = GeoLocationDetails {
        continent: None,
        continent_name: None,
        country: None,
        country_name: None,
        subdivision: None,
        subdivision_name: None,
    };
    match (continent, country_code, subdivision) {
        (Some(code), None, None) => {
            let (code, name) = CONTINENTS.iter().find(|(known, _)| *known == code)?;
            found.continent = Some((*code).to_owned());
            found.continent_name = Some((*name).to_owned());
        }
        (None, Some("*"), None) => {
            found.country = Some("*".to_owned());
            found.country_name = Some("Default".to_owned());
        }
        (None, Some(code), None) => set_country(&mut found, code)?,
        (None, Some(code), Some(part)) => {
            set_country(&mut found, code)?;
            let (_, part, name) = SUBDIVISIONS
                .iter()
                .find(|(country, known, _)| *country == code && *known == part)?;
            found.subdivision = Some((*part).to_owned());
            found.subdivision_name = Some((*name).to_owned());
        }
        _ => return None,
    }
    Some(found)
}

fn set_country(found: &mut GeoLocationDetails, code: &str) -> Option<()> {
    let (_, code, name) = country(code)?;
    found.country = Some((*code).to_owned());
    found.country_name = Some((*name).to_owned());
    Some(())
}

/// Whether there is such a place.
pub(crate) fn is_known(location: &GeoLocation) -> bool {
    details(codes(location)).is_some()
}

/// A place as the feed has it.
pub(crate) fn fed(location: &GeoLocation) -> Option<Location> {
    Some(match codes(location) {
        (Some(continent), _, _) => Location::Continent(continent.to_owned()),
        (None, Some("*"), _) => Location::Default,
        (None, Some(country), None) => Location::Country(country.to_owned()),
        (None, Some(country), Some(part)) => {
            Location::Subdivision(country.to_owned(), part.to_owned())
        }
        (None, None, _) => return None,
    })
}

pub(crate) fn get(
    _: &Route53,
    _: &View,
    op: &GetGeoLocation,
) -> Result<GetGeoLocationResponse, ApiError> {
    let (continent, country, part) = (&op.continent, &op.country, &op.subdivision);
    if continent.is_some() && country.is_some() || part.is_some() && country.is_none() {
        return Err(fault::invalid(
            "Either a ContinentCode, or a CountryCode with or without a SubdivisionCode has to be specified.",
        ));
    }
    let codes = (
        continent.as_deref(),
        country.as_deref().or(match continent {
            Some(_) => None,
            None => Some("*"),
        }),
        part.as_deref(),
    );
    let details = details(codes).ok_or_else(|| {
        ApiError::new(
            "NoSuchGeoLocation",
            404,
            "Amazon Route 53 doesn't support the specified geographic location.",
        )
    })?;
    Ok(GetGeoLocationResponse { details })
}

/// All places: continents, the default, and each country with its subdivisions.
fn all() -> Vec<GeoLocationDetails> {
    let mut places: Vec<Codes<'_>> = CONTINENTS
        .iter()
        .map(|(code, _)| (Some(*code), None, None))
        .collect();
    places.push((None, Some("*"), None));
    let mut countries: Vec<&str> = COUNTRIES.iter().map(|(_, code, _)| *code).collect();
    countries.sort_unstable();
    for code in countries {
        places.push((None, Some(code), None));
        let parts = SUBDIVISIONS.iter().filter(|(known, ..)| *known == code);
        places.extend(parts.map(|(_, part, _)| (None, Some(code), Some(*part))));
    }
    places.into_iter().filter_map(details).collect()
}

pub(crate) fn list(
    _: &Route53,
    _: &View,
    op: &ListGeoLocations,
) -> Result<ListGeoLocationsResponse, ApiError> {
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let given = op.continent.is_some() || op.country.is_some();
    if op.subdivision.is_some() && op.country.is_none() {
        return Err(fault::invalid(
            "A StartCountryCode is required when a StartSubdivisionCode is given.",
        ));
    }
    let is_start = |place: &GeoLocationDetails| {
        place.continent == op.continent
            && place.country == op.country
            && place.subdivision == op.subdivision
    };
    let mut rest = all()
        .into_iter()
        .skip_while(|place| given && !is_start(place));
    let list: Vec<_> = rest.by_ref().take(size).collect();
    let next = rest.next();
    Ok(ListGeoLocationsResponse {
        list,
        is_truncated: next.is_some(),
        next_continent: next.as_ref().and_then(|place| place.continent.clone()),
        next_country: next.as_ref().and_then(|place| place.country.clone()),
        next_subdivision: next.and_then(|place| place.subdivision),
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}
