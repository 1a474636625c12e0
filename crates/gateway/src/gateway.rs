//! Gateways: the service networks that they stand for, and what their status says.

use kube::ResourceExt as _;

use crate::attach::{controller_of, has_class, kinds_of, parents, protocol};
use crate::condition::{Verdict, merged};
use crate::controller::{App, Undone};
use crate::desired::key;
use crate::guards::Target;
use crate::kinds::{
    self, Address, GATEWAY_GROUP, Gateway, GatewayStatus, GroupKind, Listener, ListenerStatus,
};
use crate::lattice::Fault;
use crate::routes::DOMAIN_NAME;
use crate::settings::{AWS_CONTROLLER, OWN_CONTROLLER, Settings};
use crate::world::{Name, World};

/// What came of the service network that a Gateway stands for.
pub(crate) enum Network {
    /// It is there, with this ARN.
    There(String),
    /// It is not, or cannot be had, for this reason.
    Missing(String),
}

/// The listener's own verdict: whether Lattice has such listeners.
fn accepted(listeners: &[Listener], at: usize) -> Verdict {
    let listener = &listeners[at];
    let Some(protocol) = protocol(listener) else {
        let message =
            "VPC Lattice has HTTP, HTTPS that ends at the listener, and TLS that is passed through";
        return Verdict::bad("UnsupportedProtocol", message);
    };
    let earlier = listeners[..at].iter().find(|it| it.port == listener.port);
    match earlier.and_then(self::protocol) {
        Some(other) if other != protocol => {
            let message = format!("port {} speaks {} already", listener.port, other.as_str());
            Verdict::bad("PortUnavailable", message)
        }
        _ => Verdict::good("Accepted"),
    }
}

fn resolved(listener: &Listener) -> Verdict {
    let named = listener
        .allowed_routes
        .as_ref()
        .map_or(0, |it| it.kinds.len());
    if named > kinds_of(listener).len() {
        return Verdict::bad(
            "InvalidRouteKinds",
            "VPC Lattice does not have all of these routes on such a listener",
        );
    }
    let tls = listener.tls.as_ref();
    let verdict = Verdict::good("ResolvedRefs");
    match tls {
        Some(tls) if !tls.certificate_refs.is_empty() => {
            let option = key("certificate-arn");
            verdict.saying(format!(
                "certificateRefs are not read: the option {option} names a certificate of ACM"
            ))
        }
        _ => verdict,
    }
}

/// How many routes a listener has.
fn attached(world: &World, settings: &Settings, gateway: &Name, at: usize) -> i32 {
    let routes = world.all_routes().filter(|(kind, name, route)| {
        let parents = parents(world, settings, *kind, name, route);
        parents
            .iter()
            .any(|it| it.name == *gateway && it.accepted.good && it.listeners.contains(&at))
    });
    i32::try_from(routes.count()).unwrap_or(i32::MAX)
}

/// The names that Lattice has given to the services of a Gateway's routes.
fn addresses(world: &World, gateway: &Name) -> Vec<Address> {
    let mut routes: Vec<_> = world
        .routes_of(gateway)
        .into_iter()
        .filter_map(|key| match key {
            crate::world::Key::Route(kind, name) => world.route(kind, &name),
            _ => None,
        })
        .collect();
    routes.sort_by_key(|route| (route.creation_timestamp(), Name::of(&route.metadata)));
    let mut names = routes
        .iter()
        .filter_map(|it| crate::routes::service_of(it).0);
    // As with AWS's controller: that of the oldest route that has one.
    let name = names.next().map(|name| Address {
        kind: Some("Hostname".to_owned()),
        value: name,
    });
    name.into_iter().collect()
}

/// A Gateway's status.
pub(crate) fn status(
    world: &World,
    settings: &Settings,
    name: &Name,
    gateway: &Gateway,
    network: &Network,
) -> GatewayStatus {
    let generation = gateway.metadata.generation.unwrap_or_default();
    let known = gateway.status.clone().unwrap_or_default();
    let listeners = &gateway.spec.listeners;
    let mut statuses = Vec::new();
    let mut bad = 0;
    for (at, listener) in listeners.iter().enumerate() {
        let accepted = accepted(listeners, at);
        let resolved = resolved(listener);
        let programmed = match (&accepted, network) {
            (Verdict { good: false, .. }, _) => Verdict::bad("Invalid", accepted.message.clone()),
            _ if !resolved.good => Verdict::bad("Invalid", resolved.message.clone()),
            (_, Network::There(_)) => Verdict::good("Programmed"),
            (_, Network::Missing(why)) => Verdict::bad("Pending", why.clone()),
        };
        bad += usize::from(!accepted.good || !resolved.good);
        let kinds = kinds_of(listener).into_iter();
        let before = known.listeners.iter().find(|it| it.name == listener.name);
        let new = vec![
            accepted.condition("Accepted", generation),
            resolved.condition("ResolvedRefs", generation),
            programmed.condition("Programmed", generation),
        ];
        let before = before.map_or(&[][..], |it| &it.conditions);
        statuses.push(ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: kinds
                .map(|kind| GroupKind {
                    group: Some(GATEWAY_GROUP.to_owned()),
                    kind: kind.kind().to_owned(),
                })
                .collect(),
            attached_routes: attached(world, settings, name, at),
            conditions: merged(before, new, &["Accepted", "ResolvedRefs", "Programmed"]),
        });
    }
    let accepted = if !gateway.spec.addresses.is_empty() {
        Verdict::bad(
            "UnsupportedAddress",
            "VPC Lattice gives every service addresses of its own",
        )
    } else if bad == listeners.len() {
        Verdict::bad("ListenersNotValid", "no listener can be had in VPC Lattice")
    } else if bad > 0 {
        Verdict::good("ListenersNotValid").saying("some listeners cannot be had in VPC Lattice")
    } else {
        Verdict::good("Accepted")
    };
    let programmed = match network {
        _ if !accepted.good => Verdict::bad("Invalid", accepted.message.clone()),
        Network::There(arn) => {
            Verdict::good("Programmed").saying(format!("service network: {arn}"))
        }
        Network::Missing(why) => Verdict::bad("Pending", why.clone()),
    };
    let new = vec![
        accepted.condition("Accepted", generation),
        programmed.condition("Programmed", generation),
    ];
    GatewayStatus {
        addresses: addresses(world, name),
        conditions: merged(
            &known.conditions,
            new,
            &["Accepted", "Programmed", "Ready", "Scheduled"],
        ),
        listeners: statuses,
    }
}

impl App {
    pub(crate) async fn gateway(&self, name: &Name) -> Result<(), Undone> {
        const FINALIZER: &str = "gateway.lath.dev/resources";
        // What AWS's controller left behind, where this one has taken its place.
        const THEIRS: &str = "gateway.k8s.aws/resources";
        let form = self.form(kinds::gateway());
        let (gateway, controller, shared, with_vpc) = {
            let world = self.look();
            let Some(gateway) = world.gateways.get(name).cloned() else {
                return Ok(());
            };
            let controller = controller_of(&world, &self.settings, &gateway);
            let twins = world.gateways.iter();
            let shared = twins
                .filter(|(other, it)| *other != name && it.metadata.deletion_timestamp.is_none())
                // A Gateway whose class is missing may be this controller's: it counts.
                .filter(|(_, it)| {
                    !has_class(&world, it) || controller_of(&world, &self.settings, it).is_some()
                })
                .any(|(other, _)| other.name == name.name)
                || world.has_unreadable_gateway(&name.name)
                || world.keeps_network(self.settings.network_of(&name.name));
            let goes = gateway.metadata.deletion_timestamp.is_some();
            if !goes && !has_class(&world, &gateway) {
                // Whose it is cannot be known: what was made for it stays until its class or itself says more.
                return Ok(());
            }
            (gateway, controller, shared, !world.vpc_decided(name))
        };
        let network = self.settings.network_of(&name.name).to_owned();
        let makes = controller.as_deref() == Some(OWN_CONTROLLER);
        let held = gateway.finalizers().iter().any(|it| it == FINALIZER);
        if gateway.metadata.deletion_timestamp.is_some() || controller.is_none() {
            let own = |it: &str| {
                it == FINALIZER || (it == THEIRS && self.settings.answers_to(AWS_CONTROLLER))
            };
            if held {
                let default = self.settings.default_service_network.as_deref() == Some(&network);
                if !shared && !default {
                    self.lattice.delete_network(&network).await?;
                }
            }
            if gateway.finalizers().iter().any(|it| own(it)) && (held || controller.is_some()) {
                self.finalizer(&form, &*gateway, |all| all.retain(|it| !own(it)))
                    .await?;
            }
            return Ok(());
        }
        if makes && !held {
            // The new state comes by the watch, and with it this work again.
            self.finalizer(&form, &*gateway, |all| all.push(FINALIZER.to_owned()))
                .await?;
            return Ok(());
        }
        let guards = |target: &Target| self.guard(target);
        let found = match makes {
            true => self
                .lattice
                .ensure_network(&network, with_vpc, &guards)
                .await
                .map(|it| Some(it.arn)),
            false => self
                .lattice
                .network(&network)
                .await
                .map(|it| it.map(|it| it.arn)),
        };
        let (network, undone) = match found {
            Ok(Some(arn)) => (Network::There(arn), None),
            Ok(None) => {
                let why = format!("there is no service network {network}");
                (Network::Missing(why.clone()), Some(Fault::Waits(why)))
            }
            Err(fault) => (Network::Missing(fault.to_string()), Some(fault)),
        };
        let status = status(&self.look(), &self.settings, name, &gateway, &network);
        let address = status.addresses.first().map(|it| it.value.clone());
        if gateway.status.as_ref() != Some(&status) {
            let status = serde_json::to_value(&status).unwrap_or_default();
            self.set_status(&form, &*gateway, status).await?;
        }
        self.annotate(&form, &*gateway, &[(DOMAIN_NAME, address.as_deref())])
            .await?;
        undone.map_or(Ok(()), |fault| Err(fault.into()))
    }
}
