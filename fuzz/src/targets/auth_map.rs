//! The ConfigMap `kube-system/aws-auth`: texts in YAML that anybody writes who may in a cluster.

use lath_kubernetes::auth_map::AuthMap;
use serde_json::json;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(map) = AuthMap::parse(&json!({"mapRoles": text, "mapAccounts": text})) else {
        return;
    };
    // No text stands for much more than itself: an escape of two bytes is a character of three at most.
    let arns = map.roles.iter().map(|it| it.arn.len());
    let groups = map.roles.iter().flat_map(|it| &it.groups).map(String::len);
    assert!(arns.chain(groups).sum::<usize>() <= 2 * text.len());
}
