//! Who may call services and the services of networks. Nothing here opens a resource but the end of the policy that had
//! closed it: a policy that cannot be applied leaves its resource shut.

use aws_sdk_vpclattice::types::AuthType;

use super::{Fault, Lattice};
use crate::desired::{MANAGED_BY, ROUTE_NAME, ROUTE_NAMESPACE, ROUTE_TYPE, Tags, key};
use crate::guards::{Guard, Guards, Target};
use crate::kinds::RouteKind;
use crate::world::Name;

/// The tag of a network that says whose auth policy it has: the value of `ManagedBy`, and a namespace.
const GUARDED_BY: &str = "IAMAuthPolicy";

/// How a resource is guarded.
#[derive(Debug)]
pub(crate) enum Guarded {
    /// No policy asks for it.
    Not,
    /// As the policy says.
    AsAsked,
    /// The policy cannot be applied: only callers that an earlier one allowed get in.
    Shut(Fault),
}

/// What is not there needs no taking away.
pub(super) fn gone<T>(result: Result<T, Fault>) -> Result<(), Fault> {
    match result {
        Ok(_) | Err(Fault::NotFound(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Whether two documents say the same.
fn same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}

impl Lattice {
    async fn set_auth_type(&self, resource: &str, auth: AuthType) -> Result<(), Fault> {
        if resource.starts_with("sn-") {
            let update = self
                .client
                .update_service_network()
                .service_network_identifier(resource);
            update.auth_type(auth).send().await?;
        } else {
            let update = self.client.update_service().service_identifier(resource);
            update.auth_type(auth).send().await?;
        }
        Ok(())
    }

    async fn delete_auth(&self, resource: &str) -> Result<(), Fault> {
        let delete = self
            .client
            .delete_auth_policy()
            .resource_identifier(resource)
            .send()
            .await;
        gone(delete.map_err(Fault::from))
    }

    /// Guards a resource as the policy for it asks, if there is one. The policy is asked for here, where no other changes
    /// the same: so a plan of before cannot bring back what was taken away since.
    pub(crate) async fn guard(
        &self,
        resource: &str,
        (target, guards): (&Target, Guards<'_>),
    ) -> Result<Guarded, Fault> {
        // Nothing is done then, so that nothing waits.
        if guards(target).is_none() {
            return Ok(Guarded::Not);
        }
        let mut applied = self.guards.lock().await;
        let Some(guard) = guards(target) else {
            return Ok(Guarded::Not);
        };
        if !guard.held {
            let policy = &guard.policy;
            return Err(Fault::Waits(format!(
                "IAMAuthPolicy {policy} has no finalizer yet"
            )));
        }
        if applied.get(resource) == Some(&guard) {
            return Ok(Guarded::AsAsked);
        }
        applied.remove(resource);
        if resource.starts_with("sn-") {
            self.claim_network(resource, &guard).await?;
        }
        let guarded = self.shut(resource, &guard).await?;
        if matches!(guarded, Guarded::AsAsked) {
            applied.insert(resource.to_owned(), guard);
        }
        Ok(guarded)
    }

    /// Forgets how a resource is guarded, when something else has changed it.
    pub(super) async fn forget_guard(&self, resource: &str) {
        self.guards.lock().await.remove(resource);
    }

    async fn shut(&self, resource: &str, guard: &Guard) -> Result<Guarded, Fault> {
        // The policy first, so that those whom it lets in are not refused in between.
        let put = match &guard.document {
            Some(document) => {
                let put = self
                    .client
                    .put_auth_policy()
                    .resource_identifier(resource)
                    .policy(document);
                put.send().await.map(drop).map_err(Fault::from)
            }
            None => {
                let missing = format!("IAMAuthPolicy {} has no document", guard.policy);
                self.delete_auth(resource)
                    .await
                    .and(Err(Fault::Failed(missing)))
            }
        };
        // Also when that failed: AWS_IAM without a policy refuses every call.
        self.set_auth_type(resource, AuthType::AwsIam).await?;
        Ok(put.map_or_else(Guarded::Shut, |()| Guarded::AsAsked))
    }

    fn guarded_by(&self, namespace: &str) -> String {
        format!("{}/{namespace}", self.managed_by)
    }

    async fn tag_network(&self, arn: &str, namespace: &str) -> Result<(), Fault> {
        let tag = self.client.tag_resource().resource_arn(arn);
        tag.tags(key(GUARDED_BY), self.guarded_by(namespace))
            .send()
            .await?;
        Ok(())
    }

    /// Writes down that a network's auth policy is this controller's, unless another has one there.
    async fn claim_network(&self, network: &str, guard: &Guard) -> Result<(), Fault> {
        let get = self.client.get_service_network();
        let found = get.service_network_identifier(network).send().await?;
        let arn = super::sent(found.arn, "ARN of a service network")?;
        let own = self.guarded_by(&guard.policy.namespace);
        let tags = self.tags_of(&arn).await?;
        match tags.get(&key(GUARDED_BY)) {
            Some(by) if *by == own => return Ok(()),
            // The policy of another namespace of this cluster counted before.
            Some(by) if by.starts_with(&self.guarded_by("")) => {}
            Some(by) => {
                return Err(Fault::Conflict(format!(
                    "service network {network} has an auth policy of {by}"
                )));
            }
            // This controller made the network, and an earlier version of it wrote no tag of policies.
            None if self.is_own(&tags) => {}
            None if found.auth_type == Some(AuthType::AwsIam) => {
                let get = self.client.get_auth_policy().resource_identifier(network);
                let there = match get.send().await.map_err(Fault::from) {
                    Ok(found) => found.policy.filter(|it| !it.is_empty()),
                    Err(Fault::NotFound(_)) => None,
                    Err(fault) => return Err(fault),
                };
                let asked = guard.document.as_deref().unwrap_or_default();
                if there.is_some_and(|there| !same(&there, asked)) {
                    return Err(Fault::Conflict(format!(
                        "service network {network} has another auth policy, which none of this cluster's IAMAuthPolicies is known to have made"
                    )));
                }
            }
            None => {}
        }
        self.tag_network(&arn, &guard.policy.namespace).await
    }

    /// What a resource is in the cluster, if a policy of a namespace may have guarded it: with its ARN. What is written in
    /// the cluster cannot prove that, because a user who may change a policy may write anything there.
    async fn guarded(
        &self,
        resource: &str,
        namespace: &str,
    ) -> Result<Option<(String, Vec<Target>)>, Fault> {
        if resource.starts_with("sn-") {
            let get = self.client.get_service_network();
            let found = get.service_network_identifier(resource).send().await?;
            let arn = super::sent(found.arn, "ARN of a service network")?;
            let tags = self.tags_of(&arn).await?;
            let own = tags.get(&key(GUARDED_BY)) == Some(&self.guarded_by(namespace));
            let names = [found.name, found.id].into_iter().flatten();
            let targets = names.map(Target::Network).collect();
            return Ok(own.then_some((arn, targets)));
        }
        let get = self.client.get_service().service_identifier(resource);
        let arn = super::sent(get.send().await?.arn, "ARN of a service")?;
        let tags = self.tags_of(&arn).await?;
        Ok(route_of(&tags, &self.managed_by)
            .filter(|(_, route)| route.namespace == namespace)
            .map(|(kind, route)| (arn, vec![Target::Route(kind, route)])))
    }

    /// Ends what a policy of a namespace brought about. If another policy is for the same, that one counts at once.
    pub(crate) async fn release(
        &self,
        resource: &str,
        namespace: &str,
        guards: Guards<'_>,
    ) -> Result<(), Fault> {
        let mut applied = self.guards.lock().await;
        let (arn, targets) = match self.guarded(resource, namespace).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                tracing::warn!(
                    resource,
                    namespace,
                    "what is not proved to be guarded by a policy of the namespace stays as it is"
                );
                return Ok(());
            }
            other => return gone(other),
        };
        applied.remove(resource);
        if let Some(next) = targets.iter().find_map(guards) {
            if resource.starts_with("sn-") {
                self.tag_network(&arn, &next.policy.namespace).await?;
            }
            match self.shut(resource, &next).await? {
                // The document of the policy that ends must not count on.
                Guarded::Shut(_) => self.delete_auth(resource).await?,
                Guarded::AsAsked | Guarded::Not => drop(applied.insert(resource.to_owned(), next)),
            }
            return Ok(());
        }
        gone(self.set_auth_type(resource, AuthType::None).await)?;
        self.delete_auth(resource).await?;
        if resource.starts_with("sn-") {
            let untag = self.client.untag_resource().resource_arn(arn);
            let untag = untag.tag_keys(key(GUARDED_BY)).send().await;
            gone(untag.map_err(Fault::from))?;
        }
        Ok(())
    }
}

/// The route that a service was made for by a controller, by its tags.
fn route_of(tags: &Tags, managed_by: &str) -> Option<(RouteKind, Name)> {
    let tag = |name: &str| tags.get(&key(name)).map(String::as_str);
    if tag(MANAGED_BY) != Some(managed_by) {
        return None;
    }
    let mut kinds = RouteKind::ALL.into_iter();
    let kind = kinds.find(|it| tag(ROUTE_TYPE) == Some(it.tag()))?;
    let route = Name::new(tag(ROUTE_NAMESPACE)?, tag(ROUTE_NAME)?);
    Some((kind, route))
}
