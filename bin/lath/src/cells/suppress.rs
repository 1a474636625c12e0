//! A drill that kills a region wants it dead until a deadline. The deadline is in the order's file, so that
//! the region comes back even if the drill and the supervisor die.

use lath_drill::Scenario;
use lath_drill::order::Orders;

use super::process::Role;

/// Whether an order keeps this process from being started now. Removes expired orders.
pub(crate) fn is_suppressed(orders: &Orders, region: &str, role: Role) -> bool {
    let mut active = orders.active().into_iter();
    active.any(|order| order.region == region && covers(order.scenario, role))
}

fn covers(scenario: Scenario, role: Role) -> bool {
    let kills = scenario.facts().kills;
    kills.held
        && match role {
            Role::Control => kills.control,
            Role::Node => kills.node,
            Role::Witness => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use lath_drill::order::Order;

    #[test]
    fn an_order_holds_what_it_names_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::of(directory.path(), lath_clock::Clock::system());
        let soon = orders.ahead(Duration::from_secs(60));
        for (scenario, until_ms, want) in [
            (Scenario::KillRegion, soon, [true, true]),
            (Scenario::KillControlPlane, soon, [true, false]),
            (Scenario::KillNodeProcess, soon, [false, false]),
            (Scenario::PartitionRegion, soon, [false, false]),
            (Scenario::KillRegion, 1000, [false, false]),
        ] {
            let order = Order {
                name: "one".into(),
                scenario,
                region: "us-east-1".into(),
                victim: None,
                cluster: None,
                pods: None,
                until_ms,
            };
            orders.submit(&order).unwrap();
            let suppressed =
                [Role::Control, Role::Node].map(|role| is_suppressed(&orders, "us-east-1", role));
            assert_eq!(suppressed, want, "{scenario}");
            assert!(
                !is_suppressed(&orders, "us-west-2", Role::Node),
                "{scenario}"
            );
        }
    }
}
