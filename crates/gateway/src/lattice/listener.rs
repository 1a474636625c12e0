//! Listeners of a service, and their rules.

use std::collections::BTreeMap;

use aws_sdk_vpclattice::types::{ListenerProtocol, RuleUpdate};

use super::rules::{Changes, Known, Retag, changes};
use super::{Fault, Lattice, sent, shape};
use crate::desired::{Action, Listener, Rule};
use crate::plan::most_rules;
use crate::{long_tags, matching, traffic};

impl Lattice {
    /// Makes a service's listeners what they should be, and deletes the others.
    pub(super) async fn ensure_listeners(
        &self,
        service: &str,
        desired: &[Listener],
    ) -> Result<(), Fault> {
        let list = self.client.list_listeners().service_identifier(service);
        let mut there = list
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?;
        let mut work = Vec::new();
        for listener in desired {
            let at = there.iter().position(|it| {
                it.port == Some(listener.port)
                    && it.protocol.as_ref().map(ListenerProtocol::as_str)
                        == Some(listener.protocol.as_str())
            });
            work.push((listener, at.map(|at| there.swap_remove(at))));
        }
        for gone in there {
            let id = sent(gone.id, "id of a listener")?;
            let delete = self.client.delete_listener().service_identifier(service);
            match delete
                .listener_identifier(id)
                .send()
                .await
                .map_err(Fault::from)
            {
                Ok(_) | Err(Fault::NotFound(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        for (listener, known) in work {
            let id = match known {
                Some(known) => {
                    let id = sent(known.id, "id of a listener")?;
                    let arn = sent(known.arn, "ARN of a listener")?;
                    self.fit_default(service, &id, &arn, &listener.default)
                        .await?;
                    id
                }
                None => self.create_listener(service, listener).await?,
            };
            self.fit_rules(service, &id, &listener.rules).await?;
        }
        Ok(())
    }

    async fn create_listener(&self, service: &str, listener: &Listener) -> Result<String, Fault> {
        let create = self
            .client
            .create_listener()
            .service_identifier(service)
            .name(&listener.name)
            .protocol(ListenerProtocol::from(listener.protocol.as_str()))
            .port(listener.port)
            .default_action(shape::rule_action(&listener.default)?);
        let made = create.send().await?;
        if let Some(arn) = made.arn {
            self.remembered()
                .insert(arn, (None, Some(listener.default.clone()), None));
        }
        sent(made.id, "id of a listener")
    }

    async fn fit_default(
        &self,
        service: &str,
        id: &str,
        arn: &str,
        wanted: &Action,
    ) -> Result<(), Fault> {
        let known = self
            .remembered()
            .get(arn)
            .and_then(|(_, action, _)| action.clone());
        let known = match known {
            Some(known) => Some(known),
            None => {
                let get = self.client.get_listener().service_identifier(service);
                let found = get.listener_identifier(id).send().await?;
                shape::action(found.default_action.as_ref())
            }
        };
        if known.as_ref() != Some(wanted) {
            let update = self.client.update_listener().service_identifier(service);
            let update = update
                .listener_identifier(id)
                .default_action(shape::rule_action(wanted)?);
            update.send().await?;
        }
        self.remembered()
            .insert(arn.to_owned(), (None, Some(wanted.clone()), None));
        Ok(())
    }

    /// The rules of a listener that are there, without the default one. Those whose content is not remembered are read.
    async fn rules(&self, service: &str, listener: &str) -> Result<Vec<Known>, Fault> {
        let list = self
            .client
            .list_rules()
            .service_identifier(service)
            .listener_identifier(listener);
        let all = list
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?;
        let mut rules = Vec::new();
        for rule in all {
            let (Some(arn), Some(id), Some(priority)) = (rule.arn, rule.id, rule.priority) else {
                continue;
            };
            if rule.is_default == Some(true) {
                continue;
            }
            let known = self.remembered().get(&arn).cloned();
            let (condition, action, policy) = match known {
                Some(known) => known,
                None => {
                    let get = self.client.get_rule().service_identifier(service);
                    let rule = get
                        .listener_identifier(listener)
                        .rule_identifier(&id)
                        .send()
                        .await?;
                    let mut condition = shape::condition(rule.r#match.as_ref());
                    let (more, policy) = self.texts_of(&arn).await?;
                    if let Some(condition) = &mut condition {
                        condition.more = more;
                    }
                    let content = (condition, shape::action(rule.action.as_ref()), policy);
                    self.remembered().insert(arn.clone(), content.clone());
                    content
                }
            };
            rules.push(Known {
                id,
                priority,
                condition,
                action,
                arn,
                policy,
            });
        }
        Ok(rules)
    }

    async fn fit_rules(&self, service: &str, listener: &str, wanted: &[Rule]) -> Result<(), Fault> {
        let known = self.rules(service, listener).await?;
        let Some(changes) = changes(&known, wanted, most_rules(self.addresses)) else {
            return Err(Fault::Failed(format!(
                "there is no room for {} rules",
                wanted.len()
            )));
        };
        if changes.delete_first {
            self.delete_rules(service, listener, &changes).await?;
        }
        self.retag(&changes.retag.0).await?;
        self.update_rules(service, listener, &changes).await?;
        self.retag(&changes.retag.1).await?;
        for (priority, rule) in &changes.create {
            // Names are unique in a listener, and say nothing: what a rule is, is its content.
            let now = self.clock.system_time();
            let now = now.duration_since(std::time::UNIX_EPOCH);
            let now = now.unwrap_or_default().as_micros();
            let create = self
                .client
                .create_rule()
                .service_identifier(service)
                .listener_identifier(listener)
                .name(format!("k8s-{now}-rule-{priority}"))
                .priority(*priority)
                .r#match(shape::rule_match(&rule.condition)?)
                .action(shape::rule_action(&rule.action)?);
            let policy = rule.policy();
            let mut tags = policy.as_deref().map(traffic::tags).unwrap_or_default();
            if let Some(more) = &rule.condition.more {
                tags.extend(long_tags::tags(matching::TAG, more));
            }
            let tags = (!tags.is_empty()).then(|| tags.into_iter().collect());
            let made = create.set_tags(tags).send().await?;
            if let Some(arn) = made.arn {
                let content = (
                    Some(rule.condition.clone()),
                    Some(rule.action.clone()),
                    policy,
                );
                self.remembered().insert(arn, content);
            }
        }
        if !changes.delete_first {
            self.delete_rules(service, listener, &changes).await?;
        }
        Ok(())
    }

    /// What of a rule's condition is in its tags, and the text of its traffic policy.
    async fn texts_of(&self, arn: &str) -> Result<(Option<String>, Option<String>), Fault> {
        if !self.extended {
            return Ok((None, None));
        }
        let tags = self.tags_of(arn).await?;
        let more = long_tags::text_of(matching::TAG, &tags);
        Ok((more, traffic::text_of(&tags)))
    }

    /// Gives rules other traffic policies. The first part of a text replaces all parts of the one before.
    async fn retag(&self, all: &[Retag]) -> Result<(), Fault> {
        for Retag { arn, policy } in all {
            match policy {
                Some(text) => {
                    let tag = self.client.tag_resource().resource_arn(arn);
                    let tags = traffic::tags(text).into_iter().collect();
                    tag.set_tags(Some(tags)).send().await?;
                }
                None => {
                    let untag = self.client.untag_resource().resource_arn(arn);
                    untag.tag_keys(traffic::first_key()).send().await?;
                }
            }
            if let Some((_, _, known)) = self.remembered().get_mut(arn) {
                known.clone_from(policy);
            }
        }
        Ok(())
    }

    async fn update_rules(
        &self,
        service: &str,
        listener: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        if changes.update.is_empty() {
            return Ok(());
        }
        let mut updates = Vec::new();
        for (id, priority, rule) in &changes.update {
            let update = RuleUpdate::builder()
                .rule_identifier(id)
                .priority(*priority)
                .r#match(shape::rule_match(&rule.condition)?)
                .action(shape::rule_action(&rule.action)?);
            let update = update
                .build()
                .map_err(|error| Fault::Failed(error.to_string()))?;
            updates.push(update);
        }
        let batch = self.client.batch_update_rule().service_identifier(service);
        let answer = batch
            .listener_identifier(listener)
            .set_rules(Some(updates))
            .send()
            .await;
        // Whatever came of it, the answer says it; without one the rules are read again.
        let changed: Vec<_> = changes
            .update
            .iter()
            .map(|(id, _, _)| format!("/rule/{id}"))
            .collect();
        let mut texts = BTreeMap::new();
        self.remembered().retain(|arn, (condition, _, policy)| {
            let is_changed = changed.iter().any(|it| arn.ends_with(it));
            if is_changed {
                // Only a rule without such a text becomes another.
                let more = condition.as_mut().and_then(|it| it.more.take());
                texts.insert(arn.clone(), (more, policy.take()));
            }
            !is_changed
        });
        let answer = answer?;
        for rule in answer.successful() {
            if let Some(arn) = rule.arn() {
                let Some((more, policy)) = texts.remove(arn) else {
                    continue;
                };
                let mut condition = shape::condition(rule.r#match());
                if let Some(condition) = &mut condition {
                    condition.more = more;
                }
                let content = (condition, shape::action(rule.action()), policy);
                self.remembered().insert(arn.to_owned(), content);
            }
        }
        match answer.unsuccessful().first() {
            None => Ok(()),
            Some(failure) => {
                let rule = failure.rule_identifier().unwrap_or_default();
                let why = failure.failure_message().unwrap_or_default();
                Err(Fault::Failed(format!("rule {rule}: {why}")))
            }
        }
    }

    async fn delete_rules(
        &self,
        service: &str,
        listener: &str,
        changes: &Changes,
    ) -> Result<(), Fault> {
        for id in &changes.delete {
            let delete = self.client.delete_rule().service_identifier(service);
            let delete = delete.listener_identifier(listener).rule_identifier(id);
            match delete.send().await.map_err(Fault::from) {
                Ok(_) | Err(Fault::NotFound(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
