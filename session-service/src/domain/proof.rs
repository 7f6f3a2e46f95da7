//! A login proof that was believed: what of it becomes part of a session. Every member is copied, none is added.

use time::OffsetDateTime;
use token::{Epochs, ProofClaims};

use super::Subject;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub subject: Subject,
    pub username: String,
    pub epoch: u64,
    pub methods: Vec<String>,
    pub authenticated_at: OffsetDateTime,
    /// Identifies the proof: it makes one session.
    pub jti: String,
    pub expires_at: OffsetDateTime,
}

impl Proof {
    const MOST_JTI_BYTES: usize = 128;
    const MOST_USERNAME_BYTES: usize = 512;
    const MOST_METHODS: usize = 16;
    const MOST_METHOD_BYTES: usize = 64;

    /// From verified claims. `None` when they could not be a session's: auth-service does not sign such.
    pub fn from_claims(claims: ProofClaims) -> Option<Proof> {
        // Taken apart in full, so that a new claim is a decision to make here.
        let ProofClaims {
            iss: _,
            aud: _,
            sub,
            name,
            iat: _,
            exp,
            jti,
            epo: Epochs { subject: epoch, client: _ },
            amr,
            auth_time,
        } = claims;
        let bounded = (1..=Self::MOST_JTI_BYTES).contains(&jti.len())
            && name.len() <= Self::MOST_USERNAME_BYTES
            && amr.len() <= Self::MOST_METHODS
            && amr.iter().all(|method| method.len() <= Self::MOST_METHOD_BYTES)
            && i64::try_from(epoch).is_ok();
        let subject = Subject::parse(&sub).filter(|_| bounded)?;
        Some(Proof {
            subject,
            username: name,
            epoch,
            methods: amr,
            authenticated_at: auth_time,
            jti,
            expires_at: exp,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn claims() -> ProofClaims {
        ProofClaims {
            iss: "https://issuer.example".to_owned(),
            aud: vec!["session".to_owned()],
            sub: "usr_1".to_owned(),
            name: "alice".to_owned(),
            iat: datetime!(2026-11-01 08:00 UTC),
            exp: datetime!(2026-11-01 08:00:30 UTC),
            jti: "proof-1".to_owned(),
            epo: Epochs { subject: 7, client: 9 },
            amr: vec!["pwd".to_owned()],
            auth_time: datetime!(2026-11-01 07:59:59 UTC),
        }
    }

    #[test]
    fn every_member_is_copied() {
        assert_eq!(
            Proof::from_claims(claims()).unwrap(),
            Proof {
                subject: Subject::parse("usr_1").unwrap(),
                username: "alice".to_owned(),
                epoch: 7,
                methods: vec!["pwd".to_owned()],
                authenticated_at: datetime!(2026-11-01 07:59:59 UTC),
                jti: "proof-1".to_owned(),
                expires_at: datetime!(2026-11-01 08:00:30 UTC),
            }
        );
    }

    #[test]
    fn what_no_session_could_hold_is_refused() {
        let refused = |change: fn(&mut ProofClaims)| {
            let mut claims = claims();
            change(&mut claims);
            Proof::from_claims(claims).is_none()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|claims| claims.sub.clear()));
        assert!(refused(|claims| claims.jti.clear()));
        assert!(refused(|claims| claims.jti = "j".repeat(129)));
        assert!(refused(|claims| claims.name = "n".repeat(513)));
        assert!(refused(|claims| claims.amr = vec!["pwd".to_owned(); 17]));
        assert!(refused(|claims| claims.amr = vec!["m".repeat(65)]));
        assert!(refused(|claims| claims.epo.subject = u64::MAX));
    }
}
