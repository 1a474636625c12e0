//! AWS's Service Authorization Reference as data: which resource types and condition keys each action has
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/>). `tests/authorization/reference.py` writes
//! the table.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// What the reference says of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// Its resource types by name.
    pub resource_types: Vec<OfType>,
    /// The keys that it has whatever its resource.
    pub keys: BTreeSet<&'static str>,
    /// What a caller may need beside it.
    pub dependent_actions: Vec<&'static str>,
}

/// A resource type of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfType {
    /// Such as `subnet`.
    pub name: &'static str,
    /// Whether every request has one.
    pub required: bool,
    /// The condition keys that the action has for it.
    pub keys: BTreeSet<&'static str>,
}

static TABLE: LazyLock<HashMap<&'static str, Action>> =
    LazyLock::new(|| read(include_str!("reference.txt")));

/// What the reference says of an action such as `ec2:RunInstances`; `None` of one that it does not have.
pub fn action(name: &str) -> Option<&'static Action> {
    TABLE.get(name)
}

/// Whether the reference gives an action on a resource type this condition key. `key` is in lower case and, of a tag,
/// whole: `aws:resourcetag/env`.
pub fn has_key(action: &str, resource_type: &str, key: &str) -> bool {
    let Some(action) = TABLE.get(action) else {
        return false;
    };
    let of_type = action.resource_types.iter();
    let of_type = of_type.filter(|it| it.name == resource_type);
    let mut keys = of_type.flat_map(|it| &it.keys).chain(&action.keys);
    keys.any(|written| is_key(written, key))
}

/// Whether a key as the reference writes it, such as `aws:ResourceTag/${TagKey}`, is this one, which is in lower case.
pub fn is_key(written: &str, key: &str) -> bool {
    match written.split_once("${") {
        Some((start, _)) => key
            .get(..start.len())
            .is_some_and(|given| given.eq_ignore_ascii_case(start)),
        None => written.eq_ignore_ascii_case(key),
    }
}

/// See the script that writes it.
fn read(text: &'static str) -> HashMap<&'static str, Action> {
    let mut sets: Vec<BTreeSet<&'static str>> = Vec::new();
    let mut table = HashMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        if first.starts_with('=') {
            sets.push(words.collect());
        } else if let Some(name) = first.strip_prefix('@') {
            current = name;
            let action: &mut Action = table.entry(name).or_default();
            action.dependent_actions = words.collect();
        } else if let Some(action) = table.get_mut(current) {
            let set = words.next().and_then(|number| number.parse::<usize>().ok());
            let keys = set.and_then(|number| sets.get(number)).cloned();
            let keys = keys.unwrap_or_default();
            let name = first.trim_end_matches('!');
            match name {
                "-" => action.keys = keys,
                name => action.resource_types.push(OfType {
                    name,
                    required: first.ends_with('!'),
                    keys,
                }),
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let run = action("ec2:RunInstances").unwrap();
        assert!(run.dependent_actions.contains(&"iam:PassRole"));
        let subnet = run.resource_types.iter().find(|it| it.name == "subnet");
        let subnet = subnet.unwrap();
        assert!(subnet.required && subnet.keys.contains("ec2:Vpc"));
        assert!(has_key("ec2:RunInstances", "subnet", "ec2:vpc"));
        assert!(has_key("ec2:RunInstances", "subnet", "aws:resourcetag/env"));
        assert!(has_key("ec2:RunInstances", "subnet", "ec2:region"));
        assert!(!has_key("ec2:RunInstances", "subnet", "ec2:instancetype"));
        assert!(action("ec2:NoSuchThing").is_none());
    }
}
