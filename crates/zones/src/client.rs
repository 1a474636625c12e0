use ipnet::IpNet;
use lath_feed::Location;

use crate::regions::{Region, region};

/// Who asks, as far as answers depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// EDNS Client Subnet's prefix, or the address itself with all its bits.
    pub prefix: IpNet,
    /// The region it is nearest to: a VPC's own, or the one whose public pool or underlay address it has, or
    /// else the region that answers. Geolocation follows it too, as there is no map of the internet here.
    pub region: Option<Region>,
}

impl Client {
    /// A client in or near a region of AWS.
    pub fn near(prefix: IpNet, region_name: &str) -> Self {
        Self {
            prefix,
            region: region(region_name),
        }
    }

    /// How small an area around the client this is: 3 is a state, 0 the default; `None` elsewhere.
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
