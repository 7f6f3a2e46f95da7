//! The files that a stack is started from: written at each start, with the user's own settings laid over ours.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::entropy::{self, Entropy};
use token::RecipientKey;
use toml::{Table, Value};

use super::addresses::Addresses;
use super::layout::Layout;
use crate::private_file;

/// What first-party tokens are opened with, and what they are encrypted to.
pub const GATEWAY_KEY: &str = "gateway-token-key.jwk.json";
pub const GATEWAY_PUBLIC_KEY: &str = "gateway-token-key.public.jwk.json";
/// What auth-service seals its signing keys under.
pub const MASTER_KEY: &str = "master.key";

/// Secrets are made once: losing one would void what was sealed under it.
pub fn complete_secrets(layout: &Layout, entropy: &dyn Entropy) -> Result<()> {
    let master = layout.secret(MASTER_KEY);
    if !master.exists() {
        private_file::write(&master, STANDARD.encode(entropy::secret(entropy)).as_bytes())?;
    }
    let (private, public) = (layout.secret(GATEWAY_KEY), layout.secret(GATEWAY_PUBLIC_KEY));
    if !private.exists() {
        let key =
            RecipientKey::generate(&entropy::id(entropy, "gw-")).context("a key cannot be generated")?;
        private_file::write(&private, key.to_jwk_json().context("a key cannot be written")?.as_bytes())?;
    }
    if !public.exists() {
        let text = chassis::secret::read(&private)?;
        let key = RecipientKey::from_jwk_json(text.text()?)
            .with_context(|| format!("{} is no private EC key", private.display()))?;
        private_file::write(&public, key.public().to_jwk_json().as_bytes())?;
    }
    Ok(())
}

/// Writes `config` for `process`, with `settings/<service>.toml` laid over it. What the settings say is judged by the
/// service itself, like any other configuration.
pub fn write_config(layout: &Layout, service: &str, process: &str, mut config: Table) -> Result<()> {
    let settings = layout.settings_file(service);
    let own = match fs::read_to_string(&settings) {
        Ok(text) => text.parse().with_context(|| format!("{} is no TOML", settings.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Table::new(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", settings.display())),
    };
    lay_over(&mut config, own);
    let text = format!(
        "# Written by `latchkey up` at each start. Your own settings belong in {},\n# which is laid over this file; docs/configuration.md explains every key.\n\n{config}\n",
        settings.display()
    );
    write_if_changed(&layout.config_file(process), &text)
}

/// `routes.toml` is the user's once it is there; only ports that had to change are changed in it.
pub fn write_routes(layout: &Layout, before: Option<&Addresses>, now: &Addresses) -> Result<()> {
    let path = layout.routes_file();
    let text = match fs::read_to_string(&path) {
        Ok(mut text) => {
            if let Some(before) = before {
                // Two steps, so that a port that moved from one replica to the other is not replaced twice.
                for (replica, url) in before.echo_urls().iter().enumerate() {
                    text = text.replace(&format!("\"{url}\""), &format!("\"echo-{replica}\""));
                }
                for (replica, url) in now.echo_urls().iter().enumerate() {
                    text = text.replace(&format!("\"echo-{replica}\""), &format!("\"{url}\""));
                }
            }
            text
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let endpoints: Vec<String> = now.echo_urls().iter().map(|url| format!("\"{url}\"")).collect();
            include_str!("routes.toml").replace("@ENDPOINTS@", &endpoints.join(", "))
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    write_if_changed(&path, &text)
}

fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    private_file::write_public(path, text.as_bytes())
}

fn lay_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::entropy::TestEntropy;

    use super::super::addresses;
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::at(temp.path()).unwrap();
        layout.create().unwrap();
        (temp, layout)
    }

    #[test]
    fn settings_win_key_by_key() {
        let (_temp, layout) = layout();
        fs::write(layout.settings_file("auth"), "[tokens]\nlifetime = \"2s\"\n[more]\nx = 1\n").unwrap();
        let ours: Table = "[tokens]\nlifetime = \"5m\"\nleeway = \"30s\"\n".parse().unwrap();
        write_config(&layout, "auth", "auth-0", ours).unwrap();
        let written: Table = fs::read_to_string(layout.config_file("auth-0")).unwrap().parse().unwrap();
        let expected: Table =
            "[tokens]\nlifetime = \"2s\"\nleeway = \"30s\"\n[more]\nx = 1\n".parse().unwrap();
        assert_eq!(written, expected);
    }

    #[test]
    fn settings_that_are_no_toml_are_named() {
        let (_temp, layout) = layout();
        fs::write(layout.settings_file("auth"), "[tokens").unwrap();
        let error = write_config(&layout, "auth", "auth-0", Table::new()).unwrap_err();
        assert!(error.to_string().contains("settings/auth.toml"), "{error}");
    }

    #[test]
    fn the_users_routes_stay_and_follow_the_ports() {
        let (_temp, layout) = layout();
        let before = addresses::choose(0, &"1".parse().unwrap(), None, 1).unwrap();
        write_routes(&layout, None, &before).unwrap();
        let mut routes = fs::read_to_string(layout.routes_file()).unwrap();
        assert!(routes.contains(&before.echo_urls()[0]) && !routes.contains('@'), "{routes}");
        routes.push_str("# mine\n");
        fs::write(layout.routes_file(), &routes).unwrap();

        let mut now = before.clone();
        now.echo = [before.echo[1], before.echo[0] ^ 1];
        write_routes(&layout, Some(&before), &now).unwrap();
        let followed = fs::read_to_string(layout.routes_file()).unwrap();
        assert!(followed.ends_with("# mine\n"));
        let urls = now.echo_urls();
        assert!(followed.contains(&format!("[\"{}\", \"{}\"]", urls[0], urls[1])), "{followed}");
    }

    #[test]
    fn secrets_are_made_once() {
        let (_temp, layout) = layout();
        complete_secrets(&layout, &TestEntropy::new(1)).unwrap();
        let first = fs::read(layout.secret(MASTER_KEY)).unwrap();
        assert_eq!(STANDARD.decode(&first).unwrap().len(), 32);
        complete_secrets(&layout, &TestEntropy::new(2)).unwrap();
        assert_eq!(fs::read(layout.secret(MASTER_KEY)).unwrap(), first);
    }
}
