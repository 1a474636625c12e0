//! EKS's errors, in AWS's words as far as they are known.

use lath_store::View;
use lath_wire::{ApiError, Doc};

/// The members that say what an error is about.
pub(crate) trait About {
    fn about_cluster(self, name: &str) -> Self;
    fn about_group(self, name: &str) -> Self;
    fn about_addon(self, name: &str) -> Self;
}

impl About for ApiError {
    fn about_cluster(self, name: &str) -> Self {
        self.with_field("clusterName", Doc::String(name.to_owned()))
    }

    fn about_group(self, name: &str) -> Self {
        self.with_field("nodegroupName", Doc::String(name.to_owned()))
    }

    fn about_addon(self, name: &str) -> Self {
        self.with_field("addonName", Doc::String(name.to_owned()))
    }
}

/// 400: a member is wrong.
pub(crate) fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", 400, message)
}

/// 400: the state of things forbids it.
pub(crate) fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidRequestException", 400, message)
}

/// 404.
pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", 404, message)
}

/// 409: a name is taken, or something else is in the way.
pub(crate) fn in_use(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceInUseException", 409, message)
}

/// 400: one more would be too many.
pub(crate) fn too_many(what: &str, limit: usize) -> ApiError {
    let text = format!("{what} limit of {limit} has been reached.");
    ApiError::new("ResourceLimitExceededException", 400, text)
}

pub(crate) fn no_cluster(name: &str) -> ApiError {
    not_found(format!("No cluster found for name: {name}."))
}

pub(crate) fn no_group(cluster: &str, name: &str) -> ApiError {
    not_found(format!("No node group found for name: {name}."))
        .about_cluster(cluster)
        .about_group(name)
}

pub(crate) fn no_addon(cluster: &str, name: &str) -> ApiError {
    not_found(format!("No addon: {name} found in cluster: {cluster}"))
        .about_cluster(cluster)
        .about_addon(name)
}

/// The cluster is not in a state in which it can be changed.
pub(crate) fn not_active(name: &str) -> ApiError {
    invalid_request(format!("Cluster '{name}' is not in ACTIVE status")).about_cluster(name)
}

/// What Lath does not do.
pub(crate) fn unsupported(what: &str) -> ApiError {
    invalid_parameter(format!("Lath does not support {what}."))
}

/// What EC2 refused, as EKS tells it.
pub(crate) fn of_ec2(error: &ApiError) -> ApiError {
    let (code, message) = (&error.code, &error.message);
    invalid_parameter(format!(
        "{message} (Service: AmazonEC2; Status Code: {}; Error Code: {code})",
        error.status
    ))
}

/// A cluster that exists, whatever else is asked of it.
pub(crate) fn check_cluster(view: &View, name: &str) -> Result<(), ApiError> {
    crate::clusters::find(view, name).map(drop)
}
