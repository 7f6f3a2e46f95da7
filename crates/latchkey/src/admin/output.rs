//! How an answer is shown: a table for people, JSON for scripts.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

pub struct Output {
    json: bool,
}

/// A column: its title and the member it shows (`subject.id` for one further in).
pub type Column = (&'static str, &'static str);

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// JSON as it is, or what `text` says.
    pub fn answer(&self, value: &Value, text: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { text() };
        line(&text)
    }

    /// One row an item.
    pub fn table(&self, items: &[Value], columns: &[Column]) -> Result<()> {
        self.answer(&Value::Array(items.to_vec()), || table(items, columns))
    }

    /// One line a member.
    pub fn record(&self, item: &Value, columns: &[Column]) -> Result<()> {
        self.answer(item, || {
            let width = columns.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
            let lines: Vec<String> = columns
                .iter()
                .map(|(title, member)| format!("{title:width$}  {}", cell(item, member)))
                .collect();
            lines.join("\n")
        })
    }
}

/// Prints to standard output. A reader that left (`| head`) is an error like any other, not a panic.
pub fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

fn table(items: &[Value], columns: &[Column]) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    rows.extend(items.iter().map(|item| columns.iter().map(|(_, member)| cell(item, member)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

fn cell(item: &Value, member: &str) -> String {
    let value = member.split('.').try_fold(item, |value, name| value.get(name)).unwrap_or(&Value::Null);
    plain(value)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        // What others chose (user agents, names) must not steer the terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(members) => match (members.get("kind"), members.get("id")) {
            (Some(kind), Some(id)) => format!("{}/{}", plain(kind), plain(id)),
            _ => value.to_string(),
        },
        Value::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_aligned_and_nothing_steers_the_terminal() {
        let items = [
            json!({ "name": "editor", "permissions": ["document:read", "document:write"], "within": null }),
            json!({ "name": "x\u{1b}[2J", "permissions": [], "within": { "kind": "document", "id": "42" } }),
        ];
        let shown = table(&items, &[("name", "name"), ("permissions", "permissions"), ("within", "within")]);
        assert_eq!(
            shown,
            "name    permissions                   within\n\
             editor  document:read document:write  -\n\
             x\u{fffd}[2J   -                             document/42"
        );
    }
}
