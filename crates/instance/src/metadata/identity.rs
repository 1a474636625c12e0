//! The instance identity document, and names that follow from a region.

use std::net::Ipv4Addr;

use lath_feed::{Instance, Snapshot};
use lath_model::Partition;
use serde_json::json;

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>. It is not
/// signed: the endpoints of the signatures are not there.
pub(super) fn document(
    snapshot: &Snapshot,
    instance: &Instance,
    address: Option<Ipv4Addr>,
) -> String {
    let metadata = &instance.metadata;
    let document = json!({
        "accountId": snapshot.account,
        "architecture": architecture(),
        "availabilityZone": metadata.availability_zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": metadata.image.as_str(),
        "instanceId": instance.id.as_str(),
        "instanceType": metadata.instance_type,
        "kernelId": null,
        "pendingTime": metadata.launched_at.iso8601_seconds(),
        "privateIp": address.map(|address| address.to_string()),
        "ramdiskId": null,
        "region": snapshot.region,
        "version": "2017-09-30",
    });
    serde_json::to_string_pretty(&document).expect("a map of strings has a text form")
}

/// AWS's word for what this host is.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// Such as `ec2-1-2-3-4.compute-1.amazonaws.com`.
pub(super) fn public_hostname(region: &str, address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ec2-{a}-{b}-{c}-{d}.{}", Partition::public_hosts(region))
}

/// `use1-az1` for `us-east-1a`: AWS shuffles the numbers per account, Lath does not.
pub(super) fn zone_id(region: &str, zone: &str) -> String {
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default();
    let short: String = parts.map(direction).collect();
    let letter = zone
        .strip_prefix(region)
        .and_then(|rest| rest.bytes().next());
    let number = letter.map_or(1, |letter| letter.saturating_sub(b'a').saturating_add(1));
    format!("{area}{short}-az{number}")
}

fn direction(part: &str) -> &str {
    match part {
        "northeast" => "ne",
        "northwest" => "nw",
        "southeast" => "se",
        "southwest" => "sw",
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => number,
        word => word.get(..1).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_ids() {
        for (region, zone, want) in [
            ("us-east-1", "us-east-1a", "use1-az1"),
            ("us-west-2", "us-west-2d", "usw2-az4"),
            ("ap-southeast-2", "ap-southeast-2b", "apse2-az2"),
            ("eu-central-1", "eu-central-1c", "euc1-az3"),
        ] {
            assert_eq!(zone_id(region, zone), want, "{zone}");
        }
    }

    #[test]
    fn the_first_region_has_the_old_name() {
        let address = Ipv4Addr::new(1, 2, 3, 4);
        for (region, want) in [
            ("us-east-1", "ec2-1-2-3-4.compute-1.amazonaws.com"),
            ("eu-west-1", "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com"),
        ] {
            assert_eq!(public_hostname(region, address), want, "{region}");
        }
    }
}
