//! A guard without a lease asks a replica.

use proto::feed::v1;

use super::{
    Invalid,
    parts::{is_id, parse_what, what},
};
use crate::{Credential, Verdict, Wall, credential::Stamp};

pub fn ask(credential: &Credential) -> v1::AskRequest {
    let text = |id: &Option<std::sync::Arc<str>>| id.as_deref().map(str::to_owned);
    let stamp = |stamp: &Option<Stamp>| {
        stamp.as_ref().map(|stamp| v1::Stamp { id: stamp.id.to_string(), epoch: stamp.generation })
    };
    let Credential { token, family, session, key, subject, client, roles: _, expired_from } = credential;
    v1::AskRequest {
        credential: Some(v1::Credential {
            token: text(token),
            family: text(family),
            session: text(session),
            key: text(key),
            subject: stamp(subject),
            client: stamp(client),
            expired_from_unix_ms: expired_from.map(Wall::unix_millis),
        }),
    }
}

pub fn parse_ask(request: v1::AskRequest) -> Result<Credential, Invalid> {
    let v1::Credential { token, family, session, key, subject, client, expired_from_unix_ms } =
        request.credential.ok_or(Invalid::Missing("credential"))?;
    let id = |id: Option<String>, field| match id {
        Some(id) if !is_id(&id) => Err(Invalid::Field(field)),
        id => Ok(id.map(Into::into)),
    };
    let stamp = |stamp: Option<v1::Stamp>, field| match stamp {
        Some(v1::Stamp { id, .. }) if !is_id(&id) => Err(Invalid::Field(field)),
        stamp => Ok(stamp.map(|v1::Stamp { id, epoch }| Stamp { id: id.into(), generation: epoch })),
    };
    Ok(Credential {
        token: id(token, "token")?,
        family: id(family, "family")?,
        session: id(session, "session")?,
        key: id(key, "key")?,
        subject: stamp(subject, "subject")?,
        client: stamp(client, "client")?,
        roles: None,
        expired_from: expired_from_unix_ms.map(Wall::from_unix_millis),
    })
}

/// Roles are no part of the question, so they are none of the answer.
pub fn verdict(verdict: Verdict) -> v1::AskResponse {
    let (verdict, ended) = match verdict {
        Verdict::Live | Verdict::RolesOutdated { .. } => (v1::Verdict::Live, v1::What::Unspecified),
        Verdict::Ended(ended) => (v1::Verdict::Ended, what(ended)),
        Verdict::Forgotten => (v1::Verdict::Forgotten, v1::What::Unspecified),
    };
    v1::AskResponse { verdict: verdict.into(), ended: ended.into() }
}

pub fn parse_verdict(response: v1::AskResponse) -> Result<Verdict, Invalid> {
    match response.verdict() {
        v1::Verdict::Unspecified => Err(Invalid::Field("verdict")),
        v1::Verdict::Live => Ok(Verdict::Live),
        v1::Verdict::Forgotten => Ok(Verdict::Forgotten),
        v1::Verdict::Ended => {
            Ok(Verdict::Ended(parse_what(response.ended()).ok_or(Invalid::Field("ended"))?))
        }
    }
}
