//! Issuers of service account tokens. Each cluster is one; every region knows the public keys of all, so that a token counts in
//! every region, and while the cluster's own is dead.

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_control::{Cell, Derive, Parts, Section, Told};
use lath_store::{Record, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clusters;
use crate::record::{Cluster, PodIdentity, key};

/// What an issuer says of itself, and its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// Its URL.
    pub url: String,
    /// Its set of public keys.
    pub keys: Value,
}

/// The issuer of a cluster of another region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OtherIssuer {
    region: String,
    cluster: String,
    issuer: Issuer,
}

impl Record for OtherIssuer {
    const KIND: &'static str = "eks.issuer";
    fn id(&self) -> String {
        key(&self.region, &self.cluster)
    }
}

/// The part of a region's state that every region holds: public keys.
pub const SECTION: Section = Section {
    name: "eks",
    export: &[Derive::Each {
        kind: Cluster::KIND,
        make: export,
    }],
    import,
};

fn export(cell: &Cell, view: &View, name: &str, parts: &mut Parts) {
    let issuer = view.get::<Cluster>(name).and_then(|it| of(cell, &it));
    let bytes = issuer.and_then(|issuer| serde_json::to_vec(&issuer).ok());
    match bytes {
        Some(bytes) => drop(parts.insert(name.to_owned(), bytes.into())),
        None => drop(parts.remove(name)),
    }
}

fn import(cell: &Cell, tx: &mut Tx, region: &str, told: &Told) -> Result<(), ApiError> {
    if region == cell.region {
        return Ok(());
    }
    let mut named = BTreeSet::new();
    for (cluster, bytes) in &told.parts {
        let id = key(region, cluster);
        let issuer = bytes.as_ref().map(|it| serde_json::from_slice(it));
        match issuer.transpose().map_err(ApiError::internal)? {
            None => drop(tx.delete::<OtherIssuer>(&id)),
            Some(issuer) => {
                let record = OtherIssuer {
                    region: region.to_owned(),
                    cluster: cluster.clone(),
                    issuer,
                };
                let known = tx.get::<OtherIssuer>(&id);
                if known.is_none_or(|known| *known != record) {
                    tx.put(record);
                }
            }
        }
        named.insert(id);
    }
    if told.whole {
        let prefix = key(region, "");
        let known: Vec<Arc<OtherIssuer>> = tx.view().range(&prefix).collect();
        for record in known.iter().filter(|it| !named.contains(&it.id())) {
            tx.delete::<OtherIssuer>(&record.id());
        }
    }
    Ok(())
}

/// `None` when the cluster's keys are none.
fn of(cell: &Cell, cluster: &Cluster) -> Option<Issuer> {
    Some(Issuer {
        url: clusters::issuer(cell, cluster),
        keys: lath_kubernetes::pki::key_set(&cluster.keys).ok()?,
    })
}

/// The issuer of this URL, of whatever region.
pub fn issuer(cell: &Cell, view: &View, url: &str) -> Option<Issuer> {
    let mut own = view.list::<Cluster>();
    if let Some(cluster) = own.find(|it| clusters::issuer(cell, it) == url) {
        return of(cell, &cluster);
    }
    let mut others = view.list::<OtherIssuer>();
    let other = others.find(|it| it.issuer.url == url)?;
    Some(other.issuer.clone())
}

/// The document at a path of an issuer, `/id/HEX/.well-known/openid-configuration` or `/id/HEX/keys`.
pub fn issuer_document(cell: &Cell, view: &View, path: &str) -> Option<Value> {
    let (hex, document) = path.strip_prefix("/id/")?.split_once('/')?;
    let end = format!("/id/{hex}");
    let own = view
        .list::<Cluster>()
        .find(|it| it.issuer_id == hex)
        .and_then(|it| of(cell, &it));
    let issuer = own.or_else(|| {
        let mut others = view.list::<OtherIssuer>();
        let other = others.find(|it| it.issuer.url.ends_with(&end))?;
        Some(other.issuer.clone())
    })?;
    match document {
        ".well-known/openid-configuration" => Some(lath_kubernetes::pki::discovery(&issuer.url)),
        "keys" => Some(issuer.keys),
        _ => None,
    }
}

/// The issuer of a cluster of this region, and the cluster's ARN.
pub fn issuer_of(cell: &Cell, view: &View, cluster: &str) -> Option<(String, Issuer)> {
    let cluster = view.get::<Cluster>(cluster)?;
    Some((clusters::arn(cell, &cluster.name), of(cell, &cluster)?))
}

/// The role of a service account's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRole {
    /// The association's ARN.
    pub association_arn: String,
    /// Its id.
    pub association_id: String,
    /// The role's ARN.
    pub role_arn: String,
}

/// The role that a cluster's pods of a service account have by their pod identity association.
pub fn pod_role(
    cell: &Cell,
    view: &View,
    cluster: &str,
    namespace: &str,
    service_account: &str,
) -> Option<PodRole> {
    let prefix = key(cluster, "");
    let mut all = view.range::<PodIdentity>(&prefix);
    let is_it =
        |it: &Arc<PodIdentity>| it.namespace == namespace && it.service_account == service_account;
    let found = all.find(is_it)?;
    Some(PodRole {
        association_arn: crate::pod_identities::arn(cell, cluster, &found.id),
        association_id: found.id.clone(),
        role_arn: found.role_arn.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use lath_control::derive_all;
    use lath_feed::Topology;
    use lath_store::{Db, Memory};

    use crate::record::{Access, Endpoint};
    use crate::shape::{AuthenticationMode, ClusterStatus, ControlPlaneTier, SupportType};

    async fn cell(region: &str) -> Cell {
        let mut cell = Cell::for_test().0;
        cell.topology = Arc::new(Topology::single(region));
        cell.region = region.to_owned();
        let kinds = crate::kinds(lath_store::Kinds::default());
        cell.db = Db::open(Arc::new(Memory::new()), kinds).await.unwrap();
        cell
    }

    fn cluster(name: &str, issuer_id: &str) -> Cluster {
        Cluster {
            name: name.into(),
            version: "1.37".into(),
            running: None,
            role_arn: String::new(),
            vpc: "vpc-0123456789abcdef0".parse().unwrap(),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            cluster_group: "sg-0123456789abcdef0".parse().unwrap(),
            endpoint: Endpoint {
                public: true,
                private: false,
                public_cidrs: Vec::new(),
                port: 16443,
            },
            addresses: vec![Ipv4Addr::LOCALHOST],
            service_cidr: "10.100.0.0/16".parse().unwrap(),
            elastic_load_balancing: None,
            logs: BTreeSet::new(),
            issuer_id: issuer_id.into(),
            keys: lath_kubernetes::pki::generate(lath_model::Timestamp::default()).unwrap(),
            access: Access {
                mode: AuthenticationMode::Api,
                bootstrap: true,
                creator: String::new(),
                creator_id: None,
            },
            self_managed_addons: BTreeMap::new(),
            support: SupportType::Extended,
            zonal_shift: None,
            compute: None,
            storage: None,
            deletion_protection: false,
            tier: ControlPlaneTier::Standard,
            status: ClusterStatus::Active,
            status_after: 0,
            issues: Vec::new(),
            boot: 1,
            client_request_token: None,
            tags: BTreeMap::new(),
            created_at: lath_model::Timestamp::default(),
        }
    }

    async fn put(cell: &Cell, record: impl Record) {
        let written = cell.db.write(|tx| {
            tx.put(record);
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
    }

    async fn carry(from: &Cell, to: &Cell) {
        let parts = derive_all(from, SECTION.export, &from.db.view());
        assert!(
            !format!("{parts:?}").contains("PRIVATE"),
            "public keys only"
        );
        let parts = parts.into_iter().map(|(part, bytes)| (part, Some(bytes)));
        let told = Told {
            whole: true,
            parts: parts.collect(),
        };
        let import = |tx: &mut Tx| (SECTION.import)(to, tx, &from.region, &told);
        to.db.write(import).await.unwrap();
    }

    #[tokio::test]
    async fn every_region_knows_the_keys_of_every_issuer() {
        let (home, other) = (cell("us-east-1").await, cell("eu-west-1").await);
        put(&home, cluster("shop", "ABC")).await;
        put(&other, cluster("shop", "DEF")).await;
        carry(&home, &other).await;
        let url = "https://oidc.eks.us-east-1.amazonaws.com/id/ABC";
        let at = |cell: &Cell, url: &str| issuer(cell, &cell.db.view(), url);
        let own = at(&home, url).unwrap();
        assert_eq!(at(&other, url), Some(own.clone()));
        for none in [
            "https://oidc.eks.us-east-1.amazonaws.com/id/abc",
            "https://oidc.eks.us-east-1.amazonaws.com/id/ABC/",
            "https://oidc.eks.us-east-1.amazonaws.com/id/DEF",
        ] {
            assert_eq!(at(&other, none), None, "{none}");
        }
        for cell in [&home, &other] {
            let document = |path: &str| issuer_document(cell, &cell.db.view(), path);
            assert_eq!(document("/id/ABC/keys").as_ref(), Some(&own.keys));
            let discovery = document("/id/ABC/.well-known/openid-configuration").unwrap();
            assert_eq!(discovery["issuer"], url);
            assert_eq!(discovery["jwks_uri"], format!("{url}/keys"));
            for none in [
                "/id/ABC",
                "/id/ABC/",
                "/id/BC/keys",
                "/id//keys",
                "/id/ABC/keys/",
            ] {
                assert_eq!(document(none), None, "{none}");
            }
        }

        // A cluster that is gone has no keys anywhere.
        let gone = home.db.write(|tx| {
            tx.delete::<Cluster>("shop");
            Ok::<_, ApiError>(())
        });
        gone.await.unwrap();
        carry(&home, &other).await;
        assert_eq!(at(&other, url), None);
        assert!(at(&other, "https://oidc.eks.eu-west-1.amazonaws.com/id/DEF").is_some());
    }

    #[tokio::test]
    async fn a_service_account_has_the_role_of_its_association() {
        let cell = cell("us-east-1").await;
        put(&cell, cluster("shop", "ABC")).await;
        let now = cell.now();
        let association = PodIdentity {
            id: "a-1".into(),
            cluster: "shop".into(),
            namespace: "web".into(),
            service_account: "cart".into(),
            role_arn: "arn:aws:iam::123456789012:role/cart".into(),
            owner: None,
            tags: BTreeMap::new(),
            created_at: now,
            modified_at: now,
        };
        put(&cell, association).await;
        let view = cell.db.view();
        let role = |cluster, account| pod_role(&cell, &view, cluster, "web", account);
        let found = role("shop", "cart").unwrap();
        assert_eq!(found.association_id, "a-1");
        let arn = "arn:aws:eks:us-east-1:123456789012:podidentityassociation/shop/a-1";
        assert_eq!(found.association_arn, arn);
        assert_eq!(role("shop", "other"), None);
        assert_eq!(role("sho", "cart"), None);
        let (arn, issuer) = issuer_of(&cell, &view, "shop").unwrap();
        assert_eq!(arn, "arn:aws:eks:us-east-1:123456789012:cluster/shop");
        assert!(issuer.url.ends_with("/id/ABC"));
        assert!(issuer_of(&cell, &view, "none").is_none());
    }
}
