//! What `latchkey up` prints: where everything is, and three commands to paste.
//!
//! The commands need curl and sed only, work in any POSIX shell and from any directory, and never put the password on a
//! command line, where every user of the machine could read it.

use std::fmt::Write;
use std::path::Path;

use super::administrator::Standing;
use super::layout::Layout;
use super::stack_file::StackFile;
use crate::bootstrap::Neighbours;

/// A thing to try: what it shows, and the command.
#[derive(Debug)]
pub struct Example {
    pub shows: &'static str,
    pub command: String,
}

pub fn text(stack: &StackFile, layout: &Layout, standing: Standing) -> String {
    let mut text = String::from("Latchkey is up.\n\n");
    let mut rows: Vec<[String; 3]> = vec![["process".into(), "listens on".into(), "operations".into()]];
    let mut row = |name: &str, urls: &[String]| {
        for (replica, url) in urls.iter().enumerate() {
            let process = format!("{name}-{replica}");
            let operations = stack.operations.get(&process).cloned().unwrap_or_default();
            let number = stack.pids.get(&process).map(u32::to_string).unwrap_or_default();
            rows.push([format!("{process} ({number})"), url.clone(), operations]);
        }
    };
    row("gateway", &stack.gateways);
    for (service, urls) in &stack.services {
        row(service, urls);
    }
    row("echo", &stack.echo);
    let width =
        |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).len()).max().unwrap_or(0);
    let (first, second) = (width(|[first, _, _]| first), width(|[_, second, _]| second));
    for [process, url, operations] in &rows {
        let line = format!("  {process:first$}  {url:second$}  {operations}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text);
    for url in &stack.internal {
        let _ = writeln!(text, "Administration:  {url} (internal listener; `latchkey user list` uses it)");
    }
    let _ = writeln!(text, "Routes:          {}", layout.routes_file().display());
    let _ = writeln!(text, "Logs:            {}", layout.log_file("*").display());
    let (name, file) = (&stack.admin.username, stack.admin.password_file.display());
    let _ = match standing {
        Standing::PasswordInFile => writeln!(text, "Administrator:   {name}, password in {file}\n"),
        Standing::PasswordElsewhere => writeln!(
            text,
            "Administrator:   {name}; the password was changed and is NOT the one in {file}.\n\
             \x20                The commands below ask for it; `latchkey login --server {} --public {}` does for the others.\n",
            stack.internal.first().map(String::as_str).unwrap_or_default(),
            stack.gateways.first().map(String::as_str).unwrap_or_default(),
        ),
        Standing::Nobody => writeln!(text, "Administrator:   NOBODY: see on standard error what to run\n"),
    };
    if standing != Standing::Nobody {
        for Example { shows, command } in examples(stack, standing) {
            let _ = writeln!(text, "# {shows}\n{command}\n");
        }
    }
    text.push_str("Ctrl-C stops everything; the next start finds its data.");
    text
}

/// The three commands.
fn examples(stack: &StackFile, standing: Standing) -> [Example; 3] {
    let url = stack.gateways.first().map(String::as_str).unwrap_or_default();
    let user = &stack.admin.username;
    let password_file = quoted(&stack.admin.password_file);
    let json = "-H 'Content-Type: application/json'";
    let body =
        |mode: &str| format!("s/.*/{{\"identifier\":\"{user}\",\"password\":\"&\",\"mode\":\"{mode}\"}}/");
    let login = |mode: &str| {
        let body = body(mode);
        let read = match standing {
            Standing::PasswordInFile => format!("sed '{body}' {password_file}"),
            // Whatever somebody chose: typed without being seen, and escaped for JSON.
            Standing::PasswordElsewhere | Standing::Nobody => format!(
                "{{ printf 'Password of {user}: ' >&2; stty -echo 2>/dev/null; IFS= read -r P; stty echo 2>/dev/null; \
                 echo >&2; printf '%s\\n' \"$P\"; }} | sed 's/[\\\\\"]/\\\\&/g;{body}'"
            ),
        };
        format!("{read} | curl -sS {json} -d @-")
    };
    // One curl, two requests: the cookie of the first is in its memory for the second, and in no file.
    let session = |then: &str| {
        format!("{} -b '' -o /dev/null {url}/v1/login --next -sS -b '' {then}", login("session"))
    };
    [
        Example {
            shows: "Log in by token and call",
            command: format!(
                "TOKEN=$({} {url}/v1/login | sed 's/.*\"access_token\": *\"\\([^\"]*\\)\".*/\\1/') && curl -sS -H \"Authorization: Bearer $TOKEN\" {url}/app/token/hello",
                login("token")
            ),
        },
        Example {
            shows: "Log in by session and call",
            command: session(&format!("{url}/app/session/hello")),
        },
        Example {
            shows: "See a refusal: logged in, but without the role that the route requires",
            command: session(&format!("-i {url}/app/admin/hello")),
        },
    ]
}

/// How an operator makes an administrator of this stack under a name that is free.
pub fn bootstrap_command(neighbours: &Neighbours, layout: &Layout) -> String {
    let folder = layout.certificates();
    format!(
        "latchkey bootstrap --auth {} --policy {} --certificates {} --username root --generate {}",
        neighbours.auth.join(" --auth "),
        neighbours.policy.join(" --policy "),
        quoted(folder.path()),
        quoted(&layout.root().join("root-password"))
    )
}

/// A path as one word of a POSIX shell, bare where that is safe.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if path.bytes().all(safe) { path.into_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("/home/a/.latchkey/admin-password")), "/home/a/.latchkey/admin-password");
        assert_eq!(quoted(Path::new("/home/my user/it's")), r"'/home/my user/it'\''s'");
    }
}
