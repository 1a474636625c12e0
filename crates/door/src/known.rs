//! How services are worded by who does not serve them: a relay answers for a region that is dead.

use lath_wire::{Protocol, ServiceInfo};

const fn info(
    signing_name: &'static str,
    version: &'static str,
    xmlns: &'static str,
    target_prefix: &'static str,
    protocols: &'static [Protocol],
) -> ServiceInfo {
    ServiceInfo {
        signing_name,
        model: signing_name,
        version,
        xmlns,
        target_prefix,
        protocols,
    }
}

/// The services that a region may serve, as they identify themselves.
pub const KNOWN_SERVICES: &[ServiceInfo] = &[
    info(
        "ec2",
        "2016-11-15",
        "http://ec2.amazonaws.com/doc/2016-11-15/",
        "",
        &[Protocol::Ec2Query],
    ),
    info("vpc-lattice", "2022-11-30", "", "", &[Protocol::RestJson]),
    info(
        "iam",
        "2010-05-08",
        "https://iam.amazonaws.com/doc/2010-05-08/",
        "",
        &[Protocol::Query],
    ),
    info(
        "sts",
        "2011-06-15",
        "https://sts.amazonaws.com/doc/2011-06-15/",
        "",
        &[Protocol::Query],
    ),
    info(
        "route53",
        "2013-04-01",
        "https://route53.amazonaws.com/doc/2013-04-01/",
        "",
        &[Protocol::RestXml],
    ),
    info(
        "acm",
        "2015-12-08",
        "",
        "CertificateManager",
        &[Protocol::Json11],
    ),
    info(
        "acm-pca",
        "2017-08-22",
        "",
        "ACMPrivateCA",
        &[Protocol::Json11],
    ),
    info(
        "ecr",
        "2015-09-21",
        "",
        "AmazonEC2ContainerRegistry_V20150921",
        &[Protocol::Json11],
    ),
    info(
        "cloudformation",
        "2010-05-15",
        "http://cloudformation.amazonaws.com/doc/2010-05-15/",
        "",
        &[Protocol::Query],
    ),
    info("eks", "2017-11-01", "", "", &[Protocol::RestJson]),
    info("lambda", "2015-03-31", "", "", &[Protocol::RestJson]),
    info("eks-auth", "2023-11-26", "", "", &[Protocol::RestJson]),
    info(
        "secretsmanager",
        "2017-10-17",
        "",
        "secretsmanager",
        &[Protocol::Json11],
    ),
    info(
        "logs",
        "2014-03-28",
        "",
        "Logs_20140328",
        &[Protocol::Json11],
    ),
    ServiceInfo {
        signing_name: "monitoring",
        model: "cloudwatch",
        version: "2010-08-01",
        xmlns: "http://monitoring.amazonaws.com/doc/2010-08-01/",
        target_prefix: "GraniteServiceVersion20100801",
        protocols: &[Protocol::Query, Protocol::Json10, Protocol::RpcV2Cbor],
    },
];
