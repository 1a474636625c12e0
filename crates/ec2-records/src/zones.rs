//! Availability zones.

/// The id of a zone, such as `use1-az1` for `us-east-1a`. AWS shuffles them per account; Lath does not.
pub fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let mut short = String::new();
    for (index, word) in region.split('-').enumerate() {
        short.push_str(match word {
            word if index == 0 => word,
            "northeast" => "ne",
            "northwest" => "nw",
            "southeast" => "se",
            "southwest" => "sw",
            other => other.get(..1).unwrap_or_default(),
        });
    }
    let number = letter
        .bytes()
        .next()
        .map_or(0, |it| it.wrapping_sub(b'a') + 1);
    format!("{short}-az{number}")
}
