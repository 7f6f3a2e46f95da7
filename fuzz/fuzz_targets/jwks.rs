//! A JWK Set from outside. One that is taken has unique ids and says, published again, the same and nothing private.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use token::KeySet;

fuzz_target!(|text: &str| {
    let Ok(set) = KeySet::from_json(text) else { return };
    let published = set.to_json();
    let again = KeySet::from_json(&published).expect("what is published is taken");
    assert_eq!(again.to_json(), published);
    let value: Value = serde_json::from_str(&published).unwrap();
    for key in value["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private} is published");
        }
    }
});
