//! DescribeInstanceCreditSpecifications. Nothing throttles an instance, so every burstable one is
//! `unlimited`.

use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::types;
use crate::Ec2;
use crate::filter::{Field, Filter};
use crate::ids::{INSTANCE, IdKind};
use crate::operation::operations;
use crate::records::Instance;
use crate::select::{Listed, Query, select};
use crate::tags::Tag;

/// The one credit option there is.
pub(super) const UNLIMITED: &str = "unlimited";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstanceCreditSpecifications {
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    max_results: Option<i32>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreditSpecifications {
    instance_credit_specification_set: Vec<CreditItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreditItem {
    instance_id: String,
    cpu_credits: String,
}

operations! {
    read DescribeInstanceCreditSpecifications -> CreditSpecifications = describe, dry_run;
}

impl Listed for CreditItem {
    const ID: IdKind = INSTANCE;
    const FIELDS: &'static [Field<Self>] = &[("instance-id", |it| vec![it.instance_id.clone()])];
    fn id(&self) -> &str {
        &self.instance_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeInstanceCreditSpecifications,
) -> Result<CreditSpecifications, ApiError> {
    let named = |it: &Instance| op.ids.iter().any(|id| id == it.id.as_str());
    let burstable = |it: &Instance| {
        types::find(&it.instance_type).is_some_and(types::InstanceType::is_burstable)
    };
    let items = view
        .list::<Instance>()
        .filter(|it| burstable(it) || named(it))
        .map(|it| CreditItem {
            instance_id: it.id.to_string(),
            cpu_credits: UNLIMITED.into(),
        });
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(CreditSpecifications {
        instance_credit_specification_set: page.items,
        next_token: page.next_token,
    })
}

#[cfg(test)]
impl DescribeInstanceCreditSpecifications {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}
