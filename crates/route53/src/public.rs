//! What public zones say of a name, for services that look for a proof in them.

use lath_control::Cell;
use lath_feed::RecordAnswer;
use lath_store::View;

use crate::contribute::{fed_records, fed_zone};
use crate::name;
use crate::record::{CopiedRecords, CopiedZone, Zone};

/// The values of the record sets of a name and type (`CNAME`) in the public hosted zones that answer for the name: those of
/// the longest name that it is in. Aliases have none. Works in every region, from the copy elsewhere than at home.
pub fn public_values(cell: &Cell, view: &View, name: &str, kind: &str) -> Vec<String> {
    let Ok(name) = name::canonical(name) else {
        return Vec::new();
    };
    let home = cell.topology.is_home();
    let zones: Vec<_> = if home {
        let ids = view.list::<Zone>().map(|it| it.id.to_string());
        ids.filter_map(|id| fed_zone(view, &id)).collect()
    } else {
        view.list::<CopiedZone>()
            .map(|it| it.zone.clone())
            .collect()
    };
    let is_in =
        |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|it| it.ends_with('.'));
    let public = zones
        .iter()
        .filter(|it| it.vpcs.is_none() && is_in(&it.name));
    let public: Vec<_> = public.collect();
    let longest = public.iter().map(|it| it.name.len()).max();
    let answering = public.iter().filter(|it| Some(it.name.len()) == longest);
    let mut values = Vec::new();
    for zone in answering {
        let key = format!("{}/{name}", zone.id);
        let records = if home {
            fed_records(view, &key)
        } else {
            view.get::<CopiedRecords>(&key).map(|it| it.sets.clone())
        };
        let sets = records
            .and_then(|mut it| it.remove(kind))
            .unwrap_or_default();
        for set in sets {
            if let RecordAnswer::Values { values: of_set, .. } = set.answer {
                values.extend(of_set);
            }
        }
    }
    values
}
