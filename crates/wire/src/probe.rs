//! Learns a type's [`Shape`] from its `Deserialize`, by deserializing made-up values again and again
//! until nothing new is seen.
//!
//! A derived `Deserialize` tells its members' names and asks each member for its type, but only while
//! all goes well. So each run feeds every member some value; where a newtype refuses the value, the next
//! run tries another candidate there; members that refuse all of them are left out. Which members are
//! required is asked afterwards, by leaving out one at a time. The work is bounded and used in tests and
//! for the compatibility table only.

mod access;
mod knowledge;

use serde::de::DeserializeOwned;

use crate::Shape;
use knowledge::Knowledge;

/// Most runs for one type.
const MAX_RUNS: usize = 20_000;

/// Runs without news after which a type is believed to be known. Enums show one variant a run, so this
/// is also the largest number of variants of an enum inside another enum's variant.
const PATIENCE: usize = 64;

/// Asks a type for its form.
pub fn describe<T: DeserializeOwned>() -> Shape {
    let knowledge = Knowledge::default();
    let mut quiet = 0;
    for _ in 0..MAX_RUNS {
        let outcome = T::deserialize(knowledge.probe());
        quiet = if knowledge.take_news() { 0 } else { quiet + 1 };
        let settled = outcome.is_ok() && !knowledge.has_unseen_variants();
        if settled && quiet > 0 || quiet > PATIENCE {
            break;
        }
    }
    for path in knowledge.perhaps_required() {
        knowledge.leave_out(Some(&path));
        for _ in 0..PATIENCE {
            let outcome = T::deserialize(knowledge.probe());
            if knowledge.judge(&path, outcome.err()) {
                break;
            }
        }
        knowledge.leave_out(None);
    }
    knowledge.shape()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lath_model::Timestamp;
    use lath_model::id::VpcId;
    use serde::Deserialize;

    use super::*;
    use crate::Blob;
    use crate::shape::Member;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its form counts")]
    enum Kind {
        #[serde(rename = "ONE")]
        One,
        Two,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its form counts")]
    enum Action {
        Forward { groups: Vec<String> },
        FixedResponse(Fixed),
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only its form counts")]
    struct Fixed {
        status: u16,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its form counts")]
    struct Whole {
        vpc_id: VpcId,
        kind: Kind,
        maybe: Option<Kind>,
        #[serde(default)]
        many: Vec<Action>,
        when: Timestamp,
        data: Option<Blob>,
        tags: BTreeMap<String, String>,
        #[serde(default)]
        defaulted: f64,
        within: Option<Box<Self>>,
        #[serde(default, alias = "old")]
        new: bool,
    }

    fn member(name: &'static str, required: bool, shape: Shape) -> Member {
        Member {
            name,
            required,
            shape,
        }
    }

    #[test]
    fn a_type_tells_its_form() {
        let kind = Shape::Enum {
            values: vec!["ONE", "Two"],
            members: vec![],
        };
        let strings = Shape::List(Box::new(Shape::String));
        let groups = Shape::Struct {
            name: "Action",
            members: vec![member("groups", true, strings)],
        };
        let fixed = Shape::Struct {
            name: "Fixed",
            members: vec![member("status", true, Shape::Integer)],
        };
        let action = Shape::Enum {
            values: vec![],
            members: vec![
                member("forward", false, groups),
                member("fixedResponse", false, fixed),
            ],
        };
        let tags = Shape::Map(Box::new(Shape::String));
        let want = Shape::Struct {
            name: "Whole",
            members: vec![
                member("vpcId", true, Shape::String),
                member("kind", true, kind.clone()),
                member("maybe", false, kind),
                member("many", false, Shape::List(Box::new(action))),
                member("when", true, Shape::Timestamp),
                member("data", false, Shape::Blob),
                member("tags", true, tags),
                member("defaulted", false, Shape::Float),
                member("within", false, Shape::Recursive("Whole")),
                member("new", false, Shape::Boolean),
            ],
        };
        assert_eq!(describe::<Whole>(), want);
    }

    #[test]
    fn plain_types_tell_their_form_too() {
        assert_eq!(describe::<()>(), Shape::Unit);
        assert_eq!(describe::<Vec<u8>>(), Shape::List(Box::new(Shape::Integer)));
        assert_eq!(describe::<Option<bool>>(), Shape::Boolean);
    }
}
