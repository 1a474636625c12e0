//! What a kubelet counts, which the root of its node may write as it likes.

use lath_kubernetes::metrics::{History, Sample};
use lath_model::Timestamp;

pub(crate) fn run(bytes: &[u8]) {
    // Two looks at one node, one after the other.
    let middle = bytes.iter().position(|it| *it == 0);
    let (first, second) = bytes.split_at(middle.unwrap_or(bytes.len() / 2));
    let mut history = History::default();
    for half in [first, second] {
        history.take(Sample::parse(half, Timestamp::from_millis(1_000_000)));
    }
    let pods = history.pods();
    let containers = pods.values().flatten().map(|(_, usage)| *usage);
    for usage in containers.chain(history.node()) {
        assert!(usage.cpu.is_finite() && usage.cpu >= 0.0, "{usage:?}");
        assert!(usage.memory.is_finite() && usage.memory >= 0.0, "{usage:?}");
        assert!(!usage.window.is_zero(), "{usage:?}");
    }
    let names = pods.values().flat_map(|all| all.keys());
    assert!(names.map(|it| it.len()).sum::<usize>() <= bytes.len());
}
