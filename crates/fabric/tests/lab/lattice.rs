//! Service networks.

use std::collections::BTreeMap;
use std::time::Duration;

use lath_feed::{Auth, Listener, Service, ServiceNetwork};
use lath_model::lattice::{Action, ListenerProtocol};

use super::id;

/// A network with one service, which listens on port 80.
pub(crate) fn service(network: u32) -> (ServiceNetwork, Service) {
    let listener = Listener {
        id: id("listener", 1),
        arn: String::new(),
        protocol: ListenerProtocol::Http,
        port: 80,
        rules: Vec::new(),
        default_rule: id("rule", 1),
        default_action: Action::FixedResponse(404),
        matched: Vec::new(),
        traffic: Default::default(),
        mutual_tls: None,
        gateway: None,
    };
    let service = Service {
        id: id("svc", 1),
        arn: String::new(),
        name: "web".into(),
        domain_name: "web.on.aws".into(),
        custom_domain_name: None,
        certificate: None,
        routes: Vec::new(),
        address: "169.254.171.9".parse().unwrap(),
        auth: Auth::None,
        idle_timeout: Duration::from_secs(60),
        listeners: BTreeMap::from([(listener.id.clone(), listener)]),
        access_logs: Vec::new(),
    };
    let network = ServiceNetwork {
        id: id("sn", network),
        arn: String::new(),
        name: "net".into(),
        auth: Auth::None,
        services: [service.id.clone()].into(),
        access_logs: Vec::new(),
        workloads_only: false,
    };
    (network, service)
}
