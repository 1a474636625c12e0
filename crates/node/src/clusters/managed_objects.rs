//! Objects that Lath keeps in a cluster's API. One that the API server refuses is reported, and stops none of the others: what
//! is in a cluster is in the hands of those who use it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use http::StatusCode;
use lath_feed::ControlPlane;
use lath_kubernetes::manifests::{self, MANAGER, Manifest, OWNED};
use lath_kubernetes::{Client, ClientError, access};
use serde_json::{Value, json};

use super::objects::{items, text};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// How often it is looked whether the objects are still there: who administers a cluster may delete them, and write into the
/// record what pleases.
const VERIFY: Duration = Duration::from_secs(120);
/// After what was refused the same objects are tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// In the record, while not all objects are there.
const INCOMPLETE: &str = "incomplete";

/// What is known of the objects of one cluster.
#[derive(Default)]
pub(super) struct ManagedObjects {
    /// The digest of the objects that were tried last, and when.
    tried: Option<(String, Instant)>,
    /// When all of them were last seen there.
    verified: Option<Instant>,
    objects: Vec<Refused>,
    bindings: Vec<Refused>,
    /// What was logged last.
    logged: Vec<String>,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    path: String,
    /// Which add-on it is of, or what else.
    owner: Option<String>,
    reason: String,
    /// It may be taken as it is, later.
    momentary: bool,
}

impl ManagedObjects {
    /// Makes objects as they should be, and `slowly` what people change by hand.
    ///
    /// # Errors
    /// When nothing can be read.
    pub(super) async fn ensure(
        &mut self,
        client: &Client,
        plane: &ControlPlane,
        slowly: bool,
    ) -> Result<(), ClientError> {
        let wanted = manifests::of(plane);
        let digest = manifests::digest(&wanted);
        let waits = |(tried, at): &(String, Instant)| *tried == digest && at.elapsed() < AGAIN;
        if self.objects.is_empty()
            || self.awaited().is_some()
            || !self.tried.as_ref().is_some_and(waits)
        {
            let is_due = self.verified.is_none_or(|at| at.elapsed() >= VERIFY);
            self.objects = apply(client, plane, &wanted, &digest, is_due).await?;
            if is_due && self.objects.is_empty() {
                self.verified = Some(Instant::now());
            }
            self.tried = Some((digest, Instant::now()));
        }
        if slowly {
            self.bindings = bind(client, plane).await?;
        }
        let both = self.objects.iter().chain(&self.bindings);
        let lines: Vec<String> = both
            .map(|it| format!("{}: {}", it.path, it.reason))
            .collect();
        for line in lines.iter().filter(|it| !self.logged.contains(it)) {
            tracing::warn!(
                cluster = plane.name,
                reason = line,
                "an object of a cluster is refused"
            );
        }
        self.logged = lines;
        Ok(())
    }

    /// An object that is not there yet and may be soon, such as before there are namespaces.
    pub(super) fn awaited(&self) -> Option<String> {
        let awaited = self.objects.iter().find(|it| it.momentary);
        awaited.map(|it| it.reason.clone())
    }

    /// Add-ons of which an object is not as it should be, with the reason.
    pub(super) fn refused_addons(&self, plane: &ControlPlane) -> BTreeMap<String, String> {
        let refused = self.objects.iter().filter_map(|it| {
            let owner = it.owner.as_ref()?;
            let is_known = plane.addons.contains_key(owner);
            is_known.then(|| (owner.clone(), it.reason.clone()))
        });
        refused.collect()
    }
}

/// Objects that the API server does not have from Lath, whatever the record says.
async fn missing<'a>(
    client: &Client,
    wanted: &'a [Manifest],
) -> Result<Vec<&'a Manifest>, ClientError> {
    let mut missing = Vec::new();
    for manifest in wanted {
        let found = client.find(&manifest.path).await?;
        if found.is_none_or(|it| !is_kept(&it, &manifest.object)) {
            missing.push(manifest);
        }
    }
    Ok(missing)
}

/// Whether Lath applied an object, and it grants what it should. Who changes an add-on by hand keeps the change.
fn is_kept(there: &Value, wanted: &Value) -> bool {
    let managers = there["metadata"]["managedFields"].as_array();
    let mut managers = managers.into_iter().flatten();
    let by_lath = managers.any(|it| it["manager"] == MANAGER && it["operation"] == "Apply");
    let same = |member: &str| wanted[member].is_null() || there[member] == wanted[member];
    by_lath && same("roleRef") && same("subjects") && same("rules")
}

/// Makes the objects of a cluster, where its record says that they are not there; with `verify`, also those that are not
/// there although it says so.
async fn apply(
    client: &Client,
    plane: &ControlPlane,
    wanted: &[Manifest],
    digest: &str,
    verify: bool,
) -> Result<Vec<Refused>, ClientError> {
    let found = client.find(manifests::RECORD).await?.unwrap_or_default();
    let due: Vec<&Manifest> = match found["data"]["digest"] == digest {
        false => wanted.iter().collect(),
        true if verify => missing(client, wanted).await?,
        true => Vec::new(),
    };
    if found["data"]["digest"] == digest && due.is_empty() {
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    let mut answers = true;
    let mut rest = due.into_iter();
    while let Some(manifest) = rest.next() {
        if let Err(error) = make(client, manifest).await {
            answers = error.status().is_some();
            refused.push(because(manifest, &error));
            if !answers {
                refused.extend(rest.by_ref().map(|it| because(it, &error)));
            }
        }
    }
    let mut left = manifests::leftovers(plane, &found, wanted);
    if answers {
        let mut there = Vec::new();
        for path in left {
            if let Err(error) = remove(client, &path).await {
                refused.push(at(&path, &error));
                there.push(path);
            }
        }
        left = there;
    }
    let mut record = manifests::record(wanted, &left);
    if !refused.is_empty() {
        record.object["data"]["digest"] = json!(INCOMPLETE);
    }
    if record.object["data"] != found["data"] {
        let written = client.apply(&record).await;
        refused.extend(written.err().map(|error| because(&record, &error)));
    }
    Ok(refused)
}

/// Makes an object as it should be, anew where its kind is immutable.
async fn make(client: &Client, manifest: &Manifest) -> Result<(), ClientError> {
    match client.apply(manifest).await {
        Err(error) if is_immutable(&error) => {
            client.delete(&manifest.path).await?;
            client.apply(manifest).await
        }
        outcome => outcome,
    }
}

/// Deletes an object unless somebody else has put another into its place.
async fn remove(client: &Client, path: &str) -> Result<(), ClientError> {
    match client.find(path).await? {
        Some(found) if found["metadata"]["labels"][OWNED].is_string() => client.delete(path).await,
        _ => Ok(()),
    }
}

/// Binds access policies that hold in some namespaces only.
async fn bind(client: &Client, plane: &ControlPlane) -> Result<Vec<Refused>, ClientError> {
    let list = format!("{RBAC}/rolebindings?labelSelector={OWNED}%3Daccess-policy");
    let found = client.get(&list).await?;
    let place = |it: &Value| {
        let (namespace, name) = (text(it, "/metadata/namespace"), text(it, "/metadata/name"));
        (namespace.to_owned(), name.to_owned())
    };
    let there: BTreeMap<(String, String), &Value> =
        items(&found).map(|it| (place(it), it)).collect();
    let mut policies = plane.access.entries.values().flat_map(|it| &it.policies);
    let wanted = if policies.any(|it| it.namespaces.is_some()) {
        let namespaces = client.get("/api/v1/namespaces").await?;
        let active = items(&namespaces).filter(|it| text(it, "/status/phase") == "Active");
        let names: BTreeSet<String> = active
            .map(|it| text(it, "/metadata/name").to_owned())
            .collect();
        access::role_bindings(&plane.access, &names)
    } else {
        BTreeMap::new()
    };
    let path = |(namespace, name): &(String, String)| {
        format!("{RBAC}/namespaces/{namespace}/rolebindings/{name}")
    };
    let mut refused = Vec::new();
    for (place, object) in &wanted {
        let is_so = |it: &&Value| binds_the_same(it, object);
        if there.get(place).is_none_or(|it| !is_so(it)) {
            let (path, object) = (path(place), object.clone());
            let manifest = Manifest { path, object };
            let made = make(client, &manifest).await;
            refused.extend(made.err().map(|error| because(&manifest, &error)));
        }
    }
    for place in there.keys().filter(|it| !wanted.contains_key(it)) {
        let path = path(place);
        let deleted = client.delete(&path).await;
        refused.extend(deleted.err().map(|error| at(&path, &error)));
    }
    Ok(refused)
}

fn binds_the_same(there: &Value, wanted: &Value) -> bool {
    let same = |member: &str| there[member] == wanted[member];
    same("roleRef") && same("subjects")
}

/// Whether an object must be made anew to become what it should be.
fn is_immutable(error: &ClientError) -> bool {
    let ClientError::Refused { status, message } = error else {
        return false;
    };
    let mentions = |it: &str| message.contains(it);
    *status == StatusCode::UNPROCESSABLE_ENTITY
        && (mentions("cannot change roleRef") || mentions("field is immutable"))
}

fn because(manifest: &Manifest, error: &ClientError) -> Refused {
    let labels = &manifest.object["metadata"]["labels"];
    Refused {
        owner: labels[OWNED].as_str().map(str::to_owned),
        ..at(&manifest.path, error)
    }
}

fn at(path: &str, error: &ClientError) -> Refused {
    Refused {
        path: path.to_owned(),
        owner: None,
        reason: error.to_string(),
        momentary: is_momentary(error),
    }
}

/// Whether the API server says nothing of the object itself.
fn is_momentary(error: &ClientError) -> bool {
    let Some(status) = error.status() else {
        return true;
    };
    let known = [
        StatusCode::UNAUTHORIZED,
        StatusCode::NOT_FOUND,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    // A webhook that cannot be asked, and a member of another type, are 500.
    known.contains(&status)
        || status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str) -> ClientError {
        ClientError::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            message: message.into(),
        }
    }

    #[test]
    fn a_role_of_a_binding_is_changed_by_a_new_binding() {
        let role = "RoleBinding \"x\" is invalid: roleRef: Invalid value: rbac.RoleRef{}: cannot change roleRef";
        assert!(is_immutable(&refused(422, role)));
        assert!(is_immutable(&refused(
            422,
            "spec.selector: Invalid value: {}: field is immutable"
        )));
        assert!(!is_immutable(&refused(
            422,
            "spec.replicas: Invalid value: -1"
        )));
        assert!(!is_immutable(&ClientError::Unreachable("gone".into())));
    }

    #[test]
    fn what_is_wrong_with_an_object_waits_for_nothing() {
        for (error, want) in [
            (refused(400, "bad"), false),
            (refused(403, "a webhook denies it"), false),
            (refused(422, "bad"), false),
            (refused(500, "failed to create typed patch object"), false),
            (refused(404, "namespaces \"kube-system\" not found"), true),
            (refused(503, "busy"), true),
            (ClientError::Unreachable("gone".into()), true),
        ] {
            assert_eq!(is_momentary(&error), want, "{error}");
        }
    }

    #[test]
    fn an_object_is_kept_when_lath_applied_it_and_it_grants_the_same() {
        let wanted = json!({"roleRef": {"name": "view"}, "subjects": [{"name": "x"}]});
        let mut there = wanted.clone();
        assert!(!is_kept(&there, &wanted));
        there["metadata"] = json!({"managedFields": [{"manager": MANAGER, "operation": "Apply"}]});
        assert!(is_kept(&there, &wanted));
        there["roleRef"]["name"] = json!("cluster-admin");
        assert!(!is_kept(&there, &wanted));
        there["roleRef"]["name"] = json!("view");
        there["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
        assert!(!is_kept(&there, &wanted));
    }

    #[test]
    fn a_binding_of_the_same_name_to_another_role_is_not_there() {
        let wanted = json!({"roleRef": {"name": "edit"}, "subjects": [{"name": "x"}]});
        let mut there = wanted.clone();
        there["metadata"] = json!({"uid": "1"});
        assert!(binds_the_same(&there, &wanted));
        there["roleRef"]["name"] = json!("view");
        assert!(!binds_the_same(&there, &wanted));
    }
}
