//! What is configured for the account in a region.

use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Acm;
use crate::record::Account;
use crate::shape::*;

/// Days before the end of a certificate, unless something else is said
/// (<https://docs.aws.amazon.com/acm/latest/APIReference/API_ExpiryEventsConfiguration.html>).
const DAYS: i32 = 45;

operations! {
    for Acm as "acm";
    read GetAccountConfiguration -> GetAccountConfigurationResponse = get => any();
    change PutAccountConfiguration -> () = put => any();
}

fn get(
    _: &Acm,
    view: &View,
    _: &GetAccountConfiguration,
) -> Result<GetAccountConfigurationResponse, ApiError> {
    let known = view.get::<Account>(Account::ID);
    Ok(GetAccountConfigurationResponse {
        expiry_events: Some(ExpiryEventsConfiguration {
            days_before_expiry: Some(known.map_or(DAYS, |it| it.days_before_expiry)),
        }),
    })
}

/// Putting the same twice is putting it once, so that the token has nothing to do.
fn put(_: &Acm, tx: &mut Tx, op: PutAccountConfiguration) -> Result<(), ApiError> {
    let days = op.expiry_events.and_then(|it| it.days_before_expiry);
    tx.put(Account {
        days_before_expiry: days.unwrap_or(DAYS),
    });
    Ok(())
}
