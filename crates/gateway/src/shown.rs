//! What Gateways show targets that ask who calls: the certificate of a Secret.

use crate::condition::ConditionState;
use crate::kinds::Gateway;
use crate::secrets::ObjectRef;
use crate::world::{Name, World};

/// The reference to what a Gateway shows targets, if it has one.
pub(crate) fn reference(gateway: &Gateway) -> Option<ObjectRef> {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    backend.client_certificate_ref.as_ref().map(ObjectRef::of)
}

/// The Secret that a Gateway names for that.
pub(crate) fn named(at: &Name, gateway: &Gateway) -> Option<Name> {
    let reference = reference(gateway).filter(ObjectRef::is_to_secret)?;
    Some(reference.at(&at.namespace))
}

/// What becomes of the reference, and the Secret that it leads to. While a Secret's new content is refused, the certificate of the
/// former one stays. `None`: the Gateway has no such reference.
pub(crate) fn resolved(
    world: &World,
    (at, gateway): (&Name, &Gateway),
    entrance: bool,
) -> Option<(ConditionState, Option<Name>)> {
    let reference = reference(gateway)?;
    let invalid = |message: String| ConditionState::bad("InvalidClientCertificateRef", message);
    if !entrance {
        let message = "VPC Lattice shows targets no certificate: only Gateways with an address do";
        return Some((invalid(message.to_owned()), None));
    }
    if !reference.is_to_secret() {
        let message = format!("clientCertificateRef {} is not to a Secret", reference.name);
        return Some((invalid(message), None));
    }
    let name = reference.at(&at.namespace);
    if !world.is_granted(("Gateway", &at.namespace), ("", "Secret"), &name) {
        let message = format!("no ReferenceGrant lets this Gateway refer to Secret {name}");
        return Some((ConditionState::bad("RefNotPermitted", message), None));
    }
    let Some(secret) = world.secrets.get(&name) else {
        let message = format!("there is no Secret {name} of type kubernetes.io/tls");
        return Some((invalid(message), None));
    };
    let refused = world.refused.get(&name);
    let refused = refused.filter(|(hash, _)| *hash == secret.hash);
    let why = secret
        .fault
        .or_else(|| refused.map(|(_, why)| why.as_str()));
    let Some(why) = why else {
        return Some((ConditionState::good("ResolvedRefs"), Some(name)));
    };
    let verdict = invalid(format!("Secret {name}: {why}"));
    let former = world.is_imported(&name).then_some(name);
    Some((verdict, former))
}

/// The ARN of what a Gateway shows targets.
pub(crate) fn arn<'a>(world: &'a World, at: &Name, gateway: &Gateway) -> Option<&'a String> {
    let (_, secret) = resolved(world, (at, gateway), true)?;
    let secret = secret?;
    let mut imported = world.imported.iter();
    imported
        .find(|(_, name)| **name == secret)
        .map(|(arn, _)| arn)
}
