//! What a file and the environment say, as single values with their keys, judged against the schema.

use std::path::Path;

use toml::{Table, Value};

use super::load::{Problem, one_line};

/// How the variables begin that are configuration.
pub(super) const PREFIX: &str = "LATCHKEY__";

/// One value that takes the place of a default.
#[derive(Debug, Clone)]
pub(super) struct Override {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) source: String,
}

impl Override {
    /// Puts the value in its place, making the sections on the way.
    pub(super) fn apply(&self, table: &mut Table) {
        let Some((last, sections)) = self.path.split_last() else { return };
        let mut at = table;
        for section in sections {
            let entry = at.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            let Some(inner) = entry.as_table_mut() else { return };
            at = inner;
        }
        at.insert(last.clone(), self.value.clone());
    }
}

/// `["server", "listen"]` as `server.listen`.
pub(super) fn key_of(path: &[String]) -> String {
    path.join(".")
}

/// The values in a file; unreadable, malformed and unknown things become problems.
pub(super) fn from_file(
    path: &Path,
    schema: &Table,
    open: &[&str],
    overrides: &mut Vec<Override>,
    problems: &mut Vec<Problem>,
) {
    let source = path.display().to_string();
    let about_file = |message| Problem { key: String::new(), source: None, message };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(about_file(format!("the configuration file {source} cannot be read: {error}")));
            return;
        }
    };
    match text.parse::<Table>() {
        Ok(table) => {
            Walk { root: schema, open, source: &source, overrides, problems }.table(
                schema,
                table,
                &mut Vec::new(),
            );
        }
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            let message = format!("{source} is not TOML: line {line}: {}", one_line(&error));
            problems.push(about_file(message));
        }
    }
}

/// The values in variables, read as the schema's value at their key is written.
pub(super) fn from_environment(
    mut env: Vec<(String, String)>,
    schema: &Table,
    open: &[&str],
    overrides: &mut Vec<Override>,
    problems: &mut Vec<Problem>,
) {
    env.sort();
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let value = read_variable(lookup(schema, &path), &text);
        // The same walk as for a file, over a table with this one value in it.
        let mut table = Table::new();
        Override { path, value, source: String::new() }.apply(&mut table);
        Walk { root: schema, open, source: &name, overrides, problems }.table(schema, table, &mut Vec::new());
    }
}

fn lookup<'a>(schema: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut at = schema.get(first)?;
    for section in rest {
        at = at.as_table()?.get(section)?;
    }
    Some(at)
}

/// A variable has no type of its own: the default's decides. What cannot be read as that type stays text, and the
/// types of the configuration then say what they expected.
fn read_variable(default: Option<&Value>, text: &str) -> Value {
    let string = || Value::String(text.to_owned());
    let as_toml = || {
        let document: Table = format!("value = {text}").parse().ok()?;
        document.get("value").cloned()
    };
    match default {
        Some(Value::String(_)) => string(),
        Some(Value::Integer(_)) => text.trim().parse().map_or_else(|_| string(), Value::Integer),
        Some(Value::Float(_)) => text.trim().parse().map_or_else(|_| string(), Value::Float),
        Some(Value::Boolean(_)) => text.trim().parse().map_or_else(|_| string(), Value::Boolean),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            Value::Array(elements.map(|element| Value::String(element.to_owned())).collect())
        }
        _ => as_toml().unwrap_or_else(string),
    }
}

/// A walk over given values beside the schema.
struct Walk<'a> {
    root: &'a Table,
    open: &'a [&'a str],
    source: &'a str,
    overrides: &'a mut Vec<Override>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, schema: &Table, given: Table, path: &mut Vec<String>) {
        for (name, value) in given {
            path.push(name.clone());
            let key = key_of(path);
            if self.open.contains(&key.as_str()) {
                self.open_table(value, path);
            } else {
                match (schema.get(&name), value) {
                    (Some(Value::Table(inner)), Value::Table(value)) => self.table(inner, value, path),
                    (Some(Value::Table(_)), _) => self.problem(key, "is a section, not a value".to_owned()),
                    (Some(_), value) => self.take(path, value),
                    (None, value) => self.unknown(&key, &value),
                }
            }
            path.pop();
        }
    }

    /// Names are free here: every entry stands for itself, so that one wrong entry does not hide the others.
    fn open_table(&mut self, value: Value, path: &mut Vec<String>) {
        match value {
            Value::Table(entries) => {
                for (name, value) in entries {
                    path.push(name);
                    self.take(path, value);
                    path.pop();
                }
            }
            value => self.take(path, value),
        }
    }

    fn take(&mut self, path: &[String], value: Value) {
        self.overrides.push(Override { path: path.to_vec(), value, source: self.source.to_owned() });
    }

    fn unknown(&mut self, key: &str, value: &Value) {
        let what = if value.is_table() { "unknown section" } else { "unknown key" };
        let mut known = Vec::new();
        keys(self.root, "", &mut known);
        let nearest = known
            .iter()
            .map(|candidate| (distance(key, candidate), candidate))
            .filter(|(steps, _)| *steps <= 2.max(key.len() / 6))
            .min();
        let message = match nearest {
            Some((_, candidate)) => format!("{what}; did you mean {candidate}?"),
            None => what.to_owned(),
        };
        self.problem(key.to_owned(), message);
    }

    fn problem(&mut self, key: String, message: String) {
        self.problems.push(Problem { key, source: Some(self.source.to_owned()), message });
    }
}

fn keys(table: &Table, prefix: &str, into: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let Value::Table(inner) = value {
            keys(inner, &key, into);
        }
        into.push(key);
    }
}

/// The number of single-letter edits between two keys (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(from != *to)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
