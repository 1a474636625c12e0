//! Instance profiles of instances, and the credentials that the metadata service hands out.
//!
//! EC2 assumes the role of a profile for each instance. The session is sealed here, kept with the
//! association and told to the node, so that an instance has credentials while control is away: each
//! lives six hours and is replaced after one.

use std::sync::Arc;
use std::time::Duration;

use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, fields};
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::errors::{client, combination, invalid_parameter, invalid_value, missing};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{self, INSTANCE, arn};
use lath_ec2_records::{Instance, InstanceState, ProfileAssociation, RoleSession};
use lath_feed::{Hidden, TemporaryKeys};
use lath_iam::records::{InstanceProfile as Profile, Role};
use lath_iam::resource_types::ROLE;
use lath_iam::{trusts_service, unique};
use lath_model::Timestamp;
use lath_model::arn::Owner;
use lath_model::id::random_suffix;
use lath_service::{IdForm, operations};
use lath_session::{Holder, SealingKey, Session, SourceInstance};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::profile_access::{associated, new_profile, passed_role};
use super::request::InstanceProfile;

/// How long a session lives.
const LIFE: Duration = Duration::from_secs(6 * 3600);
/// How old a session is when another replaces it.
const RENEWAL: Duration = Duration::from_secs(3600);

const ASSOCIATION: IdForm = resources::ids(
    "iip-assoc",
    "InvalidAssociationID.Malformed",
    "InvalidAssociationID.NotFound",
    "The association ID '{}' does not exist",
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssociateIamInstanceProfile {
    iam_instance_profile: InstanceProfile,
    instance_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DisassociateIamInstanceProfile {
    association_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReplaceIamInstanceProfileAssociation {
    iam_instance_profile: InstanceProfile,
    association_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeIamInstanceProfileAssociations {
    #[serde(rename = "AssociationId", default)]
    ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
}

/// A profile's ARN and unique id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProfileItem {
    pub(crate) arn: String,
    pub(crate) id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    association_id: String,
    instance_id: String,
    iam_instance_profile: ProfileItem,
    state: String,
    timestamp: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OneAssociation {
    iam_instance_profile_association: AssociationItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Associations {
    iam_instance_profile_association_set: Vec<AssociationItem>,
    next_token: Option<String>,
}

operations! {
    for Ec2 as "ec2";
    change AssociateIamInstanceProfile -> OneAssociation = associate_profile
        => on(&INSTANCE, |op, _| op.instance_id.clone())
            .with("ec2:NewInstanceProfile", |op, at| new_profile(at, &op.iam_instance_profile))
            .also("iam:PassRole", &ROLE, |op, at| passed_role(at, &op.iam_instance_profile))
            .with("iam:PassedToService", |_, at| at.partition().ec2_principal())
            .with("iam:AssociatedResourceArn", |op, at| arn(at, "instance", &op.instance_id));
    change DisassociateIamInstanceProfile -> OneAssociation = disassociate
        => on(&INSTANCE, |op, at| associated(at, &op.association_id));
    change ReplaceIamInstanceProfileAssociation -> OneAssociation = replace
        => on(&INSTANCE, |op, at| associated(at, &op.association_id))
            .with("ec2:NewInstanceProfile", |op, at| new_profile(at, &op.iam_instance_profile))
            .also("iam:PassRole", &ROLE, |op, at| passed_role(at, &op.iam_instance_profile))
            .with("iam:PassedToService", |_, at| at.partition().ec2_principal())
            .with("iam:AssociatedResourceArn", |op, at| {
                associated(at, &op.association_id).map(|id| arn(at, "instance", id))
            });
    read DescribeIamInstanceProfileAssociations -> Associations = describe => any();
}

fn item(it: &ProfileAssociation, state: &str) -> AssociationItem {
    AssociationItem {
        association_id: it.id.clone(),
        instance_id: it.instance.to_string(),
        iam_instance_profile: ProfileItem::from(it),
        state: state.into(),
        timestamp: it.since,
    }
}

fn one(it: &ProfileAssociation, state: &str) -> OneAssociation {
    OneAssociation {
        iam_instance_profile_association: item(it, state),
    }
}

impl From<&ProfileAssociation> for ProfileItem {
    fn from(it: &ProfileAssociation) -> Self {
        Self {
            arn: it.profile_arn.clone(),
            id: it.profile_id.clone(),
        }
    }
}

/// The profile that a request names by its name or its ARN.
///
/// # Errors
/// `InvalidParameterValue` when there is none, or it has no role; `InvalidParameterCombination` for both.
pub(super) fn named(
    owner: Owner<'_>,
    view: &View,
    given: &InstanceProfile,
) -> Result<Arc<Profile>, ApiError> {
    let (member, value, found) = match (given.arn.as_deref(), given.name.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(combination(
                "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
            ));
        }
        (Some(arn), None) => {
            let found = view.list::<Profile>().find(|it| it.arn(owner) == arn);
            ("arn", arn, found)
        }
        (None, Some(name)) => ("name", name, view.get(&name.to_ascii_lowercase())),
        (None, None) => return Err(missing("IamInstanceProfile.Name")),
    };
    let profile = found.ok_or_else(|| {
        let shown: String = value.chars().take(128).collect();
        invalid_parameter(
            &format!("iamInstanceProfile.{member}"),
            shown,
            &format!("Invalid IAM Instance Profile {member}"),
        )
    })?;
    if profile.role.is_none() {
        return Err(invalid_value(format!(
            "IAM Instance Profile \"{}\" has no associated IAM Roles",
            profile.arn(owner)
        )));
    }
    Ok(profile)
}

/// Gives an instance a profile, with credentials at once: what an instance runs first may ask for them.
pub(super) fn associate(
    app: &Ec2,
    tx: &mut Tx,
    instance: &Instance,
    profile: &Profile,
) -> Arc<ProfileAssociation> {
    let now = tx.now();
    let bare = ProfileAssociation {
        id: format!("{}-{}", ASSOCIATION.prefix, random_suffix()),
        instance: instance.id.clone(),
        profile: profile.name.clone(),
        profile_arn: profile.arn(app.cell.owner()),
        profile_id: profile.unique_id.clone(),
        service_role: None,
        since: now,
        updated: now,
        role: None,
        session: None,
    };
    let fresh = refreshed(&app.cell, tx.view(), &bare, instance, now).unwrap_or(bare);
    tx.put(fresh)
}

/// Gives a new instance a role without a profile of the account: a service that launches instances makes a profile of
/// its own, in any region, while profiles change in IAM's home region only.
pub(crate) fn associate_role(
    cell: &Cell,
    tx: &mut Tx,
    instance: &Instance,
    profile: &str,
    role: &str,
) -> Arc<ProfileAssociation> {
    let now = tx.now();
    let bare = ProfileAssociation {
        id: format!("{}-{}", ASSOCIATION.prefix, random_suffix()),
        instance: instance.id.clone(),
        profile: profile.to_owned(),
        profile_arn: cell.global_arn("iam", format!("instance-profile/{profile}")),
        profile_id: unique::id("AIPA"),
        service_role: Some(role.to_owned()),
        since: now,
        updated: now,
        role: None,
        session: None,
    };
    let fresh = refreshed(cell, tx.view(), &bare, instance, now).unwrap_or(bare);
    tx.put(fresh)
}

fn associate_profile(
    app: &Ec2,
    tx: &mut Tx,
    op: AssociateIamInstanceProfile,
) -> Result<OneAssociation, ApiError> {
    let instance = changeable(tx.view(), &op.instance_id)?;
    let profile = named(app.cell.owner(), tx.view(), &op.iam_instance_profile)?;
    if ProfileAssociation::of_instance(tx.view(), &instance).is_some() {
        return Err(client(
            "IncorrectState",
            format!(
                "There is an existing association for instance {}",
                instance.id
            ),
        ));
    }
    Ok(one(&associate(app, tx, &instance, &profile), "associating"))
}

fn changeable(view: &View, id: &str) -> Result<Arc<Instance>, ApiError> {
    let instance = ids::find::<Instance>(view, id)?;
    if instance.state.is_ending() {
        return Err(super::attributes::wrong_state(&instance));
    }
    Ok(instance)
}

fn disassociate(
    _app: &Ec2,
    tx: &mut Tx,
    op: DisassociateIamInstanceProfile,
) -> Result<OneAssociation, ApiError> {
    let old = ids::find_as::<ProfileAssociation>(&ASSOCIATION, tx.view(), &op.association_id)?;
    tx.delete::<ProfileAssociation>(&old.id);
    Ok(one(&old, "disassociating"))
}

/// The new association has an id of its own, as AWS's has.
fn replace(
    app: &Ec2,
    tx: &mut Tx,
    op: ReplaceIamInstanceProfileAssociation,
) -> Result<OneAssociation, ApiError> {
    let old = ids::find_as::<ProfileAssociation>(&ASSOCIATION, tx.view(), &op.association_id)?;
    let profile = named(app.cell.owner(), tx.view(), &op.iam_instance_profile)?;
    let instance = changeable(tx.view(), old.instance.as_str())?;
    tx.delete::<ProfileAssociation>(&old.id);
    Ok(one(&associate(app, tx, &instance, &profile), "associating"))
}

impl Listed for AssociationItem {
    const ID: IdForm = ASSOCIATION;
    const FIELDS: &'static [Field<Self>] = fields! {
        "instance-id" => |it| it.instance_id,
        "state" => |it| it.state,
    };
    fn id(&self) -> &str {
        &self.association_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeIamInstanceProfileAssociations,
) -> Result<Associations, ApiError> {
    let show = |it: &ProfileAssociation| Some(item(it, "associated"));
    let query = Query {
        ids: &op.ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(Associations {
        iam_instance_profile_association_set: page.items,
        next_token: page.next_token,
    })
}

// === credentials ===

/// Removes associations of instances that are gone, follows the roles of profiles, renews sessions.
pub async fn reconcile(app: Arc<Ec2>) -> Result<(), ApiError> {
    let now = app.cell.now();
    if steps(&app.cell, &app.cell.db.view(), now).next().is_none() {
        return Ok(());
    }
    app.cell
        .db
        .write(|tx: &mut Tx| {
            // Once more, on the state that this transaction changes.
            let view = View::clone(tx.view());
            for (id, step) in steps(&app.cell, &view, now) {
                tx.delete::<ProfileAssociation>(&id);
                if let Some(fresh) = step {
                    tx.put(fresh);
                }
            }
            Ok(())
        })
        .await
}

/// The associations that have to change, with what they become; `None` for those that go.
fn steps<'a>(
    cell: &'a Cell,
    view: &'a View,
    now: Timestamp,
) -> impl Iterator<Item = (String, Option<ProfileAssociation>)> + 'a {
    view.list::<ProfileAssociation>().filter_map(move |it| {
        let instance = view.get::<Instance>(it.instance.as_str());
        let alive = instance.filter(|instance| instance.state != InstanceState::Terminated);
        let Some(instance) = alive else {
            return Some((it.id.clone(), None));
        };
        let fresh = refreshed(cell, view, &it, &instance, now)?;
        Some((it.id.clone(), Some(fresh)))
    })
}

/// What an association becomes; `None` when it is as it should be.
fn refreshed(
    cell: &Cell,
    view: &View,
    it: &ProfileAssociation,
    instance: &Instance,
    now: Timestamp,
) -> Option<ProfileAssociation> {
    let of_profile = || {
        let profile = view.get::<Profile>(&it.profile.to_ascii_lowercase());
        let profile = profile.filter(|profile| profile.unique_id == it.profile_id);
        profile.and_then(|profile| profile.role.clone())
    };
    let name = it.service_role.clone().or_else(of_profile);
    let role = name.and_then(|name| view.get::<Role>(&name.to_ascii_lowercase()));
    let session = match (&it.session, &role) {
        (_, None) => None,
        (Some(session), Some(role)) if is_good(session, role, now) => Some(session.clone()),
        (_, Some(role)) => assume(cell, role, instance, now),
    };
    let role = role.map(|role| role.name.clone());
    (session != it.session || role != it.role).then(|| ProfileAssociation {
        updated: now,
        role,
        session,
        ..it.clone()
    })
}

fn is_good(session: &RoleSession, role: &Role, now: Timestamp) -> bool {
    session.role_id == role.unique_id && now.since(session.issued) < RENEWAL
}

/// `None` when the role does not trust EC2, or this installation seals no sessions.
fn assume(cell: &Cell, role: &Role, instance: &Instance, now: Timestamp) -> Option<RoleSession> {
    let sealing = &cell.keys.as_ref()?.sealing;
    let key = SealingKey::parse(sealing.0.as_bytes())?;
    if !trusts_ec2(cell, role) {
        return None;
    }
    let session = Session {
        key: unique::access_key_id("ASIA"),
        secret: unique::secret(),
        issued: now,
        expires: now.plus(LIFE),
        holder: Holder::Role {
            name: role.name.clone(),
            unique_id: role.unique_id.clone(),
            session: instance.id.to_string(),
        },
        policy: None,
        policy_arns: Vec::new(),
        tags: Default::default(),
        transitive: Vec::new(),
        source_identity: None,
        instance: Some(SourceInstance {
            arn: cell.arn("ec2", format!("instance/{}", instance.id)),
            vpc: instance.vpc.to_string(),
            private_ip: instance.private_ip.map(|ip| ip.to_string()),
        }),
        federation: Default::default(),
    };
    Some(RoleSession {
        role_id: role.unique_id.clone(),
        issued: now,
        keys: TemporaryKeys {
            token: Hidden(session.seal(&key)),
            id: session.key,
            secret: Hidden(session.secret),
            expires: session.expires,
        },
    })
}

fn trusts_ec2(cell: &Cell, role: &Role) -> bool {
    // In China roles of older installations trust the name that EC2 has elsewhere.
    ["ec2.amazonaws.com", cell.partition().ec2_principal()]
        .into_iter()
        .any(|service| trusts_service(cell.owner(), role, service, "sts:AssumeRole"))
}

#[cfg(test)]
mod tests {
    use lath_feed::InstallationKeys;
    use lath_iam::records::Policies;

    use super::*;

    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
    const DISTRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;

    struct Lab {
        cell: Cell,
        key: SealingKey,
        instance: Instance,
    }

    impl Lab {
        fn new() -> Self {
            let key = SealingKey::random();
            let mut cell = Cell::for_test().0;
            cell.keys = Some(Arc::new(InstallationKeys {
                root_id: "AKIAROOT".into(),
                root_secret: Hidden("root's".into()),
                sealing: Hidden(key.reveal().into()),
            }));
            let instance = super::super::tests::an_instance();
            Self {
                cell,
                key,
                instance,
            }
        }

        async fn put_role(&self, unique_id: &str, trust: &str) {
            let role = Role {
                name: "Web".into(),
                unique_id: unique_id.into(),
                path: "/".into(),
                description: None,
                trust: trust.into(),
                trusted: Default::default(),
                max_session: 3600,
                policies: Policies::default(),
                tags: Default::default(),
                created_at: self.cell.now(),
            };
            self.put(move |tx| drop(tx.put(role))).await;
        }

        async fn put_profile(&self, unique_id: &str, role: Option<&str>) {
            let profile = Profile {
                name: "Web".into(),
                unique_id: unique_id.into(),
                path: "/".into(),
                role: role.map(str::to_owned),
                tags: Default::default(),
                created_at: self.cell.now(),
            };
            self.put(move |tx| drop(tx.put(profile))).await;
        }

        async fn put(&self, f: impl FnOnce(&mut Tx) + Send) {
            let written = self.cell.db.write(|tx| {
                f(tx);
                Ok::<_, ApiError>(())
            });
            written.await.unwrap();
        }

        /// What an association becomes, that seconds after it was last changed.
        fn after(&self, it: &ProfileAssociation, seconds: i64) -> Option<ProfileAssociation> {
            let now = Timestamp::from_millis(it.updated.as_millis() + seconds * 1000);
            refreshed(&self.cell, &self.cell.db.view(), it, &self.instance, now)
        }
    }

    fn bare(lab: &Lab) -> ProfileAssociation {
        ProfileAssociation {
            id: "iip-assoc-0123456789abcdef0".into(),
            instance: lab.instance.id.clone(),
            profile: "Web".into(),
            profile_arn: "arn".into(),
            profile_id: "AIPA1".into(),
            service_role: None,
            since: lab.cell.now(),
            updated: lab.cell.now(),
            role: None,
            session: None,
        }
    }

    #[tokio::test]
    async fn a_session_is_the_roles_and_is_renewed_while_it_lives() {
        let lab = Lab::new();
        lab.put_role("AROA1", TRUST).await;
        lab.put_profile("AIPA1", Some("web")).await;
        let first = lab.after(&bare(&lab), 0).unwrap();
        assert_eq!(first.role.as_deref(), Some("Web"));
        let keys = &first.session.as_ref().unwrap().keys;
        let open = lath_session::Sessions::default();
        let session = open
            .open(&lab.key, &keys.id, &keys.token.0, lab.cell.now())
            .unwrap();
        let Holder::Role {
            name,
            unique_id,
            session: named,
        } = &session.holder
        else {
            panic!("not a role's");
        };
        let id = lab.instance.id.to_string();
        assert_eq!((&**name, &**unique_id, named), ("Web", "AROA1", &id));
        let source = session.instance.as_ref().unwrap();
        assert_eq!(
            source.arn,
            format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}")
        );
        assert_eq!(lab.after(&first, 3599), None);
        let renewed = lab.after(&first, 3600).unwrap();
        let old_expires = first.session.as_ref().unwrap().keys.expires;
        assert!(renewed.updated < old_expires, "the old keys still live");
        assert_ne!(renewed.session, first.session);
    }

    #[tokio::test]
    async fn changes_of_the_role_take_effect() {
        let lab = Lab::new();
        lab.put_role("AROA1", TRUST).await;
        lab.put_profile("AIPA1", Some("web")).await;
        let first = lab.after(&bare(&lab), 0).unwrap();
        lab.put_role("AROA2", TRUST).await;
        let namesake = lab.after(&first, 1).unwrap();
        assert_eq!(namesake.session.unwrap().role_id, "AROA2");
        lab.put_role("AROA3", DISTRUST).await;
        let distrusting = lab.after(&first, 1).unwrap();
        assert_eq!(
            (distrusting.role.as_deref(), distrusting.session),
            (Some("Web"), None)
        );
        lab.put_profile("AIPA1", None).await;
        let bare = lab.after(&first, 1).unwrap();
        assert_eq!((bare.role, bare.session), (None, None));
        lab.put_role("AROA1", TRUST).await;
        lab.put_profile("AIPA2", Some("web")).await;
        assert_eq!(
            lab.after(&first, 1).unwrap().role,
            None,
            "a namesake is another profile"
        );
    }
}
