//! ServiceNetwork objects: each is a service network of its name.

use kube::ResourceExt as _;
use serde_json::json;

use crate::attach::{controller_of, has_class};
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::guards::Target;
use crate::kinds::{self, ServiceNetwork, ServiceNetworkStatus};
use crate::lattice::Fault;
use crate::plan::asked_tags;
use crate::world::{Key, Name, World};

const FINALIZER: &str = "servicenetwork.k8s.aws/resources";

impl World {
    /// Whether a ServiceNetwork that stays is of this name.
    pub(crate) fn keeps_network(&self, network: &str) -> bool {
        let found = self.networks.get(&Name::new("", network));
        found.is_some_and(|it| it.metadata.deletion_timestamp.is_none())
    }

    /// What a ServiceNetwork changes: Gateways of its name stand for it.
    pub(crate) fn touched_by_network(&self, network: &Name) -> Vec<Key> {
        let gateways = self.gateways.keys();
        let named = gateways.filter(|it| it.name == network.name);
        let mut keys: Vec<_> = named.cloned().map(Key::Gateway).collect();
        keys.push(Key::Network(network.clone()));
        keys
    }
}

impl App {
    /// A Gateway that stands for a network, if one does.
    fn gateway_for(&self, network: &str) -> Option<Name> {
        let world = self.look();
        let gateways = world.gateways.iter();
        let mut stand = gateways
            .filter(|(name, it)| {
                let of_it = self.settings.network_of(&name.name) == network;
                of_it && it.metadata.deletion_timestamp.is_none()
            })
            // One whose class is missing may be this controller's: it counts.
            .filter(|(_, it)| {
                !has_class(&world, it) || controller_of(&world, &self.settings, it).is_some()
            });
        stand.next().map(|(name, _)| name.clone())
    }

    pub(crate) async fn service_network(&self, name: &Name) -> Result<(), Undone> {
        let form = self.form(kinds::service_network());
        let Some(object) = self.look().networks.get(name).cloned() else {
            return Ok(());
        };
        let held = object.finalizers().iter().any(|it| it == FINALIZER);
        let network = name.name.as_str();
        if object.metadata.deletion_timestamp.is_some() {
            if !held {
                return Ok(());
            }
            if let Some(gateway) = self.gateway_for(network) {
                let why = format!("Gateway {gateway} stands for this service network");
                let verdict = ConditionState::bad("Pending", why.clone());
                self.write_network_status(&object, verdict, None).await?;
                return Err(Fault::Waits(why).into());
            }
            if self.settings.default_service_network.as_deref() != Some(network) {
                self.lattice.delete_network(network).await?;
            }
            self.finalizer(&form, &*object, |all| all.retain(|it| it != FINALIZER))
                .await?;
            return Ok(());
        }
        if !held {
            // The new state comes by the watch, and with it this work again.
            self.finalizer(&form, &*object, |all| all.push(FINALIZER.to_owned()))
                .await?;
            return Ok(());
        }
        let guards = |target: &Target| self.guard(target);
        let made = match self.lattice.ensure_network(network, false, &guards).await {
            Ok(made) => {
                let tags = asked_tags(object.annotations());
                self.lattice.give_tags(&made, tags).await.map(|()| made)
            }
            Err(fault) => Err(fault),
        };
        let verdict = match &made {
            Ok(_) => ConditionState::good("Programmed"),
            Err(fault @ (Fault::Waits(_) | Fault::Unanswered(_))) => {
                ConditionState::bad("Pending", fault.to_string())
            }
            Err(fault) => ConditionState::bad("Invalid", fault.to_string()),
        };
        let at = made.as_ref().ok();
        let at = at.map(|it| (it.arn.as_str(), it.id.as_str()));
        if self.write_network_status(&object, verdict, at).await? {
            // Gateways may wait for it.
            let keys = self.look().touched_by_network(name);
            let gateways = keys.into_iter().filter(|it| matches!(it, Key::Gateway(_)));
            gateways.for_each(|key| self.queue.add(key));
        }
        made?;
        Ok(())
    }

    /// Writes the status; whether it is news.
    async fn write_network_status(
        &self,
        object: &ServiceNetwork,
        verdict: ConditionState,
        at: Option<(&str, &str)>,
    ) -> Result<bool, Undone> {
        let known = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let new = vec![verdict.condition("Programmed", generation)];
        let (arn, id) = match at {
            Some((arn, id)) => (Some(arn.to_owned()), Some(id.to_owned())),
            None => (known.arn.clone(), known.id.clone()),
        };
        let next = ServiceNetworkStatus {
            arn,
            id,
            conditions: merged(
                &self.settings.now(),
                &known.conditions,
                new,
                &["Programmed"],
            ),
        };
        if next == known {
            return Ok(false);
        }
        let form = self.form(kinds::service_network());
        self.set_status(&form, object, json!(next)).await?;
        Ok(true)
    }
}
