//! Tokens as an attacker or a careless issuer would make them: every header, claim and part is whatever a test says. What
//! `token` signs and seals is always well made, so it cannot serve here.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

pub fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{error}: {part}"))
}

/// The JSON in one part of a token.
pub fn part(token: &str, number: usize) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(number).unwrap())).unwrap()
}

/// `base` with the members of `other`; `null` takes a member away.
pub fn with(mut base: Value, other: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    base
}

/// A P-256 key that signs anything.
pub struct Signer {
    pub kid: String,
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn from_pkcs8(kid: &str, pkcs8: &[u8]) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
        Self { kid: kid.to_owned(), pkcs8: pkcs8.to_vec(), pair }
    }

    /// Nobody's key, under whatever name.
    pub fn stranger(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::from_pkcs8(kid, pair.to_pkcs8v1().unwrap().as_ref())
    }

    /// The header of an honest access token.
    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.kid })
    }

    /// Signed with ES256, whatever the header says.
    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        self.text(&header.to_string(), &claims.to_string())
    }

    /// As [`Signer::jws`], for texts that no `Value` can hold.
    pub fn text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(&signed);
        format!("{signed}.{}", encode(signature))
    }

    /// `r` and `s`, 32 octets each.
    pub fn signature(&self, signed: &str) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
    }

    /// The same in DER, as X.509 has it and JWS does not.
    pub fn der_signature(&self, signed: &str) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pkcs8).unwrap();
        pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
    }

    /// The public key as an uncompressed point.
    pub fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub fn public_jwk(&self) -> Value {
        let (x, y) = self.point()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y), "kid": self.kid, "alg": "ES256" })
    }

    /// As SubjectPublicKeyInfo.
    pub fn public_der(&self) -> Vec<u8> {
        // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING }
        const HEAD: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        [&HEAD, self.point()].concat()
    }

    pub fn public_pem(&self) -> String {
        let text = STANDARD.encode(self.public_der());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// A JWS with an HMAC.
pub fn hmac_jws(algorithm: &str, secret: &[u8], header: &Value, claims: &Value) -> String {
    let hash = match algorithm {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let header = with(header.clone(), json!({ "alg": algorithm }));
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// Whom tokens are encrypted to. Anyone can.
pub struct Recipient {
    pub kid: String,
    point: Vec<u8>,
}

impl Recipient {
    pub fn from_jwk(jwk: &Value) -> Self {
        let octets = |name: &str| decode(jwk[name].as_str().unwrap());
        Self {
            kid: jwk["kid"].as_str().unwrap().to_owned(),
            point: [&[4], octets("x").as_slice(), octets("y").as_slice()].concat(),
        }
    }

    /// An honest JWE.
    pub fn seal(&self, plaintext: impl AsRef<[u8]>) -> String {
        self.seal_as(json!({}), plaintext)
    }

    /// A JWE of which everything fits together, under a header with these members changed; `null` takes one away.
    pub fn seal_as(&self, members: Value, plaintext: impl AsRef<[u8]>) -> String {
        self.seal_edited(|header| *header = with(header.take(), members), plaintext)
    }

    /// As [`Recipient::seal_as`], for members of members.
    pub fn seal_edited(&self, edit: impl FnOnce(&mut Value), plaintext: impl AsRef<[u8]>) -> String {
        let ephemeral = PrivateKey::generate(&ECDH_P256).unwrap();
        let point = ephemeral.compute_public_key().unwrap();
        let z = agree(&ephemeral, UnparsedPublicKey::new(&ECDH_P256, &self.point), (), |z| Ok(z.to_vec()));
        let mut header = self.header(&point.as_ref()[1..]);
        edit(&mut header);
        encrypted(&header.to_string(), &z.unwrap(), plaintext.as_ref())
    }

    /// The header of an honest token with this ephemeral key: `x` and `y`.
    pub fn header(&self, ephemeral: &[u8]) -> Value {
        let (x, y) = ephemeral.split_at(32);
        json!({
            "alg": "ECDH-ES",
            "enc": "A256GCM",
            "kid": self.kid,
            "cty": "JWT",
            "epk": { "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) },
        })
    }
}

/// Encrypts under what follows from the agreed secret `z`, as RFC 7518 §4.6 says, for the `enc` of the header.
pub fn encrypted(header: &str, z: &[u8], plaintext: &[u8]) -> String {
    let members: Value = serde_json::from_str(header).unwrap();
    let enc = members["enc"].as_str().unwrap_or("A256GCM");
    let (algorithm, bits) = if enc == "A128GCM" { (&AES_128_GCM, 128_u32) } else { (&AES_256_GCM, 256) };
    let mut hash = digest::Context::new(&digest::SHA256);
    let length = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    for field in
        [&length(1), z, &length(enc.len()), enc.as_bytes(), &length(0), &length(0), &bits.to_be_bytes()]
    {
        hash.update(field);
    }
    let key = hash.finish();
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &key.as_ref()[..algorithm.key_len()]).unwrap());
    let mut iv = [0; 12];
    fill(&mut iv).unwrap();
    let header = encode(header);
    let mut content = plaintext.to_vec();
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(header.as_bytes()),
            &mut content,
        )
        .unwrap();
    format!("{header}..{}.{}.{}", encode(iv), encode(content), encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;
    use token::{Algorithm, Expect, RecipientKey, SigningKey, TYP_ACCESS};

    use super::*;

    /// What is forged with nothing wrong is good: what a test changes about it is what is refused.
    #[test]
    fn an_honest_forgery_is_believed() {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let keys = token::KeySet::new([key.public_jwk()]).unwrap();
        let signer = Signer::from_pkcs8(key.kid(), &key.to_pkcs8());
        let reader = RecipientKey::generate("reader").unwrap();
        let recipient = Recipient::from_jwk(&serde_json::from_str(&reader.public().to_jwk_json()).unwrap());
        let claims = json!({
            "iss": "https://issuer", "aud": "latchkey", "sub": "usr_1", "client_id": "first-party", "iat": 1, "exp": 100,
            "jti": "1", "kind": "user", "name": "alice", "epo": { "subject": 0, "client": 0 }, "pv": 1,
        });
        assert_eq!(signer.header()["typ"], TYP_ACCESS);
        let jws = signer.jws(&signer.header(), &claims);
        let opened = token::open(&recipient.seal(&jws), &[reader]).unwrap();
        assert_eq!(opened, jws);
        let expect = Expect::new("https://issuer", "latchkey", [Algorithm::Es256], Duration::ZERO).unwrap();
        token::verify_access(&opened, &keys, &expect, OffsetDateTime::UNIX_EPOCH).unwrap();
        let published: Value = serde_json::from_str(&keys.to_json()).unwrap();
        assert_eq!(published["keys"][0]["x"], signer.public_jwk()["x"]);
    }

    #[test]
    fn members_are_laid_over_and_taken_away() {
        let base = json!({ "a": 1, "b": 2 });
        assert_eq!(with(base, json!({ "a": null, "b": 3, "c": 4 })), json!({ "b": 3, "c": 4 }));
    }
}
