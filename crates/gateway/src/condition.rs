//! Conditions: the words of a status, with transition times that move only when a status does.

use crate::kinds::Condition;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionState {
    pub(crate) good: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl ConditionState {
    /// All is well, for the reason that says so.
    pub(crate) fn good(reason: &'static str) -> Self {
        Self {
            good: true,
            reason,
            message: String::new(),
        }
    }

    pub(crate) fn bad(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            good: false,
            reason,
            message: message.into(),
        }
    }

    /// The same with a message.
    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// The condition of a type that says it, of an object's generation.
    pub(crate) fn condition(self, kind: &str, generation: i64) -> Condition {
        Condition {
            kind: kind.to_owned(),
            status: if self.good { "True" } else { "False" }.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.chars().take(32_768).collect(),
            observed_generation: generation,
            last_transition_time: String::new(),
        }
    }
}

/// Gives new conditions their times: that of the known condition of the type while the status is the same, else `now`.
/// Known conditions of types that the new ones lack are another controller's, and stay.
pub(crate) fn merged(
    now: &str,
    known: &[Condition],
    mut new: Vec<Condition>,
    own: &[&str],
) -> Vec<Condition> {
    for condition in &mut new {
        let before = known.iter().find(|it| it.kind == condition.kind);
        condition.last_transition_time = match before {
            Some(it) if it.status == condition.status && !it.last_transition_time.is_empty() => {
                it.last_transition_time.clone()
            }
            _ => now.to_owned(),
        };
    }
    let foreign = known
        .iter()
        .filter(|it| !own.contains(&it.kind.as_str()) && new.iter().all(|new| new.kind != it.kind));
    let foreign: Vec<_> = foreign.cloned().collect();
    new.extend(foreign);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let first = ConditionState::good("Accepted").condition("Accepted", 1);
        let known = merged(NOW, &[], vec![first], &["Accepted"]);
        let later = "2026-01-01T00:01:00Z";
        let again = ConditionState::good("Accepted")
            .with_message("more")
            .condition("Accepted", 2);
        let again = merged(later, &known, vec![again], &["Accepted"]);
        assert_eq!(again[0].last_transition_time, known[0].last_transition_time);
        assert_eq!(again[0].observed_generation, 2);
        let bad = ConditionState::bad("NoMatchingParent", "").condition("Accepted", 3);
        let bad = merged(later, &known, vec![bad], &["Accepted"]);
        assert_eq!(bad[0].last_transition_time, later);
    }

    #[test]
    fn conditions_of_others_stay() {
        let theirs = ConditionState::good("Fine").condition("Theirs", 1);
        let gone = ConditionState::good("Fine").condition("PartiallyInvalid", 1);
        let mine = ConditionState::good("Accepted").condition("Accepted", 1);
        let all = merged(
            NOW,
            &[theirs, gone],
            vec![mine],
            &["Accepted", "PartiallyInvalid"],
        );
        let kinds: Vec<_> = all.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["Accepted", "Theirs"]);
    }
}
