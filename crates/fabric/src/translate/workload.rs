//! A workload's side: one namespace, a device per interface.

use lath_feed::NamespaceOrigin;
use lath_model::WorkloadId;

use super::{Attached, VPC_MTU, VpcView, host_net, nth};
use crate::name;
use crate::plan::{Link, LinkKind, MAIN, Namespace, RouteTo, Rule, RuleAction, RuleMatch};

/// Each further device has a table of its own, so that answers leave by the address they came to.
const DEVICE_TABLES: u32 = 10_000;
const RULE_PRIORITY: u32 = 1000;

/// What a workload calls its devices.
pub(super) fn device_name(device: u32) -> String {
    format!("eth{device}")
}

impl VpcView<'_> {
    pub(super) fn workload(&self, id: &WorkloadId, origin: NamespaceOrigin) -> Namespace {
        let mut workload = Namespace::with_loopback();
        workload.handed_over = origin == NamespaceOrigin::HandedOver;
        sysctls(&mut workload, self.facts.last_group);
        if self.runs_pod_identity_agent(id) {
            workload.address("lo", host_net(lath_net::POD_IDENTITY_ADDRESS));
        }
        for attached in self.attached.iter().filter(|a| a.workload == id) {
            self.device(&mut workload, attached);
            let interface = attached.interface;
            if !interface.source_dest_check || !interface.prefixes.is_empty() {
                // Its own root has no power over it. The router still judges what comes out.
                workload.sysctl("ipv4/ip_forward", 1);
            }
        }
        workload
    }

    fn runs_pod_identity_agent(&self, id: &WorkloadId) -> bool {
        let WorkloadId::Instance(id) = id else {
            return false;
        };
        let instance = self.snapshot.instances.get(id);
        let cluster = instance.and_then(|it| Some(&it.cluster.as_ref()?.cluster));
        let plane = cluster.and_then(|it| self.snapshot.control_planes.get(it));
        plane.is_some_and(|it| it.has_pod_identity_agent())
    }

    fn device(&self, workload: &mut Namespace, attached: &Attached<'_>) {
        let device = device_name(attached.device);
        let link = Link {
            kind: LinkKind::Peer,
            mac: Some(attached.interface.mac.to_lowercase()),
            mtu: Some(VPC_MTU),
            alias: Some(name::alias(
                &self.facts.owner,
                attached.interface.id.as_str(),
            )),
            up: true,
        };
        workload.links.insert(device.clone(), link);
        for address in &attached.interface.addresses {
            let length = attached.subnet.cidr.prefix_len();
            if let Ok(net) = ipnet::Ipv4Net::new(address.private, length) {
                workload.address(&device, net);
            }
        }
        // The device is made from the router's side, before this namespace has defaults of its own.
        workload.sysctl(format!("ipv4/conf/{device}/rp_filter"), 0);
        workload.sysctl(format!("ipv6/conf/{device}/disable_ipv6"), 1);
        self.device_routes(workload, attached, &device);
        for prefix in &attached.interface.prefixes {
            if !workload.handed_over {
                // Else what is sent to an address of it that nothing has would go back to the router, and come again.
                workload.fallback(MAIN, *prefix, RouteTo::Unreachable);
            }
        }
    }

    /// Everything goes by the gateway, the subnet's own addresses included.
    fn device_routes(&self, workload: &mut Namespace, attached: &Attached<'_>, device: &str) {
        let gateway = nth(attached.subnet.cidr, 1);
        let first = self
            .attached
            .iter()
            .filter(|a| a.workload == attached.workload);
        if first.map(|a| a.device).min() == Some(attached.device) {
            workload.route(MAIN, host_net(gateway), RouteTo::dev(device));
            workload.route(
                MAIN,
                ipnet::Ipv4Net::default(),
                RouteTo::via(device, gateway),
            );
            return;
        }
        let table = DEVICE_TABLES + attached.device;
        workload.route(
            table,
            ipnet::Ipv4Net::default(),
            RouteTo::via(device, gateway),
        );
        let interface = attached.interface;
        let addresses = interface.addresses.iter();
        let sources = addresses.map(|address| host_net(address.private));
        for source in sources.chain(interface.prefixes.iter().copied()) {
            workload.rules.insert(Rule {
                priority: RULE_PRIORITY,
                when: RuleMatch::From(source),
                action: RuleAction::Table(table),
            });
        }
        for prefix in &interface.prefixes {
            // One address of a prefix reaches another one here, not by the gateway.
            workload.route(table, *prefix, RouteTo::Throw);
        }
    }
}

fn sysctls(workload: &mut Namespace, last_group: u32) {
    workload.sysctl("ipv4/ip_unprivileged_port_start", 0);
    workload.sysctl("ipv4/ping_group_range", format!("0 {last_group}"));
    for scope in ["all", "default"] {
        workload.sysctl(format!("ipv4/conf/{scope}/rp_filter"), 0);
        workload.sysctl(format!("ipv4/conf/{scope}/arp_ignore"), 1);
        workload.sysctl(format!("ipv4/conf/{scope}/arp_announce"), 2);
    }
    // `lo` keeps ::1, which programs expect; devices made later have no IPv6.
    workload.sysctl("ipv6/conf/default/disable_ipv6", 1);
}
