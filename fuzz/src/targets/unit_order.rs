//! Orders of an instance's `systemctl` to its first process. Units' names become names of files.

use lath_instance::fuzzing::unit_order;

pub(crate) fn run(bytes: &[u8]) {
    let Some(unit) = unit_order(bytes) else {
        return;
    };
    assert!(!unit.is_empty() && unit.len() <= 64, "{unit:?}");
    assert!(!unit.contains(['/', '.', '\0', '\n']), "{unit:?}");
}
