//! The locations of AWS's regions: the cities or counties that AWS names, to a few kilometres.

/// An AWS region and its location.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Such as `us-east-1`.
    pub name: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Such as `EU`.
    pub continent: &'static str,
    /// ISO 3166-1, such as `DE`.
    pub country: &'static str,
    /// ISO 3166-2 without the country, for the United States.
    pub subdivision: Option<&'static str>,
}

type Row = (
    &'static str,
    f64,
    f64,
    &'static str,
    &'static str,
    Option<&'static str>,
);

/// By name. <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
const ROWS: [Row; 38] = [
    ("af-south-1", -33.93, 18.42, "AF", "ZA", None),
    ("ap-east-1", 22.32, 114.17, "AS", "HK", None),
    ("ap-east-2", 25.03, 121.57, "AS", "TW", None),
    ("ap-northeast-1", 35.68, 139.69, "AS", "JP", None),
    ("ap-northeast-2", 37.57, 126.98, "AS", "KR", None),
    ("ap-northeast-3", 34.69, 135.50, "AS", "JP", None),
    ("ap-south-1", 19.08, 72.88, "AS", "IN", None),
    ("ap-south-2", 17.39, 78.49, "AS", "IN", None),
    ("ap-southeast-1", 1.35, 103.82, "AS", "SG", None),
    ("ap-southeast-2", -33.87, 151.21, "OC", "AU", None),
    ("ap-southeast-3", -6.21, 106.85, "AS", "ID", None),
    ("ap-southeast-4", -37.81, 144.96, "OC", "AU", None),
    ("ap-southeast-5", 3.15, 101.69, "AS", "MY", None),
    ("ap-southeast-6", -36.85, 174.76, "OC", "NZ", None),
    ("ap-southeast-7", 13.76, 100.50, "AS", "TH", None),
    ("ca-central-1", 45.50, -73.57, "NA", "CA", None),
    ("ca-west-1", 51.05, -114.07, "NA", "CA", None),
    ("cn-north-1", 39.90, 116.41, "AS", "CN", None),
    ("cn-northwest-1", 37.51, 105.19, "AS", "CN", None),
    ("eu-central-1", 50.11, 8.68, "EU", "DE", None),
    ("eu-central-2", 47.38, 8.54, "EU", "CH", None),
    ("eu-north-1", 59.33, 18.07, "EU", "SE", None),
    ("eu-south-1", 45.46, 9.19, "EU", "IT", None),
    ("eu-south-2", 41.65, -0.88, "EU", "ES", None),
    ("eu-west-1", 53.35, -6.26, "EU", "IE", None),
    ("eu-west-2", 51.51, -0.13, "EU", "GB", None),
    ("eu-west-3", 48.86, 2.35, "EU", "FR", None),
    ("il-central-1", 32.09, 34.78, "AS", "IL", None),
    ("me-central-1", 25.20, 55.27, "AS", "AE", None),
    ("me-south-1", 26.07, 50.55, "AS", "BH", None),
    ("mx-central-1", 20.59, -100.39, "NA", "MX", None),
    ("sa-east-1", -23.55, -46.63, "SA", "BR", None),
    ("us-east-1", 38.95, -77.45, "NA", "US", Some("VA")),
    ("us-east-2", 39.96, -83.00, "NA", "US", Some("OH")),
    ("us-gov-east-1", 39.96, -83.00, "NA", "US", Some("OH")),
    ("us-gov-west-1", 45.52, -122.68, "NA", "US", Some("OR")),
    ("us-west-1", 37.35, -121.96, "NA", "US", Some("CA")),
    ("us-west-2", 45.84, -119.70, "NA", "US", Some("OR")),
];

/// A region by its name, such as `eu-central-1`.
pub fn region(name: &str) -> Option<Region> {
    let at = ROWS.binary_search_by_key(&name, |row| row.0).ok()?;
    let (name, latitude, longitude, continent, country, subdivision) = ROWS[at];
    Some(Region {
        name,
        latitude,
        longitude,
        continent,
        country,
        subdivision,
    })
}

/// The great-circle distance between two points (latitude, longitude in degrees), in kilometres.
pub fn distance(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (a, b) = (from.0.to_radians(), to.0.to_radians());
    let (across, along) = (b - a, (to.1 - from.1).to_radians());
    let half = (across / 2.0).sin().powi(2) + a.cos() * b.cos() * (along / 2.0).sin().powi(2);
    2.0 * 6371.0 * half.sqrt().min(1.0).asin()
}

impl Region {
    /// Latitude and longitude.
    pub fn point(&self) -> (f64, f64) {
        (self.latitude, self.longitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found() {
        assert!(ROWS.is_sorted_by_key(|row| row.0));
        for row in ROWS {
            assert_eq!(region(row.0).unwrap().name, row.0);
        }
        assert_eq!(region("mars-north-1"), None);
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        for (a, b, low, high) in [
            ("us-east-1", "us-west-2", 3400.0, 3700.0),
            ("eu-west-1", "us-east-1", 5300.0, 5600.0),
            ("ap-southeast-2", "ap-southeast-1", 6200.0, 6400.0),
            ("eu-west-2", "eu-west-2", 0.0, 0.1),
        ] {
            let found = distance(region(a).unwrap().point(), region(b).unwrap().point());
            assert!(low <= found && found <= high, "{a} {b}: {found}");
        }
    }
}
