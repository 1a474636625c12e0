//! What a certificate is for: the templates of ACM PCA
//! (<https://docs.aws.amazon.com/privateca/latest/userguide/UsingTemplates.html>).

use lath_ca::Constraint;
use lath_control::Cell;

const SIGNATURE: u16 = 1;
const ENCIPHERMENT: u16 = 1 << 2;
const AUTHORITY: u16 = SIGNATURE | 1 << 5 | 1 << 6;
const SERVER: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
const CODE: &str = "1.3.6.1.5.5.7.3.3";
const OCSP: &str = "1.3.6.1.5.5.7.3.9";

/// A template.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Template {
    name: &'static str,
    pub(crate) constraint: Constraint,
    pub(crate) key_usages: u16,
    pub(crate) extended: &'static [&'static str],
}

const fn leaf(name: &'static str, key_usages: u16, extended: &'static [&'static str]) -> Template {
    Template {
        name,
        constraint: Constraint::Leaf,
        key_usages,
        extended,
    }
}

const fn authority(name: &'static str, length: Option<u8>) -> Template {
    Template {
        name,
        constraint: Constraint::Authority(length),
        key_usages: AUTHORITY,
        extended: &[],
    }
}

pub(crate) const ROOT: Template = authority("RootCACertificate/V1", None);

const ALL: [Template; 10] = [
    leaf(
        "EndEntityCertificate/V1",
        SIGNATURE | ENCIPHERMENT,
        &[SERVER, CLIENT],
    ),
    leaf(
        "EndEntityServerAuthCertificate/V1",
        SIGNATURE | ENCIPHERMENT,
        &[SERVER],
    ),
    leaf(
        "EndEntityClientAuthCertificate/V1",
        SIGNATURE | ENCIPHERMENT,
        &[CLIENT],
    ),
    leaf("CodeSigningCertificate/V1", SIGNATURE, &[CODE]),
    leaf("OCSPSigningCertificate/V1", SIGNATURE, &[OCSP]),
    ROOT,
    authority("SubordinateCACertificate_PathLen0/V1", Some(0)),
    authority("SubordinateCACertificate_PathLen1/V1", Some(1)),
    authority("SubordinateCACertificate_PathLen2/V1", Some(2)),
    authority("SubordinateCACertificate_PathLen3/V1", Some(3)),
];

/// The template of an ARN, or the default one.
pub(crate) fn of(cell: &Cell, arn: Option<&str>) -> Option<Template> {
    let Some(arn) = arn else {
        return Some(ALL[0]);
    };
    let start = format!("arn:{}:acm-pca:::template/", cell.partition());
    let name = arn.strip_prefix(&start)?;
    ALL.into_iter().find(|it| it.name == name)
}
