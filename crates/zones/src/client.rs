use ipnet::IpNet;
use lath_feed::Location;

use crate::regions::{Region, region};

/// The properties of a client on which answers depend.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The prefix of EDNS Client Subnet, or the client's full address.
    pub prefix: IpNet,
    /// The nearest region: that of the client's VPC; or the one with the client's address in its public pool or
    /// underlay; else the region that answers. Geolocation uses it too, because Lath has no map of the internet.
    pub region: Option<Region>,
}

impl Client {
    /// A client in or near an AWS region.
    pub fn near(prefix: IpNet, region_name: &str) -> Self {
        Self {
            prefix,
            region: region(region_name),
        }
    }

    /// How specifically a location matches the client: 3 for a subdivision, down to 0 for the default; `None`
    /// if it does not match.
    pub(crate) fn fits(&self, location: &Location) -> Option<u8> {
        let here = self.region.as_ref();
        match location {
            Location::Default => Some(0),
            Location::Continent(code) => (here?.continent == code).then_some(1),
            Location::Country(code) => (here?.country == code).then_some(2),
            Location::Subdivision(country, code) => {
                let here = here?;
                (here.country == country && here.subdivision == Some(code.as_str())).then_some(3)
            }
        }
    }
}
