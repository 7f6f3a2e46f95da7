//! `latchkey token inspect`: what is inside a token. Shows, and believes nothing: no signature is checked here.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use token::{RecipientKey, is_jwe, open};
use zeroize::Zeroizing;

use crate::admin::line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The token. Better left out: it is then read from standard input, and in no history.
    token: Option<String>,
    /// The recipient's private key (JWK), to open an encrypted token; may be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
}

pub fn run(Args { token, key }: Args, compact: bool) -> Result<ExitCode> {
    let token = Zeroizing::new(match token {
        Some(token) => token,
        None => read_token()?,
    });
    let keys = key.iter().map(|path| read_key(path)).collect::<Result<Vec<_>>>()?;
    let shown = inspect(token.trim(), &keys)?;
    line(&if compact { shown.to_string() } else { serde_json::to_string_pretty(&shown)? })?;
    Ok(ExitCode::SUCCESS)
}

fn inspect(token: &str, keys: &[RecipientKey]) -> Result<Value> {
    let header = part(token, 0).context("this is no token: its first part is not a JSON header")?;
    if !is_jwe(token) {
        let claims = part(token, 1).context("this is no token: its second part is not JSON")?;
        return Ok(json!({ "header": header, "claims": claims, "signature": "not checked" }));
    }
    if keys.is_empty() {
        return Ok(json!({ "header": header, "encrypted": "the recipient's --key opens it" }));
    }
    let signed = Zeroizing::new(match open(token, keys) {
        Ok(signed) => signed,
        Err(refused) => bail!("the token cannot be opened with this key: {}", refused.reason()),
    });
    Ok(json!({ "header": header, "inside": inspect(&signed, &[])? }))
}

/// A part that is JSON.
fn part(token: &str, number: usize) -> Result<Value> {
    let part = token.split('.').nth(number).context("too few parts")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

fn read_token() -> Result<String> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Paste the token, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text).context("standard input")?;
    Ok(text)
}

fn read_key(path: &std::path::Path) -> Result<RecipientKey> {
    let secret = chassis::secret::read(path)?;
    RecipientKey::from_jwk_json(secret.text()?)
        .with_context(|| format!("{} is no private EC key", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_shown_and_nothing_else_is() {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token =
            format!("{}.{}.c2ln", encode(json!({ "alg": "ES256" })), encode(json!({ "sub": "usr_1" })));
        let shown = inspect(&token, &[]).unwrap();
        assert_eq!(shown["header"]["alg"], "ES256");
        assert_eq!(shown["claims"]["sub"], "usr_1");
        for nonsense in ["", "hello", "a.b.c", "...."] {
            inspect(nonsense, &[]).unwrap_err();
        }
    }

    #[test]
    fn an_encrypted_token_shows_its_header_and_with_the_key_its_claims() {
        let key = RecipientKey::generate("k1").unwrap();
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}.c2ln", encode(json!({ "alg": "ES256" })), encode(json!({ "sub": "usr_1" })));
        let sealed = token::seal(&signed, &key.public()).unwrap();
        let closed = inspect(&sealed, &[]).unwrap();
        assert_eq!(closed["header"]["kid"], "k1");
        assert!(!closed.to_string().contains("usr_1"));
        assert_eq!(inspect(&sealed, &[key]).unwrap()["inside"]["claims"]["sub"], "usr_1");
        let other = RecipientKey::generate("k1").unwrap();
        assert!(inspect(&sealed, &[other]).unwrap_err().to_string().contains("cannot be opened"));
    }
}
