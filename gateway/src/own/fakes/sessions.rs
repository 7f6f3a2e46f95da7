//! session-service.

use async_trait::async_trait;

use super::{World, refused};
use crate::peers::*;

#[async_trait]
impl Sessions for World {
    async fn create(&self, _: Asker<'_>, new: NewSession) -> Result<(Session, Concealed), Failure> {
        self.ask("session", "create", &format!("{} {}", new.user_agent, new.client_address))?;
        let subject = new.login_proof.reveal().strip_prefix("proof:").unwrap().to_owned();
        let (secret, id) = {
            let mut held = self.0.lock().unwrap();
            if let Some(former) = &new.former_secret {
                held.sessions.remove(former.reveal());
            }
            held.next += 1;
            (format!("secret-{}", held.next), format!("ses_{}", held.next))
        };
        self.session(&secret, &id, &subject, "alice");
        let session = self.0.lock().unwrap().sessions[&secret].clone();
        Ok((session, Concealed::new(secret)))
    }

    async fn resolve(&self, _: Asker<'_>, secret: &str) -> Result<SessionLookup, Unavailable> {
        match self.ask("session", "resolve", "") {
            Err(Failure::Unavailable(unavailable)) => Err(unavailable),
            _ => {
                let held = self.0.lock().unwrap();
                Ok(match held.sessions.get(secret) {
                    Some(session) => SessionLookup::Found {
                        session: Box::new(session.clone()),
                        current_secret: held.renewed.clone().map(Concealed::new),
                    },
                    None => SessionLookup::NotFound,
                })
            }
        }
    }

    async fn end(&self, _: Asker<'_>, secret: &str, id: Option<&str>) -> Result<bool, Failure> {
        self.ask("session", "end", id.unwrap_or("own"))?;
        let mut held = self.0.lock().unwrap();
        let Some(own) = held.sessions.get(secret).cloned() else { return Ok(false) };
        let before = held.sessions.len();
        let id = id.unwrap_or(&own.id);
        held.sessions.retain(|_, session| !(session.id == id && session.subject == own.subject));
        Ok(held.sessions.len() < before)
    }

    async fn end_others(&self, _: Asker<'_>, secret: &str) -> Result<u32, Failure> {
        self.ask("session", "end_others", "")?;
        let mut held = self.0.lock().unwrap();
        let subject = held.sessions[secret].subject.clone();
        let before = held.sessions.len();
        held.sessions.retain(|key, session| key == secret || session.subject != subject);
        Ok((before - held.sessions.len()) as u32)
    }

    async fn get(&self, _: Asker<'_>, id: &str) -> Result<Session, Failure> {
        self.ask("session", "get", id)?;
        let held = self.0.lock().unwrap();
        held.sessions
            .values()
            .find(|session| session.id == id)
            .cloned()
            .ok_or_else(|| refused(Reason::SessionNotFound, None))
    }

    async fn list(
        &self,
        _: Asker<'_>,
        subject: Option<&str>,
        _: PageRequest,
    ) -> Result<Page<Session>, Failure> {
        self.ask("session", "list", subject.unwrap_or("everybody"))?;
        let held = self.0.lock().unwrap();
        let theirs = |session: &&Session| subject.is_none_or(|subject| session.subject == subject);
        Ok(Page { items: held.sessions.values().filter(theirs).cloned().collect(), next: String::new() })
    }

    async fn end_by_id(&self, asker: Asker<'_>, id: &str) -> Result<bool, Failure> {
        self.ask("session", "end_by_id", &format!("{id} by {}", asker.actor.unwrap_or("nobody")))?;
        let mut held = self.0.lock().unwrap();
        let before = held.sessions.len();
        held.sessions.retain(|_, session| session.id != id);
        Ok(held.sessions.len() < before)
    }

    async fn end_subject(&self, _: Asker<'_>, subject: &str) -> Result<u32, Failure> {
        self.ask("session", "end_subject", subject)?;
        let mut held = self.0.lock().unwrap();
        let before = held.sessions.len();
        held.sessions.retain(|_, session| session.subject != subject);
        Ok((before - held.sessions.len()) as u32)
    }
}
