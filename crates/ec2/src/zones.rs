//! The region and its availability zones. A cell knows its own region only.

use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Filters};
use lath_ec2_records::errors::invalid_value;
use lath_ec2_records::zone_id;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::region_names::long_name;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeRegions {
    #[serde(rename = "RegionName", default)]
    names: Vec<String>,
    /// Regions that are not opted into: there are none.
    #[serde(rename = "AllRegions")]
    _all: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeRegionsResult {
    region_info: Vec<RegionItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegionItem {
    opt_in_status: String,
    region_name: String,
    region_endpoint: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeAvailabilityZones {
    #[serde(rename = "ZoneName", default)]
    names: Vec<String>,
    #[serde(rename = "ZoneId", default)]
    ids: Vec<String>,
    /// Zones that are not opted into: there are none.
    #[serde(rename = "AllAvailabilityZones")]
    _all: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeAvailabilityZonesResult {
    availability_zone_info: Vec<ZoneItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ZoneItem {
    opt_in_status: String,
    message_set: Vec<ZoneMessage>,
    region_name: String,
    zone_name: String,
    zone_id: String,
    group_name: String,
    group_long_name: Option<String>,
    network_border_group: String,
    zone_type: String,
    zone_state: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ZoneMessage {
    message: String,
}

operations! {
    for Ec2 as "ec2";
    read DescribeRegions -> DescribeRegionsResult = describe_regions, dry_run => any();
    read DescribeAvailabilityZones -> DescribeAvailabilityZonesResult = describe_zones, dry_run => any();
}

const REGION_FIELDS: &[Field<RegionItem>] = &[
    ("endpoint", |it| vec![it.region_endpoint.clone()]),
    ("opt-in-status", |it| vec![it.opt_in_status.clone()]),
    ("region-name", |it| vec![it.region_name.clone()]),
];

fn describe_regions(
    app: &Ec2,
    _view: &View,
    op: &DescribeRegions,
) -> Result<DescribeRegionsResult, ApiError> {
    let filters = Filters::new(&op.filters, REGION_FIELDS)?;
    let region = &app.cell.region;
    if let Some(other) = op.names.iter().find(|name| *name != region) {
        return Err(invalid_value(format!("Invalid region names: [{other}]")));
    }
    let item = RegionItem {
        opt_in_status: "opt-in-not-required".into(),
        region_name: region.clone(),
        region_endpoint: format!("ec2.{region}.{}", app.cell.partition().dns_suffix()),
    };
    Ok(DescribeRegionsResult {
        region_info: [item]
            .into_iter()
            .filter(|item| filters.matches(item, &[]))
            .collect(),
    })
}

const ZONE_FIELDS: &[Field<ZoneItem>] = &[
    ("group-name", |it| vec![it.group_name.clone()]),
    ("group-long-name", |it| {
        it.group_long_name.iter().cloned().collect()
    }),
    ("message", |_| Vec::new()),
    ("opt-in-status", |it| vec![it.opt_in_status.clone()]),
    ("parent-zone-id", |_| Vec::new()),
    ("parent-zone-name", |_| Vec::new()),
    ("region-name", |it| vec![it.region_name.clone()]),
    ("state", |it| vec![it.zone_state.clone()]),
    ("zone-id", |it| vec![it.zone_id.clone()]),
    ("zone-name", |it| vec![it.zone_name.clone()]),
    ("zone-type", |it| vec![it.zone_type.clone()]),
];

fn describe_zones(
    app: &Ec2,
    _view: &View,
    op: &DescribeAvailabilityZones,
) -> Result<DescribeAvailabilityZonesResult, ApiError> {
    let filters = Filters::new(&op.filters, ZONE_FIELDS)?;
    let mut zones = all(&app.cell);
    known(&op.names, &zones, |zone| &zone.zone_name)?;
    known(&op.ids, &zones, |zone| &zone.zone_id)?;
    zones.retain(|zone| {
        (op.names.is_empty() || op.names.contains(&zone.zone_name))
            && (op.ids.is_empty() || op.ids.contains(&zone.zone_id))
            && filters.matches(zone, &[])
    });
    Ok(DescribeAvailabilityZonesResult {
        availability_zone_info: zones,
    })
}

fn known(
    wanted: &[String],
    zones: &[ZoneItem],
    key: fn(&ZoneItem) -> &String,
) -> Result<(), ApiError> {
    let is_known = |name: &&String| zones.iter().any(|zone| key(zone) == *name);
    match wanted.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(invalid_value(format!(
            "Invalid availability zone: [{name}]"
        ))),
    }
}

fn all(cell: &Cell) -> Vec<ZoneItem> {
    let item = |zone_name: String| ZoneItem {
        opt_in_status: "opt-in-not-required".into(),
        message_set: Vec::new(),
        region_name: cell.region.clone(),
        zone_id: zone_id(&zone_name),
        zone_name,
        group_name: format!("{}-zg-1", cell.region),
        group_long_name: long_name(&cell.region).map(|name| format!("{name} 1")),
        network_border_group: cell.region.clone(),
        zone_type: "availability-zone".into(),
        zone_state: "available".into(),
    };
    cell.availability_zones().map(item).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_ids_are_as_in_aws() {
        for (zone, want) in [
            ("us-east-1a", "use1-az1"),
            ("ap-southeast-2c", "apse2-az3"),
            ("eu-central-1b", "euc1-az2"),
        ] {
            assert_eq!(zone_id(zone), want);
        }
        assert_eq!(zone_id(""), "-az0");
    }

    fn app() -> Ec2 {
        Ec2 {
            cell: Cell::for_test().0,
        }
    }

    #[test]
    fn the_region_has_three_zones() {
        let app = app();
        let shown = describe_zones(
            &app,
            &View::default(),
            &DescribeAvailabilityZones::default(),
        );
        let zones = shown.unwrap().availability_zone_info;
        let names: Vec<_> = zones.iter().map(|zone| zone.zone_name.as_str()).collect();
        assert_eq!(names, ["us-east-1a", "us-east-1b", "us-east-1c"]);
        let op = DescribeAvailabilityZones {
            names: vec!["us-east-1z".into()],
            ..Default::default()
        };
        let error = describe_zones(&app, &View::default(), &op).unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.status),
            ("InvalidParameterValue", 400)
        );
    }

    #[test]
    fn other_regions_are_unknown() {
        let op = DescribeRegions {
            names: vec!["mars-north-1".into()],
            ..Default::default()
        };
        let error = describe_regions(&app(), &View::default(), &op).unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.status),
            ("InvalidParameterValue", 400)
        );
    }
}
