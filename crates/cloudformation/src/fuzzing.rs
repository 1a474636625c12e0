//! The entry point of the fuzz target.

use crate::resolve::{Scope, Surroundings};
use crate::template::Template;
use crate::{kinds, parameters};

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
        steps: std::cell::Cell::new(0),
    };
    for declared in template.resources.values() {
        if let Ok(Some(properties)) = scope.value(&declared.properties)
            && let Some(kind) = kinds::find(&declared.type_name)
        {
            let _ = (kind.unknown(&properties), kind.missing(&properties));
        }
    }
    for name in template.conditions.keys() {
        let _ = scope.condition(name, 0);
    }
}
