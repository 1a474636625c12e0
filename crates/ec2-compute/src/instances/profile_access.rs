//! What requests about instance profiles of instances are judged on.

use lath_authz::Scope;
use lath_ec2_records::ProfileAssociation;

use super::profiles::named;
use super::request::InstanceProfile;

/// The instance that an association is about.
pub(super) fn associated(at: &Scope<'_>, association: &str) -> Option<String> {
    let found = at.view.get::<ProfileAssociation>(association)?;
    Some(found.instance.to_string())
}

/// The ARN of the profile that an instance is to get.
pub(super) fn new_profile(at: &Scope<'_>, given: &InstanceProfile) -> Option<String> {
    let found = named(at.owner(), at.view, given).ok();
    let found = found.map(|it| it.arn(at.owner()));
    found.or_else(|| given.arn.clone())
}

/// The name of the role that comes with a profile.
pub(super) fn passed_role(at: &Scope<'_>, given: &InstanceProfile) -> Option<String> {
    named(at.owner(), at.view, given).ok()?.role.clone()
}
