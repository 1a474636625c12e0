//! What alias records may point to.

use lath_store::View;

use crate::group;
use crate::name;
use crate::record::Zone;
use crate::shape::{ResourceRecordSet, RrType};

/// The hosted zone of Lattice's names, the same in every region.
pub(crate) const LATTICE_ZONE: &str = "Z0LATHVPCLATTICESVCS";

/// AWS's own hosted zones of VPC endpoints' names
/// (<https://docs.aws.amazon.com/general/latest/gr/vpce.html> and the endpoints' `DnsEntries`).
const ENDPOINT_SUFFIXES: [&str; 2] = [".vpce.amazonaws.com.", ".vpce.amazonaws.com.cn."];

/// What is wrong with a record set's target, if it is an alias.
pub(crate) fn problem(view: &View, zone: &Zone, set: &ResourceRecordSet) -> Option<String> {
    let alias = set.alias.as_ref()?;
    let target = &alias.dns_name;
    let said = |why: &str| {
        format!(
            "Tried to create an alias that targets {target}, type {} in zone {}, but {why}",
            set.kind, alias.zone_id
        )
    };
    let ours = match alias.zone_id.as_str() {
        own if own == zone.id.as_str() => Some(zone.clone()),
        other => view.get::<Zone>(other).map(|zone| Zone::clone(&zone)),
    };
    let Some(ours) = ours else {
        return (!is_service(&alias.zone_id, target, set.kind))
            .then(|| said("the alias target name does not lie within the target zone"));
    };
    if !name::is_within(target, &ours.name) {
        return Some(said(
            "the alias target name does not lie within the target zone",
        ));
    }
    if ours.id == zone.id && *target == set.name {
        return Some(said("that is the alias itself"));
    }
    let found = wildcards(target, &ours.name)
        .iter()
        .any(|name| !group::of_type(view, &ours.id, name, set.kind).is_empty());
    (!found).then(|| said("that target was not found"))
}

/// A name, and the wildcards that may answer for it.
fn wildcards(name: &str, zone: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut rest = name;
    while rest != zone {
        let Some((_, parent)) = rest.split_once('.') else {
            break;
        };
        names.push(format!("\\052.{parent}"));
        rest = parent;
    }
    names
}

/// Whether a name is one of a service's endpoints, which answer with addresses.
fn is_service(zone_id: &str, target: &str, kind: RrType) -> bool {
    let lattice = zone_id == LATTICE_ZONE && is_lattice(target);
    let endpoint = ENDPOINT_SUFFIXES.iter().any(|it| target.ends_with(it));
    matches!(kind, RrType::A | RrType::Aaaa) && (lattice || endpoint)
}

/// Such as `web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws.`.
fn is_lattice(target: &str) -> bool {
    let labels: Vec<&str> = target.split('.').collect();
    matches!(
        labels.as_slice(),
        [.., "vpc-lattice-svcs", _, "on", "aws", ""]
    )
}
