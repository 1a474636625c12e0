//! Values that the API has and Lath refuses: the check and the compatibility table read the same list.

use lath_wire::Problems;
use serde::Serialize;

/// Values of one member that are refused.
pub(super) struct Unavailable<T: 'static> {
    /// The member, such as `config.protocol`.
    pub(super) place: &'static str,
    pub(super) values: &'static [T],
    /// What to do instead.
    pub(super) why: &'static str,
}

impl<T: PartialEq + Serialize> Unavailable<T> {
    /// Reports the value where it is one of these.
    pub(super) fn check(&self, p: &mut Problems, value: &T) {
        if self.values.contains(value) {
            p.add(self.place, self.why);
        }
    }

    /// `config.protocol: HTTPS, TCP`.
    pub(super) fn shown(&self) -> String {
        let name = |value: &T| match serde_json::to_value(value) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        };
        let names: Vec<String> = self.values.iter().map(name).collect();
        format!("{}: {}", self.place, names.join(", "))
    }
}
