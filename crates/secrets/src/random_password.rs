use std::sync::Arc;

use lath_model::{Owner, Partition};
use lath_service::{App, operations};
use lath_store::View;
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "secretsmanager",
    model: "secretsmanager",
    version: "2017-10-17",
    xmlns: "",
    target_prefix: "secretsmanager",
    protocols: &[Protocol::Json11],
};

/// Secrets Manager of an account, without operations that store a secret.
pub struct SecretsManager {
    account: String,
    partition: Partition,
}

impl SecretsManager {
    /// That of an account.
    pub fn of(owner: Owner<'_>) -> Arc<Self> {
        Arc::new(Self {
            account: owner.account.to_owned(),
            partition: owner.partition,
        })
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            partition: self.partition,
            account: &self.account,
        }
    }
}

impl App for SecretsManager {
    /// It keeps nothing.
    fn view(&self) -> Arc<View> {
        Arc::default()
    }
}

lath_authz::authorized!(SecretsManager, |app| app.view(), app.owner());

/// The service for the front door.
pub fn secretsmanager_service(app: &Arc<SecretsManager>) -> Service {
    register(Service::new(INFO).held_to(&crate::bounds::CONSTRAINTS), app)
}

operations! {
    for SecretsManager as "secretsmanager";
    read GetRandomPassword -> RandomPassword = random_password => any();
}

const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NUMBERS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const DEFAULT_LENGTH: i64 = 32;
const MAX_LENGTH: usize = 4096;

/// Generates a password from the system's random source
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html>).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GetRandomPassword {
    /// The length, from 1 to 4096; default 32.
    pub password_length: Option<i64>,
    /// Excluded characters, at most 4096.
    pub exclude_characters: Option<String>,
    /// Excludes digits.
    pub exclude_numbers: Option<bool>,
    /// Excludes ``!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~``.
    pub exclude_punctuation: Option<bool>,
    /// Excludes A to Z.
    pub exclude_uppercase: Option<bool>,
    /// Excludes a to z.
    pub exclude_lowercase: Option<bool>,
    /// Allows spaces.
    pub include_space: Option<bool>,
    /// Requires at least one character of each type that is not excluded; default true.
    pub require_each_included_type: Option<bool>,
}

/// The response of [`GetRandomPassword`]. It has no `Debug` output.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RandomPassword {
    /// The password.
    pub random_password: Option<String>,
}

fn random_password(
    _app: &SecretsManager,
    _view: &View,
    op: &GetRandomPassword,
) -> Result<RandomPassword, ApiError> {
    let recipe = Recipe::new(op)?;
    Ok(RandomPassword {
        random_password: Some(recipe.draw()),
    })
}

/// A valid request.
struct Recipe {
    length: usize,
    /// The password contains at least one character of each of these.
    required: Vec<Vec<char>>,
    /// The characters for the rest.
    alphabet: Vec<char>,
}

impl Recipe {
    fn new(op: &GetRandomPassword) -> Result<Self, ApiError> {
        let length = length(op);
        let types = included_types(op);
        let mut alphabet: Vec<char> = types.concat();
        if op.include_space.unwrap_or(false) && !is_excluded(op, ' ') {
            alphabet.push(' ');
        }
        if alphabet.is_empty() {
            return Err(impossible("every character is excluded"));
        }
        let each = op.require_each_included_type.unwrap_or(true);
        let required = if each { types } else { Vec::new() };
        if required.iter().any(Vec::is_empty) {
            return Err(impossible("a required character type is excluded entirely"));
        }
        if length < required.len() {
            return Err(impossible(
                "Password length is too short based on the required types.",
            ));
        }
        Ok(Self {
            length,
            required,
            alphabet,
        })
    }

    fn draw(&self) -> String {
        let mut rng = rand::rng();
        let one_of = |set: &Vec<char>, rng: &mut _| {
            *set.choose(rng)
                .expect("a recipe holds no empty set of characters")
        };
        let mut password: Vec<char> = self
            .required
            .iter()
            .map(|set| one_of(set, &mut rng))
            .collect();
        while password.len() < self.length {
            password.push(one_of(&self.alphabet, &mut rng));
        }
        password.shuffle(&mut rng);
        password.into_iter().collect()
    }
}

/// How long it shall be: the model has no more than [`MAX_LENGTH`].
fn length(op: &GetRandomPassword) -> usize {
    let given = op.password_length.unwrap_or(DEFAULT_LENGTH);
    usize::try_from(given).unwrap_or_default().min(MAX_LENGTH)
}

/// The characters of each type that is not excluded.
fn included_types(op: &GetRandomPassword) -> Vec<Vec<char>> {
    let excluded = op.exclude_characters.as_deref().unwrap_or_default();
    let types = [
        (LOWERCASE, op.exclude_lowercase),
        (UPPERCASE, op.exclude_uppercase),
        (NUMBERS, op.exclude_numbers),
        (PUNCTUATION, op.exclude_punctuation),
    ];
    let included = types
        .into_iter()
        .filter(|(_, exclude)| !exclude.unwrap_or(false));
    included
        .map(|(set, _)| set.chars().filter(|c| !excluded.contains(*c)).collect())
        .collect()
}

fn is_excluded(op: &GetRandomPassword, character: char) -> bool {
    op.exclude_characters
        .as_deref()
        .is_some_and(|excluded| excluded.contains(character))
}

fn impossible(why: &str) -> ApiError {
    ApiError::new("InvalidParameterException", 400, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(json: serde_json::Value) -> Result<String, (String, u16)> {
        let op = serde_json::from_value(json).unwrap();
        Recipe::new(&op)
            .map(|recipe| recipe.draw())
            .map_err(|error| (error.code.into_owned(), error.status))
    }

    #[test]
    fn passwords_are_as_asked() {
        let table = [
            ("default", serde_json::json!({}), 32),
            (
                "recipe",
                serde_json::json!({"PasswordLength": 6, "ExcludePunctuation": true,
                    "ExcludeUppercase": true, "RequireEachIncludedType": true}),
                6,
            ),
            ("longest", serde_json::json!({"PasswordLength": 4096}), 4096),
            (
                "shortest of four types",
                serde_json::json!({"PasswordLength": 4}),
                4,
            ),
            (
                "one character",
                serde_json::json!({"PasswordLength": 1, "RequireEachIncludedType": false}),
                1,
            ),
        ];
        for (name, given, want) in table {
            let got = ask(given).unwrap();
            assert_eq!(got.chars().count(), want, "{name}: {got}");
        }
    }

    #[test]
    fn each_included_type_occurs_and_no_excluded_one() {
        for _ in 0..200 {
            let all = ask(serde_json::json!({"PasswordLength": 4})).unwrap();
            for set in [LOWERCASE, UPPERCASE, NUMBERS, PUNCTUATION] {
                assert!(
                    all.chars().any(|c| set.contains(c)),
                    "{all:?} has none of {set}"
                );
            }
            let some = ask(
                serde_json::json!({"ExcludePunctuation": true, "ExcludeUppercase": true,
                "ExcludeCharacters": "0Oo1l"}),
            )
            .unwrap();
            assert!(
                some.chars()
                    .all(|c| "abcdefghijkmnpqrstuvwxyz23456789".contains(c)),
                "{some}"
            );
        }
    }

    #[test]
    fn spaces_occur_only_when_included() {
        let only = serde_json::json!({"ExcludeLowercase": true, "ExcludeUppercase": true,
            "ExcludeNumbers": true, "ExcludePunctuation": true, "IncludeSpace": true, "PasswordLength": 3});
        assert_eq!(ask(only).unwrap(), "   ");
        let long = ask(serde_json::json!({"PasswordLength": 4096})).unwrap();
        assert!(!long.contains(' '));
    }

    #[test]
    fn bad_requests_are_refused() {
        let none = serde_json::json!({"ExcludeLowercase": true, "ExcludeUppercase": true,
            "ExcludeNumbers": true, "ExcludePunctuation": true});
        let emptied = serde_json::json!({"ExcludeCharacters": NUMBERS});
        let table = [
            (
                "types do not fit",
                serde_json::json!({"PasswordLength": 3}),
                "InvalidParameterException",
            ),
            ("all types excluded", none, "InvalidParameterException"),
            ("a type emptied", emptied, "InvalidParameterException"),
        ];
        for (name, given, want) in table {
            assert_eq!(ask(given).unwrap_err(), (want.to_owned(), 400), "{name}");
        }
    }
}
