//! Holds SPECIFICATION.md to the tests that it names.

use std::fs;
use std::path::Path;

/// Names of tests in backticks, `PATH` or `PATH::FUNCTION`, that are not there.
fn missing(root: &Path, text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let tests = quoted.filter(|it| it.contains(".rs") || it.contains(".py"));
    let lost = tests.filter(|name| {
        let (path, function) = name.split_once("::").unwrap_or((name, ""));
        let source = fs::read_to_string(root.join(path));
        !source.is_ok_and(|it| function.is_empty() || it.contains(&format!(" {function}(")))
    });
    lost.map(str::to_owned).collect()
}

#[test]
fn every_promise_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("SPECIFICATION.md")).unwrap();
    assert!(
        text.matches("::").count() > 20,
        "the file is no longer read as it is written"
    );
    assert_eq!(missing(&root, &text), Vec::<String>::new());
}

#[test]
fn a_test_that_is_gone_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "| `src/main.rs::main` | `src/main.rs::gone` | `src/gone.rs` | `gone` |";
    assert_eq!(missing(root, text), ["src/main.rs::gone", "src/gone.rs"]);
}
