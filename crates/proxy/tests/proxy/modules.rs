//! Which of the proxy's modules knows which: decision 30.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The crates of the engine beneath, and the only module that may name them.
const ENGINES: [&str; 3] = ["hyper", "hyper_util", "h2"];
const ENGINE: &str = "engine";

/// A module's code, without comments and tests.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    let lines = text.lines();
    lines
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

fn files(under: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(under).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .filter(|path| path.file_stem().is_some_and(|it| it != "tests"))
        .collect()
}

/// Each module's code, a directory's as a whole; the root is `lib`.
fn modules() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::<String, String>::new();
    for file in files(&src) {
        let path = file.strip_prefix(&src).unwrap().with_extension("");
        let module = path.components().next().unwrap().as_os_str();
        let module = module.to_str().unwrap().to_owned();
        *modules.entry(module).or_default() += &code(&file);
    }
    modules
}

/// The names that follow `path::` in the code.
fn named_after<'a>(code: &'a str, path: &str) -> BTreeSet<&'a str> {
    let is_of_name = |it: char| it.is_alphanumeric() || it == '_';
    let (mut names, mut rest) = (BTreeSet::new(), code);
    let path = format!("{path}::");
    while let Some(at) = rest.find(&path) {
        let begins = !rest[..at].ends_with(is_of_name);
        rest = &rest[at + path.len()..];
        let end = rest.find(|it| !is_of_name(it)).unwrap_or(rest.len());
        if begins {
            names.insert(&rest[..end]);
        }
    }
    names
}

/// A way from a module back to it.
fn circle<'a>(
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    module: &'a str,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> bool {
    let begin = way.iter().position(|it| *it == module);
    if let Some(begin) = begin {
        way.drain(..begin);
        way.push(module);
        return true;
    }
    if !done.insert(module) {
        return false;
    }
    way.push(module);
    let found = imports[module]
        .iter()
        .any(|next| circle(imports, next, way, done));
    if !found {
        way.pop();
    }
    found
}

#[test]
fn only_the_engine_knows_hyper() {
    for (module, code) in modules() {
        let named = |engine: &&str| !named_after(&code, engine).is_empty();
        let known: Vec<_> = ENGINES.iter().filter(|engine| named(engine)).collect();
        assert!(
            known.is_empty() || module == ENGINE,
            "{module} names {known:?}"
        );
    }
}

#[test]
fn no_module_imports_itself_by_way_of_others() {
    let modules = modules();
    let mut imports = BTreeMap::new();
    for (module, code) in &modules {
        let named = named_after(code, "crate");
        let others = named.iter().copied().filter(|it| it != module);
        let others: BTreeSet<&str> = others.collect();
        let unknown: Vec<_> = others
            .iter()
            .filter(|it| !modules.contains_key(**it))
            .collect();
        assert!(
            unknown.is_empty(),
            "{module} imports {unknown:?} from the root instead of their modules"
        );
        imports.insert(module.as_str(), others);
    }
    assert!(imports["core"].contains("upstream"), "imports are found");
    let mut done = BTreeSet::new();
    for module in modules.keys() {
        let mut way = Vec::new();
        let found = circle(&imports, module, &mut way, &mut done);
        assert!(!found, "a circle: {}", way.join(" -> "));
    }
}
