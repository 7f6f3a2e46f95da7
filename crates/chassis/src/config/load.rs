//! Joining the defaults, the file and the environment, and collecting everything that is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::Validate;
use super::overrides::{self, Override, key_of};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, for instance `server.listen`; empty when no single key is to blame.
    pub key: String,
    /// Where the value came from: a file's path or the name of a variable.
    pub source: Option<String>,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, " (from {source})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong. Shown as one line a problem.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// A configuration and the text of what was decided.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    pub config: T,
    effective: Table,
}

impl<T> Resolved<T> {
    /// The effective configuration as TOML. Secrets are files, so none is in it; a password within a URL is masked.
    pub fn print(&self) -> String {
        let mut shown = Value::Table(self.effective.clone());
        mask(&mut shown);
        match shown {
            Value::Table(table) => table.to_string(),
            other => other.to_string(),
        }
    }
}

/// The variables of this process that are configuration: those that begin with `LATCHKEY__`.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(overrides::PREFIX))
        .collect()
}

/// The configuration, from the defaults, then `file`, then `env`.
pub fn load<T: DeserializeOwned + Validate>(
    default_toml: &str,
    file: Option<&Path>,
    env: Vec<(String, String)>,
) -> Result<T, ConfigError> {
    resolve(default_toml, file, env).map(|resolved| resolved.config)
}

/// As [`load`], and keeps what was decided so that it can be printed.
pub fn resolve<T: DeserializeOwned + Validate>(
    default_toml: &str,
    file: Option<&Path>,
    env: Vec<(String, String)>,
) -> Result<Resolved<T>, ConfigError> {
    let defaults: Table = default_toml.parse().map_err(|error: toml::de::Error| built_in(&error))?;
    // Whatever else is wrong, wrong defaults are a bug of the program, found by the first test that loads them.
    defaults.clone().try_into::<T>().map_err(|error| built_in(&error))?;

    let mut problems = Vec::new();
    let mut overrides = Vec::new();
    if let Some(path) = file {
        overrides::from_file(path, &defaults, T::open_tables(), &mut overrides, &mut problems);
    }
    overrides::from_environment(env, &defaults, T::open_tables(), &mut overrides, &mut problems);

    let (effective, wrong_values) = join::<T>(&defaults, &overrides);
    let wrong_keys: Vec<String> = wrong_values.iter().map(|problem| problem.key.clone()).collect();
    problems.extend(wrong_values);

    let config = effective.clone().try_into::<T>().map_err(|error| built_in(&error));
    let sources: BTreeMap<String, &str> =
        overrides.iter().map(|over| (key_of(&over.path), over.source.as_str())).collect();
    if let Ok(config) = &config {
        for problem in config.problems() {
            let (key, message) = match problem.split_once(": ") {
                Some((key, message)) if !key.contains(' ') => (key, message),
                _ => ("", problem.as_str()),
            };
            // A value of the wrong type was left out, so what is said about its absence is not news.
            if !wrong_keys.iter().any(|wrong| wrong == key) {
                let source = sources.get(key).map(|source| (*source).to_owned());
                problems.push(Problem { key: key.to_owned(), source, message: message.to_owned() });
            }
        }
    }
    match config {
        Ok(config) if problems.is_empty() => Ok(Resolved { config, effective }),
        Ok(_) => Err(ConfigError { problems }),
        Err(_) if !problems.is_empty() => Err(ConfigError { problems }),
        Err(error) => Err(error),
    }
}

/// The defaults with every override that has the right type, and the problems of those that have not.
fn join<T: DeserializeOwned>(defaults: &Table, overrides: &[Override]) -> (Table, Vec<Problem>) {
    let mut joined = defaults.clone();
    for over in overrides {
        over.apply(&mut joined);
    }
    let Err(together) = joined.clone().try_into::<T>() else {
        return (joined, Vec::new());
    };

    // Something is wrong: each override alone, onto the defaults, tells which.
    let mut good = defaults.clone();
    let mut problems = Vec::new();
    for over in overrides {
        let mut alone = defaults.clone();
        over.apply(&mut alone);
        match alone.try_into::<T>() {
            Ok(_) => over.apply(&mut good),
            Err(error) => problems.extend(blame::<T>(defaults, over, &error)),
        }
    }
    if problems.is_empty() {
        // Each fits by itself and they do not fit together.
        problems.push(Problem { key: path_in(&together), source: None, message: one_line(&together) });
        return (defaults.clone(), problems);
    }
    (good, problems)
}

/// The problems of an override that does not fit, one for each element if it is a list.
fn blame<T: DeserializeOwned>(defaults: &Table, over: &Override, error: &toml::de::Error) -> Vec<Problem> {
    let key = key_of(&over.path);
    if let Value::Array(elements) = &over.value {
        let each: Vec<Problem> = elements
            .iter()
            .enumerate()
            .filter_map(|(at, element)| {
                let mut alone = defaults.clone();
                let one = Value::Array(vec![element.clone()]);
                Override { path: over.path.clone(), value: one, source: over.source.clone() }
                    .apply(&mut alone);
                let error = alone.try_into::<T>().err()?;
                let within = path_in(&error).strip_prefix(&key).unwrap_or_default().to_owned();
                let key = format!("{key}[{at}]{within}");
                Some(Problem { key, source: Some(over.source.clone()), message: one_line(&error) })
            })
            .collect();
        if !each.is_empty() {
            return each;
        }
    }
    let deeper = path_in(error);
    let key = if deeper.starts_with(&key) { deeper } else { key };
    vec![Problem { key, source: Some(over.source.clone()), message: one_line(error) }]
}

fn built_in(error: &toml::de::Error) -> ConfigError {
    let message = format!("the built-in defaults do not load: {}", one_line(error));
    ConfigError { problems: vec![Problem { key: path_in(error), source: None, message }] }
}

pub(super) fn one_line(error: &toml::de::Error) -> String {
    error.message().trim().replace('\n', "; ")
}

/// The key that an error is about. toml says it in the last line of the error's text only.
fn path_in(error: &toml::de::Error) -> String {
    let text = error.to_string();
    text.lines()
        .filter_map(|line| line.strip_prefix("in `")?.strip_suffix('`'))
        .next_back()
        .unwrap_or_default()
        .to_owned()
}

/// Replaces the password in `scheme://user:password@host` wherever one stands.
fn mask(value: &mut Value) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(_, inner)| mask(inner)),
        Value::Array(elements) => elements.iter_mut().for_each(mask),
        Value::String(text) => {
            let masked = text.split_once("://").and_then(|(scheme, rest)| {
                let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let (user, host) = authority.rsplit_once('@')?;
                let (user, _password) = user.split_once(':')?;
                Some(format!("{scheme}://{user}:***@{host}{path}"))
            });
            if let Some(masked) = masked {
                *text = masked;
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
