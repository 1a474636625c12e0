//! The registry as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_service::operations;
use lath_store::View;
use lath_wire::{ApiError, Caller};

use crate::logins::PASSWORD_LIFE;
use crate::shape::*;
use crate::{Ecr, fault};

operations! {
    for Ecr as "ecr";
    read GetAuthorizationToken -> GetAuthorizationTokenResponse = authorize, caller => any();
    read DescribeRegistry -> DescribeRegistryResponse = describe => any();
}

/// The user that every password is for.
pub(crate) const USER: &str = "AWS";

fn authorize(
    app: &Ecr,
    _: &View,
    caller: &Caller,
    op: &GetAuthorizationToken,
) -> Result<GetAuthorizationTokenResponse, ApiError> {
    let own = &app.cell.account;
    let others = op.registry_ids.iter().flatten();
    if let Some(other) = others.into_iter().find(|it| *it != own) {
        let shown: String = other.chars().take(64).collect();
        return Err(fault::invalid_parameter(format!(
            "There is no registry with id '{shown}' here: there is only '{own}'."
        )));
    }
    let login = app.logins.login(caller, PASSWORD_LIFE).ok_or_else(|| {
        fault::invalid_parameter(
            "The caller's session is not known any more: assume the role again.",
        )
    })?;
    let token = STANDARD.encode(format!("{USER}:{}", login.password));
    Ok(GetAuthorizationTokenResponse {
        authorization_data: vec![AuthorizationData {
            authorization_token: Some(token),
            expires_at: Some(login.expires),
            proxy_endpoint: Some(format!("https://{}", app.host())),
        }],
    })
}

fn describe(
    app: &Ecr,
    _: &View,
    _: &DescribeRegistry,
) -> Result<DescribeRegistryResponse, ApiError> {
    Ok(DescribeRegistryResponse {
        registry_id: Some(app.cell.account.clone()),
        replication_configuration: Some(ReplicationConfiguration { rules: Vec::new() }),
    })
}
