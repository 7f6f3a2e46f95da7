//! Page tokens: the last key of a page, wrapped so that nobody reads a promise into its spelling. They carry no secret and
//! need no signature: a made-up token asks for a page that its maker may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::status::invalid;
use tonic::Status;

use crate::domain::{Page, PageSize};

/// Parses a page's size and token. `list` keeps a token of one list from being used for another.
pub(super) fn page<K, E>(
    list: &str,
    page_size: u32,
    page_token: &str,
    key: impl Fn(&str) -> Result<K, E>,
) -> Result<Page<K>, Status> {
    let size = PageSize::parse(page_size)
        .map_err(|error| invalid("page_size", "PAGE_SIZE_INVALID", error.to_string()))?;
    if page_token.is_empty() {
        return Ok(Page { after: None, size });
    }
    let after = URL_SAFE_NO_PAD
        .decode(page_token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| key(text.strip_prefix(list)?.strip_prefix('/')?).ok());
    match after {
        Some(after) => Ok(Page { after: Some(after), size }),
        None => Err(invalid("page_token", "PAGE_TOKEN_INVALID", "is not a token of this list")),
    }
}

/// The token of the page after an entry; empty when there is none.
pub(super) fn next(list: &str, more: bool, last: Option<&str>) -> String {
    match last {
        Some(last) if more => URL_SAFE_NO_PAD.encode(format!("{list}/{last}")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RoleName;

    #[test]
    fn a_token_leads_to_the_entry_that_it_came_from() {
        let token = next("roles", true, Some("editor"));
        let page = page("roles", 0, &token, RoleName::parse).unwrap();
        assert_eq!(page.after.unwrap().as_str(), "editor");
        assert_eq!(next("roles", false, Some("editor")), "");
    }

    #[test]
    fn anything_else_is_refused() {
        let other_list = next("grants", true, Some("editor"));
        let bad_key = next("roles", true, Some("No Role"));
        for token in ["x", "%%%", "cm9sZXM", other_list.as_str(), bad_key.as_str()] {
            let status = page("roles", 0, token, RoleName::parse).unwrap_err();
            assert_eq!(chassis::status::reason(&status).as_deref(), Some("PAGE_TOKEN_INVALID"), "{token}");
        }
        let status = page("roles", 1_001, "", RoleName::parse).unwrap_err();
        assert_eq!(chassis::status::reason(&status).as_deref(), Some("PAGE_SIZE_INVALID"));
    }
}
