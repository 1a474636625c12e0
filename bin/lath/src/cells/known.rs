//! The permanent list of an installation's regions. A region's number is in all its addresses: no other region ever has it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use lath_feed::Topology;
use serde::{Deserialize, Serialize};

use crate::config::MAX_REGIONS;

/// The list.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownRegions {
    pub(super) home: String,
    /// The number of each region; regions that are not served at the moment keep theirs.
    pub(super) indices: BTreeMap<String, u8>,
    /// Regions that have answered: they have a state and must not start without it.
    #[serde(default)]
    pub(super) served: BTreeSet<String>,
}

impl KnownRegions {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// When they are no list, or one that gives two regions the same addresses.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let known: Self = serde_json::from_slice(bytes)?;
        known.check()?;
        Ok(known)
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut owners = BTreeMap::new();
        for (region, index) in &self.indices {
            ensure!(
                usize::from(*index) < MAX_REGIONS,
                "it gives {region} the number {index}, and numbers are less than {MAX_REGIONS}"
            );
            if let Some(other) = owners.insert(index, region) {
                bail!(
                    "it gives {other} and {region} the same number, {index}, and with it the same addresses"
                );
            }
        }
        Ok(())
    }

    /// What the regions' own files say together: one that was not served of late is in old ones alone. `None` where they
    /// contradict one another, or there are none.
    pub(super) fn of_cells(topologies: impl IntoIterator<Item = Topology>) -> Option<Self> {
        let mut known = Self::default();
        for topology in topologies {
            if known.home.is_empty() {
                known.home.clone_from(&topology.home);
            }
            if known.home != topology.home {
                return None;
            }
            for (region, place) in topology.regions {
                let index = u8::try_from(place.number()).ok()?;
                let said = *known.indices.entry(region.clone()).or_insert(index);
                if said != index {
                    return None;
                }
                known.served.insert(region);
            }
        }
        (!known.indices.is_empty() && known.check().is_ok()).then_some(known)
    }

    /// Gives a region a number, which it keeps.
    ///
    /// # Errors
    /// When none is left.
    pub(super) fn give_number(&mut self, region: &str) -> anyhow::Result<()> {
        if self.indices.contains_key(region) {
            return Ok(());
        }
        let most = u8::try_from(MAX_REGIONS).unwrap_or(u8::MAX);
        let free = (0..most).find(|index| !self.indices.values().any(|known| known == index));
        let index = free.with_context(|| {
            format!("{MAX_REGIONS} regions have been served from this data directory: there is no number left for {region}")
        })?;
        self.indices.insert(region.to_owned(), index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_feed::RegionPlace;

    fn topology(regions: &[(&str, u8)]) -> Topology {
        let place = |number: u8| RegionPlace {
            underlay: [100, 64, number, 1].into(),
            link: [100, 65, number, 1].into(),
            public_key: [0; 32],
            public_pool: "198.18.0.0/19".parse().unwrap(),
        };
        let places = regions
            .iter()
            .map(|(name, number)| ((*name).to_owned(), place(*number)));
        Topology {
            region: "a".into(),
            home: "a".into(),
            regions: places.collect(),
            witness: None,
            underlay: None,
        }
    }

    fn list(indices: &[(&str, u8)]) -> KnownRegions {
        KnownRegions {
            home: "a".into(),
            indices: indices
                .iter()
                .map(|(name, index)| ((*name).to_owned(), *index))
                .collect(),
            served: indices.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_list_that_gives_two_regions_the_same_addresses_is_refused() {
        for (name, indices, taken) in [
            ("good", &[("a", 0), ("b", 14)][..], true),
            ("twice", &[("a", 3), ("b", 3)], false),
            ("beyond all pools", &[("a", 0), ("b", 15)], false),
            ("the router's", &[("a", 255)], false),
        ] {
            let bytes = serde_json::to_vec(&list(indices)).unwrap();
            assert_eq!(KnownRegions::parse(&bytes).is_ok(), taken, "{name}");
        }
    }

    #[test]
    fn what_is_recovered_names_regions_that_were_not_served_of_late() {
        let of = |files: &[&[(&str, u8)]]| {
            KnownRegions::of_cells(files.iter().map(|regions| topology(regions)))
        };
        let (late, early): (&[_], &[_]) = (&[("a", 0), ("c", 2)], &[("a", 0), ("b", 1)]);
        let all = list(&[("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(of(&[late, early]), Some(all));
        // So that none of them gives its number away.
        let mut known = of(&[early, late]).unwrap();
        known.give_number("d").unwrap();
        assert_eq!(known.indices["d"], 3);
        assert_eq!(of(&[late, &[("a", 1)]]), None, "they contradict each other");
        assert_eq!(of(&[late, &[("b", 2)]]), None, "two have one number");
        assert_eq!(of(&[]), None);
    }
}
