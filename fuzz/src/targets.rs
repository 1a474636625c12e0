//! The targets, each a function over any bytes that panics when the parser that it attacks does, or when what it claims
//! of it does not hold.

/// A parser under attack.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which its folder below `seeds` has too.
    pub name: &'static str,
    /// Attacks with one input.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Every target.
        pub const TARGETS: &[Target] = &[
            $(Target {
                name: stringify!($name),
                run: $name::run,
            },)*
        ];

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $name() {
                    crate::session::attack(stringify!($name));
                }
            )*
        }
    };
}

targets! {
    admission
    auth_map
    cbor
    certificates
    change_batch
    check_response
    client_certificate
    client_hello
    cluster_token
    connect_head
    dashboard
    dns_query
    dns_reply
    drill_answer
    ec2_filter
    feed
    filter_pattern
    form
    function_archive
    function_reply
    gateway
    http2_fields
    image_credentials
    image_manifest
    image_reference
    json
    kubelet_metrics
    lattice_region
    mesh_frame
    metadata
    metrics_request
    mutual_tls
    names
    pod_review
    policy
    probe_answer
    public_key
    record
    record_value
    request_framing
    request_head
    response_framing
    rest_path
    rules
    sigv4
    stack_template
    state_entry
    token
    traffic_policy
    transit_region
    tunnel_packets
    unit_order
    user_data
    xml
    zone_query
}
