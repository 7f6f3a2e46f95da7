//! A compact JWE from outside: what opens is, byte for byte, what was sealed.
#![no_main]

use std::sync::LazyLock;

use latchkey_fuzz::{Issuer, Sent};
use libfuzzer_sys::fuzz_target;
use token::RecipientKey;

struct Sealed {
    keys: Vec<RecipientKey>,
    inner: String,
    outer: String,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let key = RecipientKey::generate("gateway").unwrap();
    let inner = Issuer::new().token();
    let outer = token::seal(&inner, &key.public()).unwrap();
    let keys = vec![RecipientKey::generate("newer").unwrap(), key];
    assert_eq!(token::open(&outer, &keys).as_deref(), Ok(&*inner), "what was sealed opens");
    Sealed { keys, inner, outer }
});

fuzz_target!(|sent: Sent| {
    let Sealed { keys, inner, outer } = &*SEALED;
    let text = sent.text(outer);
    match token::open(&text, keys) {
        Ok(opened) => {
            assert_eq!(text, *outer);
            assert_eq!(opened, *inner);
        }
        Err(_) => assert_ne!(text, *outer),
    }
});
