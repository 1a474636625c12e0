//! `lath env`: the settings that the aws CLI and SDKs need for this Lath.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lath_secrets::RootKey;

use crate::cli::{Env, Output};
use crate::config;
use crate::output;
use crate::private_file;
use crate::running::Running;

pub(crate) fn main(flags: &Env) -> anyhow::Result<()> {
    let data_dir = config::data_dir(&flags.data_dir_flag);
    let running = Running::read(&data_dir)?;
    let key = RootKey::load_or_create(&data_dir)?;
    match &flags.profile {
        Some(name) => write_profile(name, &running, &key),
        None => output::print(&text(&variables(&running, &key), flags.output)),
    }
}

fn variables(running: &Running, key: &RootKey) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", running.endpoint.clone()),
        ("AWS_ACCESS_KEY_ID", key.access_key_id.clone()),
        (
            "AWS_SECRET_ACCESS_KEY",
            key.secret_access_key.reveal().to_owned(),
        ),
        ("AWS_REGION", running.region.clone()),
        // Version 1 of the aws CLI reads only this one.
        ("AWS_DEFAULT_REGION", running.region.clone()),
    ]
}

fn text(variables: &[(&str, String)], output: Output) -> String {
    match output {
        Output::Text => variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"))
            .collect(),
        Output::Json => {
            let map: serde_json::Map<_, _> = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                .collect();
            format!("{}\n", serde_json::Value::Object(map))
        }
    }
}

fn aws_file(variable: &str, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set: where is ~/.aws?")?;
    Ok(Path::new(&home).join(".aws").join(name))
}

fn write_profile(name: &str, running: &Running, key: &RootKey) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(plain) {
        bail!("{name:?} is not a profile name: letters, digits, '-', '_' and '.'");
    }
    let config = aws_file("AWS_CONFIG_FILE", "config")?;
    let section = if name == "default" {
        name.to_owned()
    } else {
        format!("profile {name}")
    };
    let settings = [
        ("region", &running.region),
        ("endpoint_url", &running.endpoint),
    ];
    replace_section(&config, &section, &settings)?;
    let credentials = aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    let secret = key.secret_access_key.reveal().to_owned();
    let settings = [
        ("aws_access_key_id", &key.access_key_id),
        ("aws_secret_access_key", &secret),
    ];
    replace_section(&credentials, name, &settings)?;
    output::print(&format!(
        "profile {name} written to {} and {}\ntry: aws --profile {name} sts get-caller-identity\n",
        config.display(),
        credentials.display()
    ))
}

/// Replaces one section of an INI file, or adds it. Keeps every other line.
fn replace_section(path: &Path, section: &str, settings: &[(&str, &String)]) -> anyhow::Result<()> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let after = with_section(&before, section, settings);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    private_file::write(path, after.as_bytes())
}

fn with_section(before: &str, section: &str, settings: &[(&str, &String)]) -> String {
    let header = format!("[{section}]");
    let mut inside = false;
    let mut text = String::new();
    for line in before.lines() {
        if line.trim_start().starts_with('[') {
            inside = line.trim() == header;
        }
        if !inside {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(&header);
    text.push('\n');
    for (name, value) in settings {
        let _infallible_for_strings = writeln!(text, "{name} = {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_section_changes() {
        let before = "[default]\nregion = eu-west-1\n\n[profile lath]\nregion = old\nextra = x\n[profile other]\na = b\n";
        let after = with_section(
            before,
            "profile lath",
            &[("region", &"us-east-1".to_owned())],
        );
        assert_eq!(
            after,
            "[default]\nregion = eu-west-1\n\n[profile other]\na = b\n\n[profile lath]\nregion = us-east-1\n"
        );
        assert_eq!(
            with_section(
                &after,
                "profile lath",
                &[("region", &"us-east-1".to_owned())]
            ),
            after
        );
    }
}
