//! Roles that requests pass to EKS, and to EC2 for nodes.

use std::sync::Arc;

use lath_authz::{Access, Scope};
use lath_control::Cell;
use lath_iam::records::Role;
use lath_iam::resource_types::ROLE;
use lath_iam::trusts_service;
use lath_store::View;
use lath_wire::{ApiError, Operation};

use crate::fault;

/// Who assumes the roles of clusters and of add-ons.
pub(crate) const EKS: &str = "eks.amazonaws.com";
/// Who assumes the roles of pods.
pub(crate) const PODS: &str = "pods.eks.amazonaws.com";

/// A role of the account, by its ARN.
pub(crate) fn find(cell: &Cell, view: &View, arn: &str) -> Option<Arc<Role>> {
    lath_iam::pass_role(view, cell.owner(), arn).ok()
}

/// The role of a cluster.
///
/// # Errors
/// `InvalidParameterException` when it is not there, or does not trust EKS.
pub(crate) fn of_cluster(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Role>, ApiError> {
    let role = find(cell, view, arn);
    let role = role.filter(|it| trusts_service(cell.owner(), it, EKS, "sts:AssumeRole"));
    role.ok_or_else(|| {
        fault::invalid_parameter(format!(
            "Role with arn: {arn}, could not be assumed because it does not exist or the trusted entity is not correct"
        ))
    })
}

/// The role of a group's nodes.
///
/// # Errors
/// `InvalidParameterException` when it is not there, or does not trust EC2.
pub(crate) fn of_nodes(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Role>, ApiError> {
    let role = find(cell, view, arn).ok_or_else(|| {
        fault::invalid_parameter(format!("The role with ARN {arn} was not found."))
    })?;
    let own = cell.partition().ec2_principal();
    let trusted = ["ec2.amazonaws.com", own];
    if trusted
        .iter()
        .any(|it| trusts_service(cell.owner(), &role, it, "sts:AssumeRole"))
    {
        return Ok(role);
    }
    Err(fault::invalid_parameter(format!(
        "Following required service principals [{own}] were not found in the trust relationships of nodeRole {arn}"
    )))
}

/// The role of a service account's pods.
///
/// # Errors
/// `InvalidParameterException` when it is not there.
pub(crate) fn of_pods(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Role>, ApiError> {
    find(cell, view, arn)
        .ok_or_else(|| fault::invalid_parameter("Role provided in the request does not exist."))
}

/// What passing roles needs permission for.
pub(crate) trait Passing<Op> {
    /// `iam:PassRole` on the roles that a request names, to a service.
    fn passing(self, roles: fn(&Op) -> Vec<String>, to: fn(&Scope<'_>) -> String) -> Self;
}

impl<Op: Operation> Passing<Op> for Access<Op> {
    fn passing(self, roles: fn(&Op) -> Vec<String>, to: fn(&Scope<'_>) -> String) -> Self {
        self.also("iam:PassRole", &ROLE, move |op, _| roles(op))
            .with("iam:PassedToService", move |_, at| to(at))
    }
}
