//! How a token is written: nothing that differs from a good one in a character passes.

use super::*;

#[test]
fn j11_alphabet_and_form() {
    let good = signed(&header(), &claims());
    for foreign in [' ', '\n', '\r', '\t', '=', '?', '+', '/', '\0', '%', '"', ',', 'é', '\u{200b}'] {
        for position in [0, 5, good.find('.').unwrap(), good.len() / 2, good.len() - 1, good.len()] {
            let mut spoilt = good.clone();
            spoilt.insert(position, foreign);
            assert_eq!(judge(&spoilt), Err(Refused::Malformed), "{foreign:?} at {position}");
        }
    }
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    for form in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a..c",
        ".b.c",
        "a.b.",
        &flattened,
        &format!("{good}."),
        &format!(".{good}"),
    ] {
        assert_eq!(judge(form), Err(Refused::Malformed), "{form}");
    }
}

#[test]
fn j12_repeated_members() {
    let sign = |header: &str, claims: &str| KEY.sign_parts(header.as_bytes(), claims.as_bytes()).unwrap();
    let (header, claims) = (header().to_string(), claims().to_string());
    assert!(judge(&sign(&header, &claims)).is_ok());

    for extra in [r#""alg":"ES256","#, r#""kid":"x","#, r#""\u0061lg":"ES256","#, r#""o":{"a":1,"a":1},"#] {
        let repeated = header.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(judge(&sign(&repeated, &claims)), Err(Refused::Malformed), "{extra}");
    }
    for extra in [r#""sub":"usr_2","#, r#""\u0073ub":"usr_2","#, r#""o":[{"a":1,"a":1}],"#, r#""iss":"x","#] {
        let repeated = claims.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(judge(&sign(&header, &repeated)), Err(Refused::Malformed), "{extra}");
    }
    let nested = claims.replacen(r#""subject":3"#, r#""subject":3,"subject":4"#, 1);
    assert_ne!(nested, claims);
    assert_eq!(judge(&sign(&header, &nested)), Err(Refused::Malformed));
    // The same name in different objects is no repetition.
    let siblings = claims.replacen('{', r#"{"o":[{"a":1},{"a":1}],"a":1,"#, 1);
    assert!(judge(&sign(&header, &siblings)).is_ok());
}

#[test]
fn header_and_claims_are_objects() {
    let sign = |header: &str, claims: &str| KEY.sign_parts(header.as_bytes(), claims.as_bytes()).unwrap();
    let good = header().to_string();
    for bad in ["", "[]", "1", "null", "{", "{} {}", "\u{feff}{}", "{\"a\":\"\u{0}\"}"] {
        assert_eq!(judge(&sign(bad, &claims().to_string())), Err(Refused::Malformed), "{bad}");
        assert_eq!(judge(&sign(&good, bad)), Err(Refused::Malformed), "{bad}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(4_000), "]".repeat(4_000));
    assert_eq!(judge(&sign(&good, &deep)), Err(Refused::Malformed));
}

#[test]
fn j19_es256_special_signatures() {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let good = signed(&header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let signature = compact::decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let with_signature = |octets: &[u8]| judge(&format!("{message}.{}", compact::encode(octets)));
    assert!(with_signature(&signature).is_ok());

    let zero = [0; 32];
    let one = {
        let mut one = zero;
        one[31] = 1;
        one
    };
    let n_plus_1 = {
        let mut more = N;
        more[31] += 1;
        more
    };
    let integer = |value: &[u8]| {
        let padded = [&[0], value].concat();
        let value = if value[0] >= 0x80 { padded.as_slice() } else { value };
        [&[2, u8::try_from(value.len()).unwrap()], value].concat()
    };
    let (r_der, s_der) = (integer(r), integer(s));
    let body = [r_der, s_der].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();

    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("zeros", [zero, zero].concat()),
        ("r zero", [&zero, s].concat()),
        ("s zero", [r, &zero].concat()),
        ("ones", [one, one].concat()),
        ("r = n", [&N, s].concat()),
        ("s = n", [r, &N].concat()),
        ("both n", [N, N].concat()),
        ("n + 1", [n_plus_1, n_plus_1].concat()),
        ("all bits", vec![0xff; 64]),
        ("der", der),
        ("short", signature[..63].to_vec()),
        ("long", [signature.as_slice(), &[0]].concat()),
        ("leading zeros", [&[0], r, &[0], s].concat()),
        ("half", r.to_vec()),
        ("P-384's", vec![1; 96]),
        ("swapped", [s, r].concat()),
        ("one octet", vec![0]),
    ];
    for (name, octets) in cases {
        assert_eq!(with_signature(&octets), Err(Refused::Signature), "{name}");
    }
}

/// Of everything that differs from a good token in one character, nothing passes: not by luck of the encoding either.
#[test]
fn one_character_changed_or_appended() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for key in [&*KEY, &*RSA] {
        let good = key.sign(TYP_ACCESS, &claims()).unwrap();
        assert!(judge(&good).is_ok());
        let ends: Vec<usize> = good
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'.')
            .map(|(at, _)| at)
            .chain([good.len()])
            .collect();
        for position in 0..good.len() {
            // Where bits may hang over, every character; elsewhere a neighbour.
            let last = ends.contains(&(position + 1));
            for replacement in
                ALPHABET.iter().filter(|byte| last || (**byte ^ 1) == good.as_bytes()[position])
            {
                let mut changed = good.clone().into_bytes();
                if changed[position] != *replacement && changed[position] != b'.' {
                    changed[position] = *replacement;
                    let changed = String::from_utf8(changed).unwrap();
                    assert!(judge(&changed).is_err(), "{position}");
                }
            }
        }
        for end in ends {
            for extra in ALPHABET {
                let mut longer = good.clone();
                longer.insert(end, char::from(*extra));
                assert!(judge(&longer).is_err());
            }
        }
    }
}

#[test]
fn too_large_before_any_work() {
    let large =
        KEY.sign(TYP_ACCESS, &with(claims(), json!({ "pad": "x".repeat(crate::MAX_TOKEN_BYTES) }))).unwrap();
    assert_eq!(judge(&large), Err(Refused::TooLarge));
}
