//! The list of services of a region's control plane.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use lath_acm::{Acm, Pca};
use lath_cloudformation::CloudFormation;
use lath_cloudwatch::CloudWatch;
use lath_code::Archives;
use lath_control::{Cell, Contribute, Derive, Section};
use lath_ec2::Ec2;
use lath_ecr::Ecr;
use lath_eks::{Eks, Platform};
use lath_feed::Snapshot;
use lath_iam::Iam;
use lath_judge::Judge;
use lath_lambda::Lambda;
use lath_lattice::{CanaryWatch, Lattice};
use lath_route53::Route53;
use lath_secrets::SecretsManager;
use lath_store::Kinds;
use lath_sts::Sts;
use lath_tasks::Group;
use lath_wire::Service;

use crate::serve::{RegistryAt, RegistryLogins, ServiceHands, token_issuers};

/// What each part adds to the feed. Lattice fills what EC2 has laid.
pub(crate) fn contributions() -> Vec<Contribute> {
    let services = [
        &lath_ec2::CONTRIBUTIONS[..],
        &lath_lattice::CONTRIBUTIONS,
        &lath_route53::CONTRIBUTIONS,
        &lath_eks::CONTRIBUTIONS,
        &lath_lambda::CONTRIBUTIONS,
    ];
    // The callers are in the feed where a policy of Lattice asks, or a cluster. Both are read in the view: what a part read is what
    // it is derived of again.
    let callers = Derive::Whole(|cell, view, snapshot: &mut Snapshot| {
        let is_asked = lath_lattice::asks_who_calls(view) || lath_eks::asks_who_calls(view);
        lath_iam::contribute(cell, view, is_asked, snapshot);
    });
    services.concat().into_iter().chain([callers]).collect()
}

/// The sections of the exchange between regions.
pub(crate) const SECTIONS: [Section; 6] = [
    lath_iam::SECTION,
    lath_ec2::SECTION,
    lath_route53::SECTIONS[0],
    lath_route53::SECTIONS[1],
    lath_lattice::SECTION,
    lath_eks::SECTION,
];

/// All record kinds of the database.
pub(crate) fn kinds() -> Kinds {
    let kinds = lath_control::kinds(Kinds::default());
    let kinds = lath_ec2::kinds(kinds);
    let kinds = lath_lattice::kinds(kinds);
    let kinds = lath_route53::kinds(kinds);
    let kinds = lath_iam::kinds(kinds);
    let kinds = lath_acm::kinds(kinds);
    let kinds = lath_ecr::kinds(kinds);
    let kinds = lath_cloudformation::kinds(kinds);
    let kinds = lath_eks::kinds(kinds);
    let kinds = lath_lambda::kinds(kinds);
    lath_cloudwatch::kinds(kinds)
}

/// What this host offers to clusters.
fn platform() -> Platform {
    Platform::new(lath_kubernetes::Binaries::find, |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    })
}

/// The services of one region.
pub(crate) struct Apps {
    ec2: Arc<Ec2>,
    lattice: Arc<Lattice>,
    cloudwatch: Arc<CloudWatch>,
    sts: Arc<Sts>,
    secrets: Arc<SecretsManager>,
    iam: Arc<Iam>,
    route53: Arc<Route53>,
    eks: Arc<Eks>,
    ecr: Arc<Ecr>,
    acm: Arc<Acm>,
    pca: Arc<Pca>,
    lambda: Arc<Lambda>,
    cloudformation: Arc<CloudFormation>,
    hands: Arc<ServiceHands>,
}

impl Apps {
    pub(crate) fn new(
        cell: &Cell,
        cloudwatch: Arc<CloudWatch>,
        judge: Arc<Judge>,
        registry: &RegistryAt,
        data_dir: &Path,
        canaries: Arc<CanaryWatch>,
    ) -> Self {
        let logins = Arc::new(RegistryLogins(Arc::clone(&judge)));
        let images = registry.images.clone();
        let ecr = Ecr::new(cell.clone(), images, logins, registry.endpoint());
        let hands = Arc::new(ServiceHands::new(cell.clone(), Arc::clone(&judge)));
        let sts = Sts::new(Arc::clone(&judge))
            .with_issuers(token_issuers::sources(cell))
            .with_pods(token_issuers::pods(cell));
        let cloudformation = CloudFormation {
            cell: cell.clone(),
            hands: hands.clone(),
        };
        Self {
            ecr: Arc::new(ecr),
            acm: Arc::new(Acm {
                cell: cell.clone(),
                records: lath_route53::public_values,
            }),
            pca: Arc::new(Pca { cell: cell.clone() }),
            lambda: Arc::new(Lambda {
                cell: cell.clone(),
                archives: Archives::at(data_dir.join(lath_feed::FUNCTION_ARCHIVES)),
            }),
            cloudformation: Arc::new(cloudformation),
            hands,
            ec2: Arc::new(Ec2 { cell: cell.clone() }),
            lattice: Arc::new(Lattice {
                cell: cell.clone(),
                records: lath_route53::public_values,
                canaries,
            }),
            cloudwatch,
            iam: Arc::new(Iam::new(cell.clone(), judge.last_used())),
            secrets: SecretsManager::of(judge.owner()),
            sts: Arc::new(sts),
            route53: Arc::new(Route53::new(cell.clone(), &contributions())),
            eks: Arc::new(Eks {
                cell: cell.clone(),
                platform: platform(),
            }),
        }
    }

    /// The services for the front door.
    pub(crate) fn services(&self) -> Vec<Service> {
        let mut services = self.others();
        services.push(lath_cloudformation::service(&self.cloudformation));
        self.iam.learn(&services);
        services
    }

    /// The services whose operations CloudFormation calls.
    fn others(&self) -> Vec<Service> {
        let mut services = vec![
            lath_ec2::service(&self.ec2),
            lath_lattice::service(&self.lattice),
            lath_sts::sts_service(&self.sts),
            lath_secrets::secretsmanager_service(&self.secrets),
            lath_sts::eks_auth_service(&self.sts),
            lath_iam::service(&self.iam),
            lath_route53::service(&self.route53),
            lath_eks::service(&self.eks),
            lath_ecr::service(&self.ecr),
            lath_acm::service(&self.acm),
            lath_acm::pca_service(&self.pca),
            lath_lambda::service(&self.lambda),
        ];
        services.extend(lath_cloudwatch::services(&self.cloudwatch));
        services
    }

    /// The registry of this region.
    pub(crate) fn ecr(&self) -> &Arc<Ecr> {
        &self.ecr
    }

    /// Starts the reconcilers, which derive states from observations.
    pub(crate) fn spawn_reconcilers(&self, group: &mut Group) {
        lath_ec2::reconcilers(&self.ec2, group);
        lath_lattice::reconcilers(&self.lattice, group);
        lath_route53::reconcilers(&self.route53, group);
        lath_eks::reconcilers(&self.eks, group);
        lath_acm::reconcilers(&self.acm, group);
        lath_lambda::reconcilers(&self.lambda, group);
        self.hands.take(self.others());
        lath_cloudformation::reconcilers(&self.cloudformation, group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write as _;

    use lath_cloudwatch::Limits;
    use lath_registry::Images;
    use lath_secrets::RootKey;

    const NO_MODELS: &str = "LATH_MODELS names no dump of the published models; ./x test makes one";

    /// The services, and the published models that `tests/model/dump.py` wrote to the file `LATH_MODELS`. Without it the
    /// test is skipped, or fails where `CI` or `LATH_REQUIRE_MODELS` is set.
    fn services_and_models() -> Option<(Vec<Service>, serde_json::Value)> {
        let Some(path) = std::env::var_os("LATH_MODELS") else {
            let required = ["CI", "LATH_REQUIRE_MODELS"];
            let is_required = required.iter().any(|it| std::env::var_os(it).is_some());
            assert!(!is_required, "{NO_MODELS}");
            // Written past the harness, which shows what `eprintln!` says only when the test fails.
            writeln!(std::io::stderr(), "SKIPPED: {NO_MODELS}").unwrap();
            return None;
        };
        let models = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Some((services(), models))
    }

    fn services() -> Vec<Service> {
        let directory = tempfile::tempdir().unwrap();
        let cell = Cell::for_test().0;
        let cloudwatch =
            CloudWatch::open(cell.clone(), directory.path(), Limits::default()).unwrap();
        let judge = Arc::new(Judge::new(RootKey::random().unwrap(), cell.account.clone()));
        let registry = RegistryAt {
            images: Images::open(directory.path().join("images")).unwrap(),
            listen: ([127, 0, 0, 1], 4568).into(),
        };
        let data_dir = directory.path();
        Apps::new(
            &cell,
            cloudwatch,
            judge,
            &registry,
            data_dir,
            Arc::new(CanaryWatch::new(cell.db.clock().clone())),
        )
        .services()
    }

    #[test]
    fn the_front_door_knows_every_service_of_a_dead_region() {
        for service in services() {
            let name = service.info().signing_name;
            let mut known = lath_door::KNOWN_SERVICES.iter();
            let known = known.find(|info| info.signing_name == name);
            assert_eq!(known, Some(service.info()), "{name}");
        }
    }

    #[test]
    fn every_operation_is_as_its_model_says() {
        let Some((services, models)) = services_and_models() else {
            return;
        };
        let differences: Vec<String> = services
            .iter()
            .flat_map(|service| {
                // The compatibility table lists what is missing or laxer than the model.
                lath_oracle::compare(service, &models)
                    .into_iter()
                    .filter(|difference| !difference.lax)
                    .map(|difference| format!("{}: {difference}", service.info().model))
            })
            .collect();
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    /// Every refused member exists in the model, so that the error uses the caller's name for it.
    #[test]
    fn refused_members_are_called_as_in_the_model() {
        let Some((services, models)) = services_and_models() else {
            return;
        };
        for service in &services {
            let strange = lath_oracle::unknown_refusals(service, &models);
            assert!(strange.is_empty(), "{strange:?}");
        }
    }

    #[test]
    fn the_compatibility_table_is_fresh() {
        let Some((services, models)) = services_and_models() else {
            return;
        };
        let mut table = String::from(
            "# Compatibility\n\nEvery operation of every service served, from the registry and the published models. What is *not\nyet* there answers with the protocol's error for an unknown operation. A member that is not known is an error in EC2,\nand passed over elsewhere, as AWS does; what is *refused when set* answers with an error that names it. Written by `cargo xtask compat`.\n\n",
        );
        table.push_str(&lath_oracle::compat_table(&services, &models));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
        if std::env::var_os("LATH_WRITE_DOCS").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == table,
            "docs/compatibility.md is stale: run `cargo xtask compat`"
        );
    }
}
