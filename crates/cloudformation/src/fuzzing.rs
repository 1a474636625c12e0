//! The entry point of the fuzz target.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kinds::Ctx;
use crate::resolve::{Scope, Surroundings};
use crate::template::Template;
use crate::{kinds, parameters};

/// All that a row does with properties, as at a create and as at an update from and to nothing.
fn called(kind: &kinds::Kind, properties: &Value) {
    let (none, tags) = (json!({}), BTreeMap::new());
    let properties = kinds::object(properties);
    for (properties, old) in [
        (properties, None),
        (properties, Some(&none)),
        (&none, Some(properties)),
    ] {
        let ctx = Ctx {
            properties,
            old,
            id: "id",
            token: "token",
            attributes: &none,
            looked: &none,
            stack_name: "stack",
            stack_arn: "arn",
            logical: "Logical",
            stack_tags: &tags,
            old_stack_tags: &tags,
        };
        let _ = (
            (kind.make)(&ctx),
            (kind.complete)(&ctx),
            (kind.remove)(&ctx),
        );
        let _ = (
            kind.look.map(|it| it(&ctx)),
            kind.find.map(|it| it(&ctx)),
            kind.read.map(|it| it(&ctx)),
        );
        let _ = (
            (kind.id)(&ctx, &none),
            (kind.found)(&ctx, &none),
            (kind.reference)(&ctx),
        );
        let _ = old.map(|old| (kind.replaces)(old, properties));
    }
}

/// Reads a template and, where it is one, evaluates all of it.
pub fn template(body: &str) {
    if body.len() > crate::template::LONGEST {
        return;
    }
    let Ok(template) = Template::read(body) else {
        return;
    };
    let order = template
        .order()
        .expect("a template that was read has an order");
    assert_eq!(order.len(), template.resources.len());
    let _ = template.capabilities();
    let Ok(settled) = parameters::settle(&template, &[], &[]) else {
        return;
    };
    let around = Surroundings {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        partition: "aws".into(),
        suffix: "amazonaws.com".into(),
        stack_name: "stack".into(),
        stack_id: "arn".into(),
        topics: Vec::new(),
        zones: vec!["us-east-1a".into()],
    };
    let scope = Scope {
        template: &template,
        parameters: &settled.values,
        around: &around,
        export: &|_| None,
        resource: &|name, _| Ok(name.into()),
        steps: &std::cell::Cell::new(0),
    };
    for declared in template.resources.values() {
        if let Ok(Some(properties)) = scope.value(&declared.properties)
            && let Some(kind) = kinds::find(&declared.type_name)
        {
            let _ = (kind.unknown(&properties), kind.missing(&properties));
            let _ = kinds::reserved_tags(&properties);
            called(kind, &properties);
        }
    }
    for name in template.conditions.keys() {
        let _ = scope.condition(name, 0);
    }
}
