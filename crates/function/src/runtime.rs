//! What runs in an environment: by the function's runtime.

use std::path::Path;

use lath_feed::Function;

/// Where the code of a function is.
pub(crate) const TASK_ROOT: &str = "/var/task";
/// Where what Lambda brings is.
pub(crate) const RUNTIME_DIR: &str = "/var/runtime";
/// The program of managed runtimes for Python.
pub(crate) const PYTHON_PROGRAM: &str = include_str!("bootstrap.py");
/// Its place.
const PYTHON_PLACE: &str = "/var/runtime/bootstrap.py";

/// How a function's program is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) argv: Vec<String>,
    /// A file that must be there: its place, and what it holds.
    pub(crate) file: Option<(&'static str, &'static str)>,
}

/// How to begin a function.
///
/// # Errors
/// Why it cannot be run here, in words for its user.
pub(crate) fn begin(function: &Function) -> Result<Begin, String> {
    if function.runtime.starts_with("provided.") {
        // Custom runtimes come with the code; what they lack is found when they are begun, as on AWS.
        return Ok(Begin {
            argv: vec![format!("{TASK_ROOT}/bootstrap")],
            file: None,
        });
    }
    let version = function.runtime.strip_prefix("python");
    let version = version.ok_or_else(|| format!("there is no runtime {}", function.runtime))?;
    let python = python(version, |path| Path::new(path).exists())
        .ok_or("this machine has no python3 in /usr/bin or /usr/local/bin")?;
    Ok(Begin {
        argv: vec![python, "-u".into(), PYTHON_PLACE.into()],
        file: Some((PYTHON_PLACE, PYTHON_PROGRAM)),
    })
}

/// The interpreter of this version, else the one that there is; environments see the host's `/usr`.
fn python(version: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let names = [format!("python{version}"), "python3".to_owned()];
    let places = names.iter().flat_map(|name| {
        ["/usr/bin", "/usr/local/bin"].map(|directory| format!("{directory}/{name}"))
    });
    places.into_iter().find(|path| exists(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_interpreter_comes_first() {
        let there = |names: &'static [&str]| move |path: &str| names.contains(&path);
        for (names, want) in [
            (
                &["/usr/local/bin/python3.12", "/usr/bin/python3"][..],
                Some("/usr/local/bin/python3.12"),
            ),
            (&["/usr/bin/python3"][..], Some("/usr/bin/python3")),
            (&[][..], None),
        ] {
            assert_eq!(python("3.12", there(names)).as_deref(), want);
        }
    }
}
