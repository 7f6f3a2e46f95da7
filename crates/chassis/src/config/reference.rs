//! The configuration reference, rendered from the commented default file so that it cannot say anything else.

use std::fmt::Write as _;

use toml::Table;

/// One Markdown table a section (key, default, meaning), from the comments above each key.
///
/// Comments directly above a section's head, and those followed by an empty line, become text. A comment above a key
/// becomes its meaning.
pub fn render_reference(default_toml: &str) -> String {
    let mut page = Page::default();
    let mut comment: Vec<&str> = Vec::new();
    let mut lines = default_toml.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        } else if line.is_empty() {
            page.text(&std::mem::take(&mut comment));
        } else if line.starts_with('[') {
            page.section(line.trim_matches(['[', ']']), &std::mem::take(&mut comment));
        } else if let Some((key, value)) = line.split_once('=') {
            let mut value = value.trim().to_owned();
            // A list may go on over several lines.
            while format!("value = {value}").parse::<Table>().is_err() {
                let Some(more) = lines.next() else { break };
                value.push(' ');
                value.push_str(more.trim());
            }
            page.row(key.trim(), &value, &std::mem::take(&mut comment));
        }
    }
    page.text(&comment);
    page.markdown
}

#[derive(Default)]
struct Page {
    markdown: String,
    section: String,
    in_table: bool,
}

impl Page {
    fn text(&mut self, lines: &[&str]) {
        if lines.is_empty() {
            return;
        }
        self.gap();
        self.markdown.push_str(&lines.join("\n"));
        self.markdown.push('\n');
    }

    fn section(&mut self, name: &str, lines: &[&str]) {
        self.gap();
        self.section = name.to_owned();
        let _ = writeln!(self.markdown, "### `[{name}]`");
        self.text(lines);
    }

    fn row(&mut self, key: &str, value: &str, comment: &[&str]) {
        if !self.in_table {
            self.gap();
            self.markdown.push_str("| key | default | meaning |\n|---|---|---|\n");
            self.in_table = true;
        }
        let key = if self.section.is_empty() { key.to_owned() } else { format!("{}.{key}", self.section) };
        let (value, meaning) = (cell(value), cell(&comment.join(" ")));
        let _ = writeln!(self.markdown, "| `{key}` | `{value}` | {meaning} |");
    }

    fn gap(&mut self) {
        self.in_table = false;
        if !self.markdown.is_empty() && !self.markdown.ends_with("\n\n") {
            self.markdown.push('\n');
        }
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_comments_and_sections_become_tables() {
        let rendered = render_reference(
            "# The service.\n\n# Who is trusted,\n# a | b.\ntrusted = [\n  \"a\",\n  \"b\",\n]\n\n\
             # The listener.\n[server]\n# Where.\nlisten = \"127.0.0.1:7001\"\nplain = 1\n",
        );
        assert_eq!(
            rendered,
            "The service.\n\n| key | default | meaning |\n|---|---|---|\n\
             | `trusted` | `[ \"a\", \"b\", ]` | Who is trusted, a \\| b. |\n\n\
             ### `[server]`\n\nThe listener.\n\n| key | default | meaning |\n|---|---|---|\n\
             | `server.listen` | `\"127.0.0.1:7001\"` | Where. |\n| `server.plain` | `1` |  |\n"
        );
    }
}
