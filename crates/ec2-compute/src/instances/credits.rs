//! The CPU credit options of burstable instances. Nothing throttles an instance, whichever it has.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::instance_types;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::Instance;
use lath_ec2_records::errors::{client, missing};
use lath_ec2_records::ids;
use lath_ec2_records::resources::INSTANCE;
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::attributes::wrong_state;
use super::options::checked_credits;

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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyInstanceCreditSpecification {
    dry_run: Option<bool>,
    /// Doing it twice is the same as doing it once.
    #[serde(rename = "ClientToken")]
    _client_token: Option<String>,
    #[serde(rename = "InstanceCreditSpecification", default)]
    wanted: Vec<CreditInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreditInput {
    instance_id: String,
    cpu_credits: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModifiedCredits {
    successful_instance_credit_specification_set: Vec<Modified>,
    unsuccessful_instance_credit_specification_set: Vec<NotModified>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Modified {
    instance_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotModified {
    instance_id: String,
    error: Refusal,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    code: String,
    message: String,
}

operations! {
    for Ec2 as "ec2";
    change ModifyInstanceCreditSpecification -> ModifiedCredits = modify, dry_run
        => on(&INSTANCE, |op, _| op.wanted.iter().map(|it| it.instance_id.clone()).collect::<Vec<_>>());
    read DescribeInstanceCreditSpecifications -> CreditSpecifications = describe, dry_run => any();
}

impl Listed for CreditItem {
    const ID: IdForm = INSTANCE.id;
    const FIELDS: &'static [Field<Self>] = &[("instance-id", |it| vec![it.instance_id.clone()])];
    fn id(&self) -> &str {
        &self.instance_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

/// Each instance for itself: what is wrong with one does not stop the others.
fn modify(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyInstanceCreditSpecification,
) -> Result<ModifiedCredits, ApiError> {
    if op.wanted.is_empty() {
        return Err(missing("InstanceCreditSpecification"));
    }
    let mut answer = ModifiedCredits::default();
    for wanted in op.wanted {
        let instance_id = wanted.instance_id.clone();
        match modify_one(tx, &wanted) {
            Ok(()) => answer
                .successful_instance_credit_specification_set
                .push(Modified { instance_id }),
            Err(error) => answer
                .unsuccessful_instance_credit_specification_set
                .push(NotModified {
                    instance_id,
                    error: Refusal {
                        code: error.code.to_string(),
                        message: error.message.clone(),
                    },
                }),
        }
    }
    Ok(answer)
}

fn modify_one(tx: &mut Tx, wanted: &CreditInput) -> Result<(), ApiError> {
    let instance = ids::find::<Instance>(tx.view(), &wanted.instance_id)?;
    if instance.state.is_ending() {
        return Err(wrong_state(&instance));
    }
    let typed = instance_types::find(&instance.instance_type);
    let typed = typed.filter(|typed| typed.burstable).ok_or_else(|| {
        client(
            "InstanceCreditSpecification.NotSupported",
            format!(
                "The instance type {} does not support creditSpecification.",
                instance.instance_type
            ),
        )
    })?;
    let credits = checked_credits(typed, &wanted.cpu_credits)?;
    tx.update::<Instance>(instance.id.as_str(), |it| {
        it.options.cpu_credits = Some(credits);
    });
    Ok(())
}

fn check_burstable(view: &View, ids: &[String]) -> Result<(), ApiError> {
    let named = ids.iter().filter_map(|id| view.get::<Instance>(id));
    let mut other = named.filter(|it| credits(it).is_none());
    other.next().map_or(Ok(()), |it| {
        Err(client(
            "InvalidInstanceID.NotSupported",
            format!(
                "The instance '{}' is not a burstable performance instance.",
                it.id
            ),
        ))
    })
}

/// `None` for types that earn no credits.
fn credits(it: &Instance) -> Option<String> {
    let own = instance_types::find(&it.instance_type)?.default_credits()?;
    Some(it.options.cpu_credits.clone().unwrap_or_else(|| own.into()))
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeInstanceCreditSpecifications,
) -> Result<CreditSpecifications, ApiError> {
    let show = |it: &Instance| {
        Some(CreditItem {
            instance_id: it.id.to_string(),
            cpu_credits: credits(it)?,
        })
    };
    check_burstable(view, &op.ids)?;
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
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
