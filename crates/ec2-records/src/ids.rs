//! How ids are read, and what is said of bad ones.

use std::str::FromStr;
use std::sync::Arc;

use lath_model::id::InvalidId;
use lath_service::{IdForm, Resource};
use lath_store::{Record, View};
use lath_wire::ApiError;

use crate::errors::client;
use crate::resources::ids;

/// The association of a route table with a subnet.
pub const ROUTE_TABLE_ASSOCIATION: IdForm = ids(
    "rtbassoc",
    "InvalidRouteTableAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist",
);
/// The association of a network ACL with a subnet.
pub const ACL_ASSOCIATION: IdForm = ids(
    "aclassoc",
    "InvalidNetworkAclAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist",
);
/// The attachment of a network interface.
pub const ATTACHMENT: IdForm = ids(
    "eni-attach",
    "InvalidNetworkInterfaceAttachmentId.Malformed",
    "InvalidAttachmentID.NotFound",
    "The attachment ID '{}' does not exist",
);
/// The association of an elastic address.
pub const ASSOCIATION: IdForm = ids(
    "eipassoc",
    "InvalidAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist",
);

/// What EC2 says of ids.
pub trait Ids {
    /// Reads an id.
    ///
    /// # Errors
    /// The form's `malformed`.
    fn parse<T: FromStr>(&self, text: &str) -> Result<T, ApiError>;

    /// Refuses text that is not such an id.
    ///
    /// # Errors
    /// The form's `malformed`.
    fn check(&self, text: &str) -> Result<(), ApiError>;

    /// The error for an id that nothing has.
    fn not_found(&self, id: &str) -> ApiError;

    /// The error for text that is no such id.
    fn malformed(&self, text: &str) -> ApiError;
}

impl Ids for IdForm {
    fn parse<T: FromStr>(&self, text: &str) -> Result<T, ApiError> {
        text.parse().map_err(|_| self.malformed(text))
    }

    fn check(&self, text: &str) -> Result<(), ApiError> {
        if is_id(self.prefix, text) {
            Ok(())
        } else {
            Err(self.malformed(text))
        }
    }

    fn not_found(&self, id: &str) -> ApiError {
        client(self.not_found, self.absent(id))
    }

    fn malformed(&self, text: &str) -> ApiError {
        let shown: String = text.chars().take(64).collect();
        let prefix = self.prefix;
        let rest = text.strip_prefix(prefix);
        let rule = match rest.is_some_and(|it| it.starts_with('-')) {
            true => "; the Id may only contain lowercase alphanumeric characters and a single dash",
            false => "",
        };
        let message = format!("Invalid id: \"{shown}\" (expecting \"{prefix}-...\"{rule})");
        client(self.malformed, message)
    }
}

/// The record of an id that a caller gave.
///
/// # Errors
/// The kind's `malformed` or `not_found`.
pub fn find<R: Resource>(view: &View, text: &str) -> Result<Arc<R>, ApiError> {
    find_as(&R::RESOURCE.id, view, text)
}

/// As [`find`], of a record that is no resource: an association, such as that of an instance profile.
pub fn find_as<R: Record>(form: &IdForm, view: &View, text: &str) -> Result<Arc<R>, ApiError> {
    let found = view.get::<R>(text);
    found.ok_or_else(|| match form.check(text) {
        Ok(()) => form.not_found(text),
        Err(malformed) => malformed,
    })
}

/// Whether the text has the form of an id: a prefix, a hyphen, 8 or 17 lower-case letters and digits.
pub fn is_id(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|tail| {
            matches!(tail.len(), 8 | 17)
                && tail
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        })
}

/// The id of something that exists without having been created: it follows from a name (FNV-1a).
pub fn fixed<T: FromStr<Err = InvalidId>>(prefix: &str, name: &str) -> T {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{prefix}-0{hash:016x}")
        .parse()
        .expect("a prefix, a zero and 16 hexadecimal digits are an id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vpc;

    #[test]
    fn bad_ids_say_what_is_wrong() {
        let view = View::default();
        for (text, code) in [
            ("None", "InvalidVpcID.Malformed"),
            ("", "InvalidVpcID.Malformed"),
            ("vpc-XYZ", "InvalidVpcID.Malformed"),
            ("subnet-0123456789abcdef0", "InvalidVpcID.Malformed"),
            ("vpc-0123456789abcdef0", "InvalidVpcID.NotFound"),
            ("vpc-01234567", "InvalidVpcID.NotFound"),
        ] {
            let error = find::<Vpc>(&view, text).unwrap_err();
            assert_eq!((error.code.as_ref(), error.status), (code, 400), "{text:?}");
        }
    }
}
