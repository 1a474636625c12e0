//! Shifts the requests of a VPC Lattice service between its target groups, as a blue/green deployment does.
//!
//! Uses the AWS SDK for Rust alone, so the same program works against AWS:
//!
//! ```text
//! eval "$(sudo lath env)"
//! cargo run -- SERVICE                      # who serves: each listener's target groups, their weights and targets
//! cargo run -- SERVICE blue=90 green=10     # give these weights to the default action of each listener
//! ```
//!
//! Groups and the service go by name. A group that is new to a listener gets no request until one of its targets is healthy.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_vpclattice::types::{ForwardAction, RuleAction, TargetStatus, WeightedTargetGroup};
use aws_sdk_vpclattice::{Client, Error};

/// How long a group may take until one of its targets is healthy.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments
        .next()
        .ok_or("usage: shift SERVICE [GROUP=WEIGHT...]")?;
    let weights = arguments
        .map(|it| weight(&it))
        .collect::<Result<Vec<_>, _>>()?;

    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let service = service(&client, &name)
        .await?
        .ok_or_else(|| format!("there is no service {name}"))?;
    if !weights.is_empty() {
        shift(&client, &service, &weights).await?;
    }
    show(&client, &service).await?;
    Ok(())
}

/// `GROUP=WEIGHT`, the weight from 0 to 999.
fn weight(argument: &str) -> Result<(String, i32), String> {
    argument
        .split_once('=')
        .and_then(|(group, weight)| {
            Some((
                group.to_owned(),
                weight.parse().ok().filter(|it| (0..=999).contains(it))?,
            ))
        })
        .ok_or_else(|| format!("{argument:?} is not GROUP=WEIGHT with a weight from 0 to 999"))
}

async fn service(client: &Client, name: &str) -> Result<Option<String>, Error> {
    let mut services = client.list_services().into_paginator().items().send();
    while let Some(service) = services.try_next().await? {
        if service.name() == Some(name) {
            return Ok(service.id().map(str::to_owned));
        }
    }
    Ok(None)
}

async fn group(client: &Client, name: &str) -> Result<Option<String>, Error> {
    let mut groups = client.list_target_groups().into_paginator().items().send();
    while let Some(group) = groups.try_next().await? {
        if group.name() == Some(name) {
            return Ok(group.id().map(str::to_owned));
        }
    }
    Ok(None)
}

async fn listeners(client: &Client, service: &str) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    let mut listeners = client
        .list_listeners()
        .service_identifier(service)
        .into_paginator()
        .items()
        .send();
    while let Some(listener) = listeners.try_next().await? {
        ids.extend(listener.id().map(str::to_owned));
    }
    Ok(ids)
}

/// Gives the weights to the default action of every listener, once each group that gets requests has a healthy target.
async fn shift(
    client: &Client,
    service: &str,
    weights: &[(String, i32)],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut shares = Vec::new();
    for (name, weight) in weights {
        let id = group(client, name)
            .await?
            .ok_or_else(|| format!("there is no target group {name}"))?;
        shares.push((name, id, *weight));
    }
    for listener in listeners(client, service).await? {
        let now = client
            .get_listener()
            .service_identifier(service)
            .listener_identifier(&listener)
            .send()
            .await?;
        let mut known: Vec<WeightedTargetGroup> = match now.default_action() {
            Some(RuleAction::Forward(forward)) => forward.target_groups().to_vec(),
            _ => Vec::new(),
        };
        // Targets are probed from the moment that a listener forwards to their group: a new one begins without requests.
        let new = shares
            .iter()
            .filter(|(_, id, _)| known.iter().all(|it| it.target_group_identifier() != id));
        let new = new
            .map(|(_, id, _)| share(id, 0))
            .collect::<Result<Vec<_>, _>>()?;
        if !new.is_empty() && !known.is_empty() {
            known.extend(new);
            forward(client, service, &listener, known).await?;
            for (name, id, _) in shares.iter().filter(|(_, _, weight)| *weight > 0) {
                let healthy = tokio::time::timeout(PATIENCE, healthy(client, id)).await;
                healthy.map_err(|_| format!("{name} has no healthy target"))??;
            }
        }
        let wanted = shares
            .iter()
            .map(|(_, id, weight)| share(id, *weight))
            .collect::<Result<Vec<_>, _>>()?;
        forward(client, service, &listener, wanted).await?;
    }
    Ok(())
}

fn share(
    group: &str,
    weight: i32,
) -> Result<WeightedTargetGroup, aws_sdk_vpclattice::error::BuildError> {
    WeightedTargetGroup::builder()
        .target_group_identifier(group)
        .weight(weight)
        .build()
}

async fn forward(
    client: &Client,
    service: &str,
    listener: &str,
    shares: Vec<WeightedTargetGroup>,
) -> Result<(), Box<dyn std::error::Error>> {
    let action = RuleAction::Forward(
        ForwardAction::builder()
            .set_target_groups(Some(shares))
            .build()?,
    );
    client
        .update_listener()
        .service_identifier(service)
        .listener_identifier(listener)
        .default_action(action)
        .send()
        .await?;
    Ok(())
}

/// Waits until a target of the group is healthy, or is not checked at all.
async fn healthy(client: &Client, group: &str) -> Result<(), Error> {
    loop {
        let mut targets = client
            .list_targets()
            .target_group_identifier(group)
            .into_paginator()
            .items()
            .send();
        while let Some(target) = targets.try_next().await? {
            if matches!(
                target.status(),
                Some(TargetStatus::Healthy | TargetStatus::Unavailable)
            ) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One line for each target: listener, group, weight, address, status.
async fn show(client: &Client, service: &str) -> Result<(), Error> {
    for id in listeners(client, service).await? {
        let listener = client
            .get_listener()
            .service_identifier(service)
            .listener_identifier(id)
            .send()
            .await?;
        let Some(RuleAction::Forward(forward)) = listener.default_action() else {
            continue;
        };
        for share in forward.target_groups() {
            let group = client
                .get_target_group()
                .target_group_identifier(share.target_group_identifier())
                .send()
                .await?;
            let mut targets = client
                .list_targets()
                .target_group_identifier(share.target_group_identifier())
                .into_paginator()
                .items()
                .send();
            while let Some(target) = targets.try_next().await? {
                println!(
                    "{} {} {} {}:{} {}",
                    listener.name().unwrap_or_default(),
                    group.name().unwrap_or_default(),
                    share.weight().unwrap_or_default(),
                    target.id().unwrap_or_default(),
                    target.port().unwrap_or_default(),
                    target
                        .status()
                        .map(TargetStatus::as_str)
                        .unwrap_or_default(),
                );
            }
        }
    }
    Ok(())
}
