//! What the models say of requests' values.

pub(crate) mod eks_auth;
pub(crate) mod sts;
