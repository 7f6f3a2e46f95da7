//! The generated pages of docs/ are what the code says. `LATCHKEY_GENERATE=1 cargo nextest run -p latchkey documents`
//! writes them.

use std::{fs, path::Path};

use chassis::config::render_reference;

const CONFIGURATION: &str = "# Configuration

Generated from the `config/default.toml` of each program, which is compiled in: these are the defaults that run.

Read in this order, the later winning: the defaults below, the file given with `--config`, environment variables
(`LATCHKEY__SECTION__KEY`, e.g. `LATCHKEY__SERVER__LISTEN`). Secrets are given by the path of a file. Unknown keys are
refused, and every problem is reported at once. `latchkey config print <service> --config FILE` shows what is in force;
`latchkey serve <service> --config FILE --check-config` checks it and opens nothing.
";

#[test]
fn configuration_reference_is_what_the_defaults_say() {
    let programs = [
        ("auth-service", auth_service::config::DEFAULTS),
        ("session-service", session_service::config::DEFAULTS),
        ("policy-service", policy_service::config::DEFAULTS),
        ("gateway", gateway::config::DEFAULTS),
    ];
    let pages = programs.map(|(name, defaults)| format!("\n## {name}\n\n{}", render_reference(defaults)));
    same("docs/configuration.md", &format!("{CONFIGURATION}{}", pages.concat()));
}

#[test]
fn error_catalogue_is_what_the_gateway_answers() {
    same("docs/errors.md", &gateway::problem::catalogue_markdown());
}

#[allow(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
fn same(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var("LATCHKEY_GENERATE").is_ok() {
        fs::write(&file, generated).unwrap();
    }
    let checked_in = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        checked_in == generated,
        "{path} is not what the code says: run LATCHKEY_GENERATE=1 cargo nextest run -p latchkey documents"
    );
}
