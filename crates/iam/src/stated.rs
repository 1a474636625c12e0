//! What the operations of all services state of permissions, for the simulator: which condition keys a real request
//! would have that Lath cannot fill in.

use std::collections::HashMap;
use std::sync::OnceLock;

use lath_authz::reference;
use lath_wire::{Service, Stated};

/// Statements by action in lower case. Empty until the services are registered: then every key can be told.
#[derive(Debug, Default)]
pub(crate) struct Statements(OnceLock<HashMap<String, Vec<Stated>>>);

impl Statements {
    /// Takes the statements of these services, the first time.
    pub(crate) fn learn(&self, services: &[Service]) {
        self.0.get_or_init(|| {
            let mut by_action: HashMap<String, Vec<Stated>> = HashMap::new();
            for service in services {
                for stated in service.operations().flat_map(|it| service.stated(it)) {
                    let action = stated.action.to_ascii_lowercase();
                    by_action.entry(action).or_default().push(stated);
                }
            }
            by_action
        });
    }

    /// Whether a request for the action has a key, which is in lower case, whose value cannot be told.
    pub(crate) fn is_unknown(&self, action: &str, key: &str) -> bool {
        let by_action = self.0.get();
        let stated = by_action.and_then(|it| it.get(&action.to_ascii_lowercase()));
        let unknown = |it: &Stated| {
            reference::has_key(&it.action, it.resource_type, key)
                && !it.known.iter().any(|known| reference::is_key(known, key))
        };
        stated.is_some_and(|all| all.iter().any(unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_reference_that_no_statement_fills_in_cannot_be_told() {
        let stated = |known: &[&'static str]| Stated {
            action: "iam:PassRole".into(),
            resource_type: "role",
            known: known.to_vec(),
        };
        let key = "iam:associatedresourcearn";
        let statements = |all: Vec<Stated>| {
            let by_action = HashMap::from([("iam:passrole".to_owned(), all)]);
            Statements(OnceLock::from(by_action))
        };
        let filled = || stated(&["iam:AssociatedResourceArn"]);
        assert!(statements(vec![stated(&[])]).is_unknown("iam:PassRole", key));
        assert!(statements(vec![filled(), stated(&[])]).is_unknown("iam:PASSROLE", key));
        assert!(!statements(vec![filled()]).is_unknown("iam:PassRole", key));
        assert!(!statements(vec![stated(&[])]).is_unknown("iam:PassRole", "iam:other"));
        assert!(!Statements::default().is_unknown("iam:PassRole", key));
    }
}
