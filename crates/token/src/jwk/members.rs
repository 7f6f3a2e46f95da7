//! Members of a JWK as they are read, for signing keys and recipients' keys alike.

use serde_json::{Map, Value};

use crate::{KeyError, compact};

/// RFC 7518 §6: members that only a private or a symmetric key has.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

#[derive(Clone, Copy)]
pub(crate) struct Members<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(crate) fn text(self, name: &'static str) -> Result<&'a str, KeyError> {
        self.0.get(name).and_then(Value::as_str).ok_or(KeyError::Member(name))
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn octets(self, name: &'static str) -> Result<Vec<u8>, KeyError> {
        compact::decode(self.text(name)?).ok_or(KeyError::Member(name))
    }

    /// A coordinate or scalar of full width (RFC 7518 §6.2.1.2).
    pub(crate) fn octets_32(self, name: &'static str) -> Result<[u8; 32], KeyError> {
        self.octets(name)?.try_into().map_err(|_| KeyError::Member(name))
    }

    pub(crate) fn refuse_private(self) -> Result<(), KeyError> {
        match PRIVATE.into_iter().find(|name| self.has(name)) {
            Some(name) => Err(KeyError::Private(name)),
            None => Ok(()),
        }
    }

    /// `use` and `key_ops` may be missing; what they say must include what the key is loaded for.
    pub(crate) fn refuse_other_use(self, usage: &str, operation: &str) -> Result<(), KeyError> {
        let usage_fits = self.0.get("use").is_none_or(|value| value.as_str() == Some(usage));
        let operation_fits = self.0.get("key_ops").is_none_or(|value| {
            value.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(operation)))
        });
        if usage_fits && operation_fits { Ok(()) } else { Err(KeyError::Use) }
    }
}
