//! A compact JWS from outside: what is believed is, byte for byte, what was issued.
#![no_main]

use std::sync::LazyLock;

use latchkey_fuzz::{Issuer, NOW, Sent};
use libfuzzer_sys::fuzz_target;

static ISSUER: LazyLock<(Issuer, String)> = LazyLock::new(|| {
    let issuer = Issuer::new();
    let good = issuer.token();
    token::verify_access(&good, &issuer.keys, &issuer.expect, NOW).expect("what was issued is believed");
    (issuer, good)
});

fuzz_target!(|sent: Sent| {
    let (issuer, good) = &*ISSUER;
    let text = sent.text(good);
    let believed = token::verify_access(&text, &issuer.keys, &issuer.expect, NOW).is_ok();
    assert_eq!(believed, text == *good);
    // Without the time the same must hold: this is what a logout goes by.
    assert_eq!(token::verify_issued(&text, &issuer.keys, &issuer.expect).is_ok(), text == *good);
    // A proof is no access token and the other way round.
    assert!(token::verify_proof(&text, &issuer.keys, &issuer.expect, NOW).is_err());
});
