//! Gateways: the service networks that they stand for, and what their status says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use kube::ResourceExt as _;
use serde_json::Value;

use crate::attach::{attach, controller_of, has_class, kinds_of};
use crate::authorities;
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::entrance::{self, Entered};
use crate::guards::Target;
use crate::kinds::{
    self, Address, Condition, GATEWAY_GROUP, Gateway, GatewayStatus, GroupKind, ListenerStatus,
};
use crate::lattice::{self, Fault};
use crate::listener_sets::{self, SetStatus, Standing};
use crate::listeners::{self, Certificate, Judged, Section};
use crate::routes::DOMAIN_NAME;
use crate::settings::{AWS_CONTROLLER, OWN_CONTROLLER};
use crate::shown;
use crate::world::{Key, Name, World};

/// The types of conditions that are this controller's in listeners.
const OF_LISTENERS: [&str; 5] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Conflicted",
    "OverlappingTLSConfig",
];

/// What came of the service network that a Gateway stands for.
pub(crate) enum Network {
    /// It is there, with this ARN.
    There(String),
    /// It is not, or cannot be had, for this reason.
    Missing(String),
}

/// How many routes each listener of a Gateway has.
fn attached(world: &World, sections: &[Section], gateway: &Name, entrance: bool) -> Vec<i32> {
    let mut counts = vec![0; sections.len()];
    for (kind, name, route) in world.all_routes() {
        let parents = route.spec.parent_refs.iter();
        let parents = parents.filter(|it| world.gateway_of(it, name).as_ref() == Some(gateway));
        let mut places = BTreeSet::new();
        for reference in parents {
            let at = (kind, name, &**route);
            let (accepted, taken) = attach(world, (reference, sections), at, entrance);
            places.extend(taken.iter().filter(|_| accepted.good).map(|it| it.place));
        }
        for place in places {
            counts[place] += 1;
        }
    }
    counts
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

/// What of a Gateway's listeners can be had, and where it is.
pub(crate) struct Found {
    pub(crate) network: Network,
    pub(crate) sections: Vec<Section>,
    pub(crate) judged: Vec<Judged>,
    /// Where it has an address: what is in Lattice for it, or why it is not.
    pub(crate) entered: Option<Result<Entered, String>>,
    /// When this was found: the time of conditions that change by it.
    pub(crate) now: String,
}

/// The conditions of a listener.
fn conditions(judged: &Judged, programmed: &Result<(), String>, generation: i64) -> Vec<Condition> {
    let conflict = judged.conflicted.as_ref().filter(|it| it.good);
    let programmed = match (&judged.accepted, programmed) {
        (ConditionState { good: false, .. }, _) => {
            let reason = conflict.map_or("Invalid", |it| it.reason);
            ConditionState::bad(reason, judged.accepted.message.clone())
        }
        _ if !judged.resolved.good => {
            ConditionState::bad("Invalid", judged.resolved.message.clone())
        }
        (_, Ok(_)) => ConditionState::good("Programmed"),
        (_, Err(why)) => ConditionState::bad("Pending", why.clone()),
    };
    let all = [
        (Some(&judged.accepted), "Accepted"),
        (Some(&judged.resolved), "ResolvedRefs"),
        (Some(&programmed), "Programmed"),
        (judged.conflicted.as_ref(), "Conflicted"),
        (judged.overlapping.as_ref(), "OverlappingTLSConfig"),
    ];
    let all = all.into_iter();
    all.filter_map(|(verdict, kind)| Some(verdict?.clone().condition(kind, generation)))
        .collect()
}

/// Why a Gateway cannot be had as it is.
fn refused(gateway: &Gateway, entrance: bool) -> Option<ConditionState> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let parameters = infrastructure.and_then(|it| it.get("parametersRef"));
    if entrance && parameters.is_some_and(|it| !it.is_null()) {
        let message = "this controller takes no parameters";
        return Some(ConditionState::bad("InvalidParameters", message));
    }
    // One without a value asks for what every Gateway gets.
    let given = |it: &Value| {
        let text = |name: &str| it.get(name).and_then(Value::as_str).unwrap_or_default();
        !entrance || !text("value").is_empty() || !matches!(text("type"), "" | "IPAddress")
    };
    gateway.spec.addresses.iter().any(given).then(|| {
        let message = "VPC Lattice gives every service addresses of its own";
        ConditionState::bad("UnsupportedAddress", message)
    })
}

/// The statuses of the listeners of a Gateway, or of a ListenerSet for it, beside those that are known.
pub(crate) fn entries(
    (found, counts): (&Found, &[i32]),
    set: Option<&Name>,
    (known, generation): (&[ListenerStatus], i64),
    there: &Result<(), String>,
) -> Vec<ListenerStatus> {
    let entrance = found.entered.is_some();
    let all = found.sections.iter().zip(&found.judged).zip(counts);
    let own = all.filter(|((section, _), _)| section.set() == set);
    own.map(|((section, judged), attached_routes)| {
        let listener = section.listener();
        let kinds = kinds_of(listener, entrance).into_iter();
        let before = known.iter().find(|it| it.name == listener.name);
        let before = before.map_or(&[][..], |it| &it.conditions);
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: kinds
                .map(|kind| GroupKind {
                    group: Some(GATEWAY_GROUP.to_owned()),
                    kind: kind.kind().to_owned(),
                })
                .collect(),
            attached_routes: *attached_routes,
            conditions: merged(
                &found.now,
                before,
                conditions(judged, there, generation),
                &OF_LISTENERS,
            ),
        }
    })
    .collect()
}

/// The statuses of a Gateway and of the ListenerSets for it.
pub(crate) fn statuses(
    world: &World,
    name: &Name,
    gateway: &Gateway,
    found: &Found,
) -> (GatewayStatus, Vec<SetStatus>) {
    let generation = gateway.metadata.generation.unwrap_or_default();
    let known = gateway.status.clone().unwrap_or_default();
    let entrance = found.entered.is_some();
    // What all listeners wait for.
    let there = match (&found.network, &found.entered) {
        (Network::Missing(why), _) | (_, Some(Err(why))) => Err(why.clone()),
        (Network::There(arn), _) => Ok(arn.clone()),
    };
    let counts = attached(world, &found.sections, name, entrance);
    let judged = found.sections.iter().zip(&found.judged);
    let mut own = judged.filter(|(it, _)| it.set().is_none());
    let accepted = if let Some(verdict) = refused(gateway, entrance) {
        verdict
    } else if found.judged.iter().all(|it| !it.is_good()) {
        ConditionState::bad("ListenersNotValid", "no listener can be had in VPC Lattice")
    } else if own.any(|(_, it)| !it.is_good()) {
        ConditionState::good("ListenersNotValid")
            .with_message("some listeners cannot be had in VPC Lattice")
    } else {
        ConditionState::good("Accepted")
    };
    let programmed = match &there {
        _ if !accepted.good => ConditionState::bad("Invalid", accepted.message.clone()),
        Ok(arn) => {
            ConditionState::good("Programmed").with_message(format!("service network: {arn}"))
        }
        Err(why) => ConditionState::bad("Pending", why.clone()),
    };
    let standing = match &there {
        _ if refused(gateway, entrance).is_some() => {
            Standing::Refused(format!("Gateway {name} is not accepted"))
        }
        Ok(_) => Standing::There,
        Err(_) => Standing::Pending,
    };
    let sets = listener_sets::statuses(world, (name, gateway), (found, &counts), &standing);
    let mut new = vec![
        accepted.condition("Accepted", generation),
        programmed.condition("Programmed", generation),
    ];
    if let Some((resolved, _)) = shown::resolved(world, (name, gateway), entrance) {
        new.push(resolved.condition("ResolvedRefs", generation));
    }
    if entrance && authorities::is_insecure(gateway) {
        let verdict = ConditionState::good("ConfigurationChanged");
        let verdict = verdict.with_message("clients get in whose certificates were not verified");
        new.push(verdict.condition("InsecureFrontendValidationMode", generation));
    }
    // Where the kind is not there, neither is the field.
    let count = world.read.contains(&kinds::listener_set().plural);
    let count = count.then(|| sets.iter().filter(|it| it.is_attached()).count());
    let status = GatewayStatus {
        addresses: match &found.entered {
            None => addresses(world, name),
            Some(Ok(entered)) => own_addresses(entered),
            // What was there may be there still.
            Some(Err(_)) => known.addresses,
        },
        conditions: merged(
            &found.now,
            &known.conditions,
            new,
            &[
                "Accepted",
                "Programmed",
                "ResolvedRefs",
                "Ready",
                "Scheduled",
                "InsecureFrontendValidationMode",
            ],
        ),
        listeners: entries(
            (found, &counts),
            None,
            (&known.listeners, generation),
            &there.map(drop),
        ),
        attached_listener_sets: count.map(|it| i32::try_from(it).unwrap_or(i32::MAX)),
    };
    (status, sets)
}

/// The address of a Gateway's own service, and its name.
fn own_addresses(entered: &Entered) -> Vec<Address> {
    let address = |kind: &str, value: &str| Address {
        kind: Some(kind.to_owned()),
        value: value.to_owned(),
    };
    let own = entered.address.iter().map(|it| address("IPAddress", it));
    let name = Some(&entered.domain_name).filter(|it| !it.is_empty());
    own.chain(name.map(|it| address("Hostname", it))).collect()
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
            if controller.is_some() {
                self.release_sets(name).await?;
            }
            if held {
                self.leave(name, self.settings.has_addresses()).await?;
            }
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
        let (network, mut undone) = match found {
            Ok(Some(arn)) => (Network::There(arn), None),
            Ok(None) => {
                let why = format!("there is no service network {network}");
                (Network::Missing(why.clone()), Some(Fault::Waits(why)))
            }
            Err(fault) => (Network::Missing(fault.to_string()), Some(fault)),
        };
        let entrance = controller.is_some_and(|it| self.settings.has_entrances(&it));
        if held && !entrance {
            // It may have had an address before this controller was told otherwise.
            self.leave(name, false).await?;
        }
        let allows_sets = gateway.spec.allowed_listeners.is_some();
        if entrance && allows_sets && self.has_unknown_sets() {
            let why = "there are ListenerSets that cannot be read: what they have must not go";
            return Err(Fault::Waits(why.to_owned()).into());
        }
        let sections = || listeners::sections(&self.look(), (name, &gateway), entrance);
        let found = match (entrance, &network) {
            (true, Network::There(_)) => {
                let sections = sections();
                let (judged, entered) = self.enter(name, &gateway, &sections).await;
                let (entered, fault) = match entered {
                    Ok(entered) => (Ok(entered), None),
                    Err(fault) => (Err(fault.to_string()), Some(fault)),
                };
                undone = undone.or(fault);
                Found {
                    network,
                    sections,
                    judged,
                    entered: Some(entered),
                    now: self.settings.now(),
                }
            }
            _ => {
                let sections = sections();
                Found {
                    network,
                    judged: listeners::judge(&self.look(), (name, &gateway), &sections, entrance),
                    sections,
                    entered: entrance.then(|| Err("its service network is not there".to_owned())),
                    now: self.settings.now(),
                }
            }
        };
        let (status, sets) = statuses(&self.look(), name, &gateway, &found);
        if gateway.status.as_ref() != Some(&status) {
            let status = serde_json::to_value(&status).unwrap_or_default();
            self.set_status(&form, &*gateway, status).await?;
        }
        let names = status.addresses.iter();
        let mut names = names.filter(|it| it.kind.as_deref() == Some("Hostname"));
        let address = names.next().map(|it| it.value.clone());
        self.annotate(&form, &*gateway, &[(DOMAIN_NAME, address.as_deref())])
            .await?;
        self.write_set_statuses(sets).await?;
        undone.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Takes away a Gateway's own service, if it has one; `surely`: whatever is remembered of it.
    async fn leave(&self, name: &Name, surely: bool) -> Result<(), Fault> {
        let (service, identity) = entrance::service_of(&self.settings, name);
        self.entered_now().remove(name);
        if !surely && !self.lattice.has_entrance(&service, &identity).await? {
            return Ok(());
        }
        self.queue.add(Key::Certificates);
        self.lattice.withdraw_entrance(&service, &identity).await
    }

    pub(crate) fn entered_now(&self) -> MutexGuard<'_, BTreeMap<Name, Entered>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which certificates of ACM are of which Secrets, where Gateways have addresses.
    pub(crate) async fn know_certificates(&self) -> Result<(), Fault> {
        if self.settings.has_addresses() {
            let imported = self.lattice.imported_certificates().await?;
            if self.look().imported != imported {
                self.world().imported = imported;
            }
        }
        Ok(())
    }

    /// Imports the certificates of the Secrets that a Gateway names. Gives the ARNs, those of former contents where the new ones are
    /// refused, and what kept one from being imported.
    async fn import_certificates(
        &self,
        gateway: (&Name, &Gateway),
        sections: &[Section],
    ) -> (BTreeMap<Name, String>, Option<Fault>) {
        let unknown = self.know_certificates().await.err();
        let judged = listeners::judge(&self.look(), gateway, sections, true);
        let certificates = judged.iter().flat_map(|it| &it.certificates);
        let shown = shown::resolved(&self.look(), gateway, true).and_then(|(_, it)| it);
        let secrets: BTreeSet<_> = certificates
            .filter_map(|it| match it {
                Certificate::Secret(name) => Some(name.clone()),
                Certificate::Acm(_) => None,
            })
            .chain(shown)
            .collect();
        if secrets.is_empty() {
            return (BTreeMap::new(), None);
        }
        let mut fault = unknown;
        for at in &secrets {
            let (secret, refused) = {
                let world = self.look();
                (
                    world.secrets.get(at).cloned(),
                    world.refused.get(at).cloned(),
                )
            };
            let is_refused = |hash: &String| refused.as_ref().is_some_and(|(it, _)| it == hash);
            let Some(secret) = secret.filter(|it| it.fault.is_none() && !is_refused(&it.hash))
            else {
                continue;
            };
            match self.lattice.certificate(at, &secret).await {
                Ok(_) => {}
                Err(Fault::Failed(why)) if lattice::is_refused(&Fault::Failed(why.clone())) => {
                    let mut world = self.world();
                    world.refused.insert(at.clone(), (secret.hash.clone(), why));
                }
                Err(other) => fault = Some(other),
            }
        }
        fault = self.know_certificates().await.err().or(fault);
        let world = self.look();
        let arns = world.imported.iter();
        let arns = arns.filter(|(_, name)| secrets.contains(*name));
        (
            arns.map(|(arn, name)| (name.clone(), arn.clone()))
                .collect(),
            fault,
        )
    }

    /// Brings a Gateway's certificates and its own service to what they should be.
    async fn enter(
        &self,
        name: &Name,
        gateway: &Gateway,
        sections: &[Section],
    ) -> (Vec<Judged>, Result<Entered, Fault>) {
        if refused(gateway, true).is_some() {
            let judged = listeners::judge(&self.look(), (name, gateway), sections, true);
            return (judged, Ok(Entered::default()));
        }
        let (arns, fault) = self.import_certificates((name, gateway), sections).await;
        let judged = listeners::judge(&self.look(), (name, gateway), sections, true);
        let listeners = (sections, &judged[..]);
        let shown = shown::resolved(&self.look(), (name, gateway), true).and_then(|(_, it)| it);
        let at = (name, gateway);
        let desired = entrance::entrance(&self.settings, at, listeners, &arns, shown.as_ref());
        let guards = |target: &Target| self.guard(target);
        let entered = self.lattice.ensure_entrance(&desired, &guards).await;
        if let Ok(entered) = &entered {
            let before = self.entered_now().insert(name.clone(), entered.clone());
            if before.is_none_or(|it| {
                (it.doors, it.shown) != (entered.doors.clone(), entered.shown.clone())
            }) {
                let routes = self.look().routes_of(name);
                routes.into_iter().for_each(|key| self.queue.add(key));
            }
            if !self.look().imported.is_empty() {
                self.queue.add(Key::Certificates);
            }
        }
        // What has a certificate by now serves meanwhile.
        match fault {
            Some(fault) => (judged, entered.and(Err(fault))),
            None => (judged, entered),
        }
    }

    /// Deletes the certificates that no Gateway names any more.
    pub(crate) async fn certificates(&self) -> Result<(), Undone> {
        if self.has_unknown_sets() {
            return Ok(());
        }
        let keep = {
            let world = self.look();
            if !world.read.contains(&kinds::gateway().plural) || world.has_unreadable_gateways() {
                // What is not known is not absent.
                return Ok(());
            }
            let gateways = world.gateways.iter();
            let own = gateways.filter(|(_, it)| {
                !has_class(&world, it) || controller_of(&world, &self.settings, it).is_some()
            });
            let own = own.filter(|(_, it)| {
                self.settings.has_addresses() && it.metadata.deletion_timestamp.is_none()
            });
            own.flat_map(|(name, it)| world.secrets_of(name, it))
                .collect()
        };
        Ok(self.lattice.delete_certificates(&keep).await?)
    }
}
