//! Requests for metrics: what becomes of their names and selectors is a path of the API server, which an administrator asks.

use lath_kubernetes::metrics::Asked;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let path = format!("/apis/metrics.k8s.io/v1beta1/{path}");
    let (names, query) = match Asked::parse(&path, query) {
        Some(Asked::Nodes { name, query }) => (vec![name], query),
        Some(Asked::Pods {
            namespace,
            name,
            query,
        }) => (vec![namespace, name], query),
        _ => return,
    };
    for name in names.into_iter().flatten() {
        assert!(!name.contains(['/', '?', '#', '%', '&', ' ']) && name != "..", "{name}");
    }
    let good = ["labelSelector=", "fieldSelector="];
    for part in query.split('&').filter(|it| !it.is_empty()) {
        assert!(good.iter().any(|it| part.starts_with(it)) || !part.contains('='), "{query}");
        assert!(part.bytes().all(|it| it.is_ascii_graphic()), "{query}");
    }
}
