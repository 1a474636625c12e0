//! The services of Gateways, and the tags that lead from them to routes.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_vpclattice::types::{ListenerProtocol, ServiceStatus};

use super::{Fault, Lattice, id_of, sent, shape};
use crate::desired::{Action, Protocol, Tags, has_tags, key};
use crate::entrance::{ADDRESS_TAG, CLIENTS_TAG, Door, Entered, Entrance, GATEWAY_TAG, ROUTES_TAG};
use crate::guards::Guards;
use crate::long_tags;

/// The tag that says that what a listener asks clients for is its Gateway's.
const ASKS: &str = "ClientValidation";

/// The tags that ask clients for certificates.
fn clients_tags(text: &str) -> Tags {
    let mut tags = long_tags::tags(CLIENTS_TAG, text);
    tags.insert(key(ASKS), "Gateway".to_owned());
    tags
}

type Doors = BTreeMap<(i32, Protocol), (String, BTreeSet<String>)>;

impl Lattice {
    /// Makes a Gateway's service what it should be.
    pub(crate) async fn ensure_entrance(
        &self,
        desired: &Entrance,
        guards: Guards<'_>,
    ) -> Result<Entered, Fault> {
        let (id, arn) = self.entrance_service(desired).await?;
        let found = self.client.get_service().service_identifier(&id).send();
        let service = match found.await.map_err(Fault::from) {
            Ok(service) => service,
            Err(fault) => {
                if matches!(fault, Fault::NotFound(_)) {
                    self.remember_service(&desired.name, None).await;
                    return Err(Fault::Waits(fault.to_string()));
                }
                return Err(fault);
            }
        };
        if service.status != Some(ServiceStatus::Active) {
            let status = service.status.map(|it| it.to_string()).unwrap_or_default();
            let message = format!("service {} is {status}", desired.name);
            return Err(Fault::Waits(message));
        }
        let associated = self
            .ensure_associations(&id, &desired.networks, guards)
            .await;
        let doors = self.ensure_doors(&id, &desired.doors).await?;
        associated?;
        let address = self.tags_of(&arn).await?.remove(ADDRESS_TAG);
        let dns = service.dns_entry.and_then(|it| it.domain_name);
        Ok(Entered {
            domain_name: dns.unwrap_or_default(),
            address: address.filter(|it| !it.is_empty()),
            shown: desired.shown.clone(),
            doors,
        })
    }

    /// Id and ARN of a Gateway's service, which is made where it is not there.
    async fn entrance_service(&self, desired: &Entrance) -> Result<(String, String), Fault> {
        let name = &desired.name;
        if let Some(known) = self.find_service(name).await? {
            match self.tags_if_there(Some(&known.arn)).await? {
                Some(tags) if has_tags(&tags, &desired.identity) => {
                    return Ok((known.id, known.arn));
                }
                Some(_) => return Err(Fault::Conflict(format!("service {name} is another's"))),
                None => self.remember_service(name, None).await,
            }
        }
        let tags = desired.identity.clone().into_iter().collect();
        let create = self.client.create_service().name(name).set_tags(Some(tags));
        let made = match create.send().await.map_err(Fault::from) {
            Ok(made) => made,
            Err(fault) => {
                // Also a request without an answer may have made it.
                *self.services.lock().await = None;
                return Err(match fault {
                    Fault::Conflict(message) => Fault::Waits(message),
                    fault => fault,
                });
            }
        };
        let arn = sent(made.arn, "ARN of a service")?;
        let known = super::KnownService {
            id: id_of(&arn),
            arn,
        };
        let found = (known.id.clone(), known.arn.clone());
        self.remember_service(name, Some(known)).await;
        Ok(found)
    }

    /// Makes the listeners of a Gateway's service what they should be; gives their ARNs.
    async fn ensure_doors(&self, service: &str, desired: &[Door]) -> Result<Doors, Fault> {
        let list = self.client.list_listeners().service_identifier(service);
        let list = list.into_paginator().items().send();
        let mut there = list.collect::<Result<Vec<_>, _>>().await?;
        let mut arns = BTreeMap::new();
        let mut missing = Vec::new();
        for door in desired {
            let at = there.iter().position(|it| {
                it.port == Some(door.port)
                    && it.protocol.as_ref().map(ListenerProtocol::as_str)
                        == Some(door.protocol.as_str())
            });
            let Some(known) = at.map(|at| there.swap_remove(at)) else {
                missing.push(door);
                continue;
            };
            let arn = sent(known.arn, "ARN of a listener")?;
            // Before the listener takes more hosts: no client gets in unasked.
            if door.protocol == Protocol::Https {
                self.fit_clients(&arn, door.asks.as_ref()).await?;
            }
            self.fit_text(&arn, GATEWAY_TAG, Some(&door.text)).await?;
            arns.insert((door.port, door.protocol), (arn, door.names.clone()));
        }
        for gone in there {
            // What listens on the port may be about to be another protocol's.
            let delete = self.client.delete_listener().service_identifier(service);
            let delete = delete.listener_identifier(sent(gone.id, "id of a listener")?);
            match delete.send().await.map_err(Fault::from) {
                Ok(_) | Err(Fault::NotFound(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        for door in missing {
            let mut tags = long_tags::tags(GATEWAY_TAG, &door.text);
            tags.extend(door.asks.iter().flat_map(|it| clients_tags(it)));
            let create = self.client.create_listener().service_identifier(service);
            let made = create
                .name(format!("{}-{}", door.protocol.in_names(), door.port))
                .protocol(ListenerProtocol::from(door.protocol.as_str()))
                .port(door.port)
                .default_action(shape::rule_action(&Action::Fixed(404))?)
                .set_tags(Some(tags.into_iter().collect()))
                .send()
                .await?;
            let arn = sent(made.arn, "ARN of a listener")?;
            self.remember_text(&arn, GATEWAY_TAG, Some(door.text.clone()));
            self.remember_text(&arn, CLIENTS_TAG, door.asks.clone());
            arns.insert((door.port, door.protocol), (arn, door.names.clone()));
        }
        Ok(arns)
    }

    /// Deletes a Gateway's service, if it is the Gateway's. Done when nothing of it is there.
    pub(crate) async fn withdraw_entrance(&self, name: &str, identity: &Tags) -> Result<(), Fault> {
        let names = [name.to_owned()];
        if self.own_service(&names, identity).await?.is_none() {
            // The cached list cannot prove that it is gone, and no later pass would look again: the next one reads a new list.
            *self.services.lock().await = None;
        }
        self.delete_service(name, identity).await
    }

    /// Whether a Gateway has a service of its own, as far as is known.
    pub(crate) async fn has_entrance(&self, name: &str, identity: &Tags) -> Result<bool, Fault> {
        let names = [name.to_owned()];
        Ok(self.own_service(&names, identity).await?.is_some())
    }

    /// Says at a route's service which entrances lead to it.
    pub(crate) async fn attach(&self, service: &str, text: &str) -> Result<(), Fault> {
        let text = (text != "[]").then(|| text.to_owned());
        let fits = |it: &String| long_tags::fits(it, long_tags::MANY_PARTS);
        if text.as_ref().is_some_and(|it| !fits(it)) {
            let message = "the route has more listeners and hostnames than a tag of its service";
            return Err(Fault::Failed(message.to_owned()));
        }
        self.fit_text(service, ROUTES_TAG, text.as_ref()).await
    }

    /// Makes what a listener asks clients for what it should be. What somebody else has put there stays while the Gateway says
    /// nothing of it.
    async fn fit_clients(&self, arn: &str, wanted: Option<&String>) -> Result<(), Fault> {
        let at = (arn.to_owned(), CLIENTS_TAG.to_owned());
        let known = self.texts().get(&at).cloned();
        if known.as_ref().is_some_and(|it| it.as_ref() == wanted) {
            return Ok(());
        }
        let tags = self.tags_of(arn).await?;
        let is_own = tags.contains_key(&key(ASKS));
        match wanted {
            Some(text) if !is_own || long_tags::text_of(CLIENTS_TAG, &tags).as_ref() != wanted => {
                let tags = clients_tags(text).into_iter().collect();
                let tag = self.client.tag_resource().resource_arn(arn);
                tag.set_tags(Some(tags)).send().await?;
            }
            None if is_own => {
                let untag = self.client.untag_resource().resource_arn(arn);
                let untag = untag.tag_keys(CLIENTS_TAG).tag_keys(key(ASKS));
                untag.send().await?;
            }
            _ => {}
        }
        self.remember_text(arn, CLIENTS_TAG, wanted.cloned());
        Ok(())
    }

    /// Makes a long tag of a resource what it should be.
    async fn fit_text(&self, arn: &str, name: &str, wanted: Option<&String>) -> Result<(), Fault> {
        let at = (arn.to_owned(), name.to_owned());
        let known = self.texts().get(&at).cloned();
        let known = match known {
            Some(known) => known,
            None => long_tags::text_of(name, &self.tags_of(arn).await?),
        };
        if known.as_ref() != wanted {
            match wanted {
                Some(text) => {
                    let tag = self.client.tag_resource().resource_arn(arn);
                    let tags = long_tags::tags(name, text).into_iter().collect();
                    tag.set_tags(Some(tags)).send().await?;
                }
                None => {
                    let untag = self.client.untag_resource().resource_arn(arn);
                    untag.tag_keys(name).send().await?;
                }
            }
        }
        self.remember_text(arn, name, wanted.cloned());
        Ok(())
    }

    fn remember_text(&self, arn: &str, name: &str, text: Option<String>) {
        self.texts().insert((arn.to_owned(), name.to_owned()), text);
    }
}
