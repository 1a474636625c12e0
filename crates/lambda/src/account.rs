//! What is set for the account in a region.

use lath_feed::function_limits::{CONCURRENT, ZIPPED};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::Lambda;
use crate::concurrency::reserved_by_others;
use crate::create::total_size;
use crate::record::Function;
use crate::shape::*;

/// The most that all archives may take: AWS's figure
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const TOTAL: i64 = 80_530_636_800;

operations! {
    for Lambda as "lambda";
    read GetAccountSettings: get "/2016-08-19/account-settings" 200 -> GetAccountSettingsResponse = get
        => any();
}

fn get(
    _: &Lambda,
    view: &View,
    _: &GetAccountSettings,
) -> Result<GetAccountSettingsResponse, ApiError> {
    let reserved = reserved_by_others(view, "");
    let number = |value: u32| i32::try_from(value).ok();
    Ok(GetAccountSettingsResponse {
        account_limit: Some(AccountLimit {
            total_code_size: Some(TOTAL),
            code_size_unzipped: i64::try_from(lath_code::UNPACKED).ok(),
            code_size_zipped: i64::try_from(ZIPPED).ok(),
            concurrent_executions: number(CONCURRENT),
            unreserved_concurrent_executions: number(CONCURRENT.saturating_sub(reserved)),
        }),
        account_usage: Some(AccountUsage {
            total_code_size: i64::try_from(total_size(view)).ok(),
            function_count: i64::try_from(view.list::<Function>().count()).ok(),
        }),
    })
}
