//! Entry points for the targets in `fuzz/` only.

use crate::ident::{Identifier, Kind};

/// The ranges of status codes of a health check's matcher.
pub fn status_codes(text: &str) -> Option<Vec<(u16, u16)>> {
    crate::matcher::parse(text)
}

/// The resource's own id, and how many parents it names, of every kind that the text may identify.
pub fn identifiers(text: &str) -> Vec<(String, usize)> {
    Kind::all()
        .filter_map(|kind| Identifier::parse(kind, text))
        .map(|identifier| (identifier.id().to_owned(), identifier.parents().len()))
        .collect()
}

/// What another region tells, as far as it is believed, and printed again.
pub fn told(bytes: &[u8], region: &str) -> Option<Vec<u8>> {
    let listed: crate::region::Exported = serde_json::from_slice(bytes).ok()?;
    serde_json::to_vec(&listed.only_of(region)).ok()
}

/// The traffic policy that a text asks for.
pub fn traffic_policy(text: &str) -> Option<lath_model::traffic::TrafficPolicy> {
    crate::traffic::read(text)
}

/// The conditions of a rule that a text says.
pub fn rule_match(text: &str) -> Option<lath_model::matching::MoreMatch> {
    crate::matching::read(text).ok()
}

/// The name, the hostname and the certificates of a gateway's listener.
pub type GatewayListener = (String, Option<String>, Vec<String>);

/// The names, hosts and certificates of a gateway's listeners that a text says.
pub fn gateway(text: &str) -> Option<Vec<GatewayListener>> {
    let listeners = crate::gateway::read(text).ok()?.listeners.into_iter();
    let listed = listeners.map(|it| (it.name, it.hostname, it.certificates));
    Some(listed.collect())
}

/// The listeners that a text attaches a service to, with the hosts.
pub fn gateway_routes(text: &str) -> Option<Vec<(String, Vec<String>)>> {
    let routes = crate::gateway_routes::read(text).ok()?.into_iter();
    Some(routes.map(|it| (it.listener, it.hosts)).collect())
}

/// Whether a text asks clients for certificates, and which authorities it names.
pub fn mutual_tls(text: &str) -> Option<Vec<String>> {
    Some(crate::mutual_tls::read(text).ok()?.trust_anchors)
}

/// Whether a text says how targets prove who they are, and which authorities it names.
pub fn target_tls(text: &str) -> Option<Vec<String>> {
    Some(crate::target_tls::read(text).ok()?.trust_anchors)
}

/// The load balancing policy that a text asks for.
pub fn load_balancing(text: &str) -> Option<lath_model::balancing::LoadBalancing> {
    crate::balancing::read(text)
}

/// Whether a text is a canary.
pub fn canary(text: &str) -> bool {
    crate::canary::reads(text)
}

/// Whether a text is an auth policy.
pub fn auth_policy(text: &str) -> bool {
    crate::policy_document::check_auth(text).is_ok()
}
