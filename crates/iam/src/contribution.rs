//! IAM's part of the feed: who may sign requests to services, where a policy asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_feed::{CallerBook, Hidden, KnownCaller, Snapshot, UserKey};
use lath_model::{Owner, Partition};
use lath_store::View;

use crate::aws_policies;
use crate::records::{AccessKey, Group, ManagedPolicy, Policies, Role, Tags, User, key};

/// Fills the book of callers when a policy somewhere asks who calls; otherwise no secret leaves control.
///
/// `asks` tells whether a service or network of the snapshot has the auth type `AWS_IAM`.
pub fn contribute(cell: &Cell, view: &View, asks: bool, snapshot: &mut Snapshot) {
    snapshot.callers = if asks {
        Arc::new(book(cell, view))
    } else {
        Arc::default()
    };
}

fn book(cell: &Cell, view: &View) -> CallerBook {
    let owner = cell.owner();
    let user = |it: Arc<User>| (it.unique_id.clone(), known_user(view, &it, owner));
    let role = |it: Arc<Role>| {
        let known = known(&it.name, it.arn(owner), &it.tags, &it.policies);
        (it.unique_id.clone(), known)
    };
    CallerBook {
        installation: cell.keys.as_deref().cloned(),
        keys: keys(view),
        users: view.list::<User>().map(user).collect(),
        roles: view.list::<Role>().map(role).collect(),
        managed: managed(view, owner.partition),
    }
}

fn keys(view: &View) -> BTreeMap<String, UserKey> {
    let active = view.list::<AccessKey>().filter(|it| it.active);
    let owned = active.filter_map(|it| {
        let user = view.get::<User>(&key(&it.user))?.unique_id.clone();
        let secret = Hidden(it.secret.clone());
        Some((it.id.clone(), UserKey { secret, user }))
    });
    owned.collect()
}

fn known(name: &str, arn: String, tags: &Tags, policies: &Policies) -> KnownCaller {
    KnownCaller {
        name: name.to_owned(),
        arn,
        tags: tags.clone(),
        attached: policies.attached.iter().cloned().collect(),
        inline: policies.inline.values().cloned().collect(),
        boundary: policies.boundary.clone(),
    }
}

fn known_user(view: &View, user: &User, owner: Owner<'_>) -> KnownCaller {
    let mut known = known(&user.name, user.arn(owner), &user.tags, &user.policies);
    for group in user.groups.iter().filter_map(|id| view.get::<Group>(id)) {
        known
            .attached
            .extend(group.policies.attached.iter().cloned());
        known.inline.extend(group.policies.inline.values().cloned());
    }
    known
}

/// Any may be held, and named by sessions.
fn managed(view: &View, partition: Partition) -> BTreeMap<String, String> {
    let all = view
        .list::<ManagedPolicy>()
        .chain(aws_policies::all(partition));
    let document = |it: Arc<ManagedPolicy>| Some((it.arn.clone(), it.document()?.to_owned()));
    all.filter_map(document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_feed::InstallationKeys;

    const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

    /// Ann, whose group is of administrators, with one key in use and one put away.
    async fn cell() -> Cell {
        let mut cell = Cell::for_test().0;
        cell.keys = Some(Arc::new(InstallationKeys {
            root_id: "AKIAROOT".into(),
            root_secret: Hidden("root's".into()),
            sealing: Hidden("sealing".into()),
        }));
        let now = cell.now();
        let key = |id: &str, active| AccessKey {
            id: id.into(),
            secret: "hers".into(),
            user: "Ann".into(),
            active,
            created_at: now,
        };
        let mut policies = Policies::default();
        policies.attached.insert(ADMIN.into());
        cell.db
            .write(move |tx| {
                tx.put(Group {
                    name: "Ops".into(),
                    unique_id: "AGPA1".into(),
                    path: "/".into(),
                    policies,
                    created_at: now,
                });
                tx.put(User {
                    name: "Ann".into(),
                    unique_id: "AIDA1".into(),
                    path: "/".into(),
                    policies: Policies::default(),
                    groups: ["ops".to_owned()].into(),
                    tags: Tags::default(),
                    created_at: now,
                });
                tx.put(key("AKIAUSED", true));
                tx.put(key("AKIAPUTAWAY", false));
                Ok::<_, lath_wire::ApiError>(())
            })
            .await
            .unwrap();
        cell
    }

    fn compiled(cell: &Cell, asks: bool) -> Snapshot {
        let mut snapshot = Snapshot::default();
        contribute(cell, &cell.db.view(), asks, &mut snapshot);
        snapshot
    }

    #[tokio::test]
    async fn nodes_are_told_of_callers_only_where_a_policy_asks() {
        let cell = cell().await;
        let open = compiled(&cell, false);
        assert_eq!(*open.callers, CallerBook::default());
        let guarded = compiled(&cell, true);
        let book = &guarded.callers;
        assert_eq!(book.installation, cell.keys.as_deref().cloned());
        let keys: Vec<_> = book.keys.keys().collect();
        assert_eq!(keys, ["AKIAUSED"]);
        assert_eq!(book.keys["AKIAUSED"].user, "AIDA1");
        let ann = &book.users["AIDA1"];
        assert_eq!(ann.attached, [ADMIN]);
        assert_eq!(ann.arn, "arn:aws:iam::123456789012:user/Ann");
        assert!(book.managed.contains_key(ADMIN));
        let shown = format!("{guarded:?}");
        for secret in ["hers", "root's", "\"sealing\""] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}
