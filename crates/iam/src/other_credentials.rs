//! What a user may have beside access keys: a console password, MFA devices, SSH keys, certificates, credentials of
//! a service. None of these can be made here, so every list is empty and no password is found. Clients that delete a
//! user, such as Terraform with `force_destroy`, ask for each of them first.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::errors::no_such_entity;
use crate::holder::find;
use crate::records::User;
use crate::resource_types::{USER, about};

/// `List... -> Output, member: Item { fields }`: a list of a user's credentials of a kind that cannot be made.
macro_rules! empty_lists {
    ($($op:ident -> $out:ident, $wire:literal: $item:ident { $($field_wire:literal $field:ident: $ty:ty,)* };)*) => {$(
        #[derive(Debug, Clone, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(dead_code, reason = "an empty list has one page")]
        pub(crate) struct $op {
            user_name: Option<String>,
            marker: Option<String>,
            max_items: Option<i64>,
        }

        impl OfUser for $op {
            type Output = $out;
            const EMPTY: $out = $out { items: Vec::new(), is_truncated: Some(false) };
            fn user_name(&self) -> Option<&str> {
                self.user_name.as_deref()
            }
        }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $out {
            #[serde(rename = $wire)]
            items: Vec<$item>,
            is_truncated: Option<bool>,
        }

        /// What the list would hold.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub(crate) struct $item {
            $(#[serde(rename = $field_wire)] $field: $ty,)*
        }
    )*};
}

/// A request for a list that is empty for each user there is.
trait OfUser {
    type Output;
    const EMPTY: Self::Output;
    fn user_name(&self) -> Option<&str>;
}

empty_lists! {
    ListSSHPublicKeys -> SshPublicKeys, "SSHPublicKeys": SshPublicKey {
        "UserName" user: String,
        "SSHPublicKeyId" id: String,
        "Status" status: String,
        "UploadDate" uploaded_at: Timestamp,
    };
    ListMFADevices -> MfaDevices, "MFADevices": MfaDevice {
        "UserName" user: String,
        "SerialNumber" serial: String,
        "EnableDate" enabled_at: Timestamp,
    };
    ListSigningCertificates -> Certificates, "Certificates": Certificate {
        "UserName" user: String,
        "CertificateId" id: String,
        "CertificateBody" body: String,
        "Status" status: String,
    };
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "an empty list has one page, of every service")]
pub(crate) struct ListServiceSpecificCredentials {
    user_name: Option<String>,
    service_name: Option<String>,
    all_users: Option<bool>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceSpecificCredentials {
    service_specific_credentials: Vec<ServiceSpecificCredential>,
    is_truncated: Option<bool>,
}

/// What the list would hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceSpecificCredential {
    user_name: String,
    status: String,
    create_date: Timestamp,
    service_specific_credential_id: String,
    service_name: String,
}

impl OfUser for ListServiceSpecificCredentials {
    type Output = ServiceSpecificCredentials;
    const EMPTY: Self::Output = ServiceSpecificCredentials {
        service_specific_credentials: Vec::new(),
        is_truncated: Some(false),
    };
    fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "an empty list has one page, of every state")]
pub(crate) struct ListVirtualMFADevices {
    assignment_status: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VirtualDevices {
    #[serde(rename = "VirtualMFADevices")]
    items: Vec<VirtualDevice>,
    is_truncated: Option<bool>,
}

/// What the list would hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VirtualDevice {
    serial_number: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetLoginProfile {
    user_name: Option<String>,
}

/// The output of GetLoginProfile. No user has a login profile, so no call answers it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneLoginProfile {
    login_profile: LoginProfile,
}

/// A console password.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoginProfile {
    user_name: String,
    create_date: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteLoginProfile {
    user_name: Option<String>,
}

operations! {
    for Iam as "iam";
    read ListSSHPublicKeys -> SshPublicKeys = none => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read ListMFADevices -> MfaDevices = none => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read ListSigningCertificates -> Certificates = none =>
        on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read ListServiceSpecificCredentials -> ServiceSpecificCredentials = none =>
        on(&USER, |op, at| match op.all_users {
            Some(true) => Some("*".to_owned()),
            _ => about(at.caller, op.user_name.as_deref()),
        });
    read ListVirtualMFADevices -> VirtualDevices = no_devices => any();
    read GetLoginProfile -> OneLoginProfile = no_password =>
        on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    change DeleteLoginProfile -> () = no_password_to_delete =>
        on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
}

/// Nothing, for a user who exists.
fn none<Q: OfUser>(_: &Iam, view: &View, op: &Q) -> Result<Q::Output, ApiError> {
    if let Some(name) = op.user_name() {
        find::<User>(view, name)?;
    }
    Ok(Q::EMPTY)
}

fn no_devices(_: &Iam, _: &View, _: &ListVirtualMFADevices) -> Result<VirtualDevices, ApiError> {
    Ok(VirtualDevices {
        items: Vec::new(),
        is_truncated: Some(false),
    })
}

/// What is said of a user's password.
fn absent(view: &View, name: Option<&str>) -> ApiError {
    let Some(name) = name else {
        return no_such_entity("Login Profile for the caller cannot be found.");
    };
    match find::<User>(view, name) {
        Ok(user) => no_such_entity(format!(
            "Login Profile for User {} cannot be found.",
            user.name
        )),
        Err(error) => error,
    }
}

fn no_password(_: &Iam, view: &View, op: &GetLoginProfile) -> Result<OneLoginProfile, ApiError> {
    Err(absent(view, op.user_name.as_deref()))
}

fn no_password_to_delete(_: &Iam, tx: &mut Tx, op: DeleteLoginProfile) -> Result<(), ApiError> {
    Err(absent(tx.view(), op.user_name.as_deref()))
}
