//! What Gateways ask clients for.

use k8s_openapi::api::core::v1::ConfigMap;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::bench::Bench;
use super::entrance::{extended, judged, own_world, secret};
use super::*;
use crate::authorities::Authorities;
use crate::entrance;
use crate::kinds::Gateway;

/// A certificate as PEM.
pub(super) fn pem(is_authority: bool) -> String {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

fn map(text: &str) -> Option<Authorities> {
    let data = json!({"data": {"ca.crt": text}});
    Authorities::of(serde_json::from_value::<ConfigMap>(data).unwrap())
}

pub(super) fn put(world: &mut World, name: &str, text: &str) {
    let (namespace, name) = name.split_once('/').unwrap();
    let at = Name::new(namespace, name);
    world.authorities.insert(at, Arc::new(map(text).unwrap()));
}

fn reference(name: &str) -> Value {
    json!({"group": "", "kind": "ConfigMap", "name": name})
}

fn validation(references: Value) -> Value {
    json!({"validation": {"caCertificateRefs": references}})
}

/// A Gateway with HTTP, and HTTPS at 443 and 8443.
fn asking(frontend: &Value) -> World {
    let mut world = own_world(http());
    let tls = json!({"certificateRefs": [{"name": "cert"}]});
    let spec = json!({"gatewayClassName": "lattice", "tls": {"frontend": frontend}, "listeners": [
        {"name": "http", "protocol": "HTTP", "port": 80},
        {"name": "https", "protocol": "HTTPS", "port": 443, "tls": tls},
        {"name": "other", "protocol": "HTTPS", "port": 8443, "tls": tls}]});
    let gateway: Arc<Gateway> = object("default/gw", &spec);
    world.gateways.insert(Name::new("default", "gw"), gateway);
    secret(&mut world, "default/cert", None);
    world
}

/// What each listener is: why it is accepted or not, its references, and the mode that clients are asked in.
fn said(world: &World) -> Vec<(&'static str, &'static str, Option<String>)> {
    let (_, judged) = judged(world);
    let mode = |text: &String| {
        let text: Value = serde_json::from_str(text).unwrap();
        text["mode"].as_str().unwrap().to_owned()
    };
    let all = judged.iter();
    all.map(|it| {
        (
            it.accepted.reason,
            it.resolved.reason,
            it.asks.as_ref().map(mode),
        )
    })
    .collect()
}

#[test]
fn a_config_map_has_authorities_or_it_is_said_why_not() {
    let (one, two) = (pem(true), pem(true));
    let both = map(&format!("{one}junk\n{two}")).unwrap();
    assert_ne!(both, map(&one).unwrap());
    let wrong = map(&pem(false)).unwrap();
    for text in [
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &format!("{one}{}", pem(false)),
    ] {
        assert_eq!(map(text).unwrap(), wrong, "{text}");
    }
    assert_ne!(map("").unwrap(), wrong);
    assert_eq!(Authorities::of(ConfigMap::default()), None);
}

#[test]
fn a_port_asks_what_its_gateway_says_of_it() {
    let (good, found) = ("Accepted", "ResolvedRefs");
    let mut ports = validation(json!([reference("ca")]));
    ports["validation"]["mode"] = json!("AllowInsecureFallback");
    let frontend = json!({"default": validation(json!([reference("ca")])), "perPort": [{"port": 8443, "tls": ports}]});
    let mut world = asking(&frontend);
    let none = "NoValidCACertificate";
    assert_eq!(
        said(&world),
        [
            (good, found, None),
            (none, "InvalidCACertificateRef", None),
            (none, "InvalidCACertificateRef", None)
        ]
    );
    let ca = pem(true);
    put(&mut world, "default/ca", &ca);
    let asks = |mode: &str| Some(mode.to_owned());
    assert_eq!(
        said(&world),
        [
            (good, found, None),
            (good, found, asks("verify")),
            (good, found, asks("passthrough"))
        ]
    );
    let (sections, judged) = judged(&world);
    let base64: String = ca.lines().filter(|it| !it.starts_with('-')).collect();
    let text: Value = serde_json::from_str(judged[1].asks.as_ref().unwrap()).unwrap();
    assert_eq!(text["trustAnchorCertificates"], json!([base64]));
    let name = Name::new("default", "gw");
    let gateway = &world.gateways[&name];
    let arns = BTreeMap::from([(Name::new("default", "cert"), "arn:cert".to_owned())]);
    let made = entrance::entrance(
        &extended(),
        (&name, gateway),
        (&sections, &judged),
        &arns,
        None,
    );
    let asks: Vec<_> = made.doors.iter().map(|it| it.asks.is_some()).collect();
    assert_eq!(asks, [false, true, true]);
    assert_eq!(
        world.touched_by_authorities(&Name::new("default", "ca")),
        [Key::Gateway(name)]
    );
}

#[test]
fn without_an_authority_no_client_gets_in() {
    let frontend = |references: Value| json!({"default": validation(references)});
    let many: Vec<_> = (0..8).map(|it| reference(&format!("many-{it}"))).collect();
    for (references, want) in [
        (
            json!([]),
            ("NoValidCACertificate", "InvalidCACertificateRef"),
        ),
        (
            json!([reference("bad")]),
            ("NoValidCACertificate", "InvalidCACertificateRef"),
        ),
        (
            json!([{"group": "", "kind": "Service", "name": "ca"}]),
            ("NoValidCACertificate", "InvalidCACertificateKind"),
        ),
        (
            json!([{"group": "", "kind": "ConfigMap", "name": "ca", "namespace": "other"}]),
            ("NoValidCACertificate", "RefNotPermitted"),
        ),
        // Some are as good as the reference says.
        (
            json!([reference("bad"), reference("ca")]),
            ("Accepted", "InvalidCACertificateRef"),
        ),
        // There is no room for all: none is left out without a word.
        (
            json!(many),
            ("NoValidCACertificate", "InvalidCACertificateRef"),
        ),
    ] {
        let mut world = asking(&frontend(references.clone()));
        put(&mut world, "default/ca", &pem(true));
        put(&mut world, "other/ca", &pem(true));
        put(&mut world, "default/bad", &pem(false));
        for it in 0..8 {
            put(
                &mut world,
                &format!("default/many-{it}"),
                &format!("{}{}", pem(true), pem(true)),
            );
        }
        let (accepted, resolved, _) = said(&world).remove(1);
        assert_eq!((accepted, resolved), want, "{references}");
    }
}

#[tokio::test]
async fn an_insecure_gateway_says_so() {
    let mut settings = extended();
    settings.default_service_network = Some("gw".into());
    let mut config = validation(json!([reference("ca")]));
    config["validation"]["mode"] = json!("AllowInsecureFallback");
    let mut world = asking(&json!({"default": config}));
    put(&mut world, "default/ca", &pem(true));
    let mut spec = serde_json::to_value(&world.gateways[&Name::new("default", "gw")].spec).unwrap();
    // Without a certificate of ACM the bench has no HTTPS; what is said of clients is said nevertheless.
    world.secrets.clear();
    let bench = Bench::new(world, settings).await;
    bench.put("gateways", "gw", &spec);
    let key = Key::Gateway(Name::new("default", "gw"));
    bench.settle(std::slice::from_ref(&key)).await;
    let (reason, _) = bench.said("gateways", "gw", "InsecureFrontendValidationMode");
    assert_eq!(reason, "ConfigurationChanged");
    spec["tls"] = json!(null);
    bench.put("gateways", "gw", &spec);
    bench.settle(&[key]).await;
    let gateway = bench.object("gateways", "gw").unwrap();
    let conditions = gateway["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .all(|it| it["type"] != "InsecureFrontendValidationMode"),
        "{gateway}"
    );
}
