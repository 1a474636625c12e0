//! Reviews of new pods as API servers send them to the Gateway API controller, part of which the user who creates a pod writes.

use serde_json::Value;

pub(crate) fn run(bytes: &[u8]) {
    let Some([plain, patched]) = lath_gateway::fuzzing::review(bytes) else {
        return;
    };
    for answer in [&plain, &patched] {
        let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
        // No review refuses a pod, whatever it says.
        assert_eq!(answer["response"]["allowed"], true);
        assert!(answer["response"]["uid"].is_string());
    }
}
