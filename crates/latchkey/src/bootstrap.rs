//! The first administrator: made over gRPC with the operator's certificate, because nobody can log in yet.
//!
//! Idempotent: an administrator is whoever is granted `latchkey-admin`, and the grant is the last step. A run that was cut
//! short is taken up by the next one; a run after success changes nothing and says so.

use std::path::PathBuf;
use std::time::Duration;

use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::entropy::{Entropy, SystemEntropy};
use chassis::grpc::client::{Call, Channel, ChannelError, channel};
use chassis::lifecycle::Lifecycle;
use chassis::tls::{Identity, TlsError};
use proto::auth::v1 as auth;
use proto::auth::v1::user_admin_service_client::UserAdminServiceClient;
use proto::auth::v1::user_read_service_client::UserReadServiceClient;
use proto::policy::v1 as policy;
use proto::policy::v1::policy_admin_service_client::PolicyAdminServiceClient;
use proto::policy::v1::policy_read_service_client::PolicyReadServiceClient;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::private_file;

pub mod command;

/// The built-in role of Latchkey's own administrators.
const ROLE: &str = "latchkey-admin";
/// The audit's name for who did it.
const ACTOR: &str = "operator";
const TIMEOUT: Duration = Duration::from_secs(10);
/// 20 characters of 32: 100 bits.
const PASSWORD_CHARACTERS: usize = 20;

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// URLs of its replicas.
    pub auth: Vec<String>,
    /// URLs of its replicas.
    pub policy: Vec<String>,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    pub domain: String,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub username: String,
    pub password: PasswordSource,
    pub must_change_password: bool,
}

#[derive(Debug, Clone)]
pub enum PasswordSource {
    /// The first line of a file, readable by its owner and group at most.
    File(PathBuf),
    /// Made up, and written here with mode 0600 before anything else happens.
    GeneratedInto(PathBuf),
}

/// The user that became administrator.
#[derive(Debug)]
pub struct Bootstrapped {
    pub id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("an administrator exists: nothing was changed")]
    AdministratorExists,
    #[error("a user called {0} exists and is no administrator: choose another name with --username")]
    UsernameTaken(String),
    #[error("{reason}")]
    PasswordFile { reason: String },
    #[error(transparent)]
    Identity(#[from] TlsError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("{service} refused: {message}")]
    Refused { service: &'static str, message: String },
    #[error("{service} cannot be asked: {message}")]
    Unavailable { service: &'static str, message: String },
}

pub async fn run(neighbours: &Neighbours, request: &Request) -> Result<Bootstrapped, BootstrapError> {
    let identity = Identity::load(&Tls {
        mode: TlsMode::Mutual,
        certificate: neighbours.certificate.clone(),
        key: neighbours.key.clone(),
        authority: neighbours.authority.clone(),
        domain: neighbours.domain.clone(),
    })?;
    let lifecycle = Lifecycle::new(Shutdown::default());
    let auth = channel(&neighbours.auth, &identity, "auth", &lifecycle)?;
    let policy = channel(&neighbours.policy, &identity, "policy", &lifecycle)?;
    let call = Call::new(chassis::entropy::id(&SystemEntropy, "req_"), TIMEOUT).actor(ACTOR);

    if administrator_exists(policy.clone(), &call).await? {
        return Err(BootstrapError::AdministratorExists);
    }
    let (password, resumed) = password(&request.password)?;
    clear_the_way(auth.clone(), &call, &request.username, resumed && !request.must_change_password).await?;
    let created = UserAdminServiceClient::new(auth)
        .create_user(call.request(auth::CreateUserRequest {
            username: request.username.clone(),
            password: password.as_str().to_owned(),
            must_change_password: request.must_change_password,
        }))
        .await
        .map_err(|status| failed("auth-service", &status))?;
    let id = created.into_inner().user.unwrap_or_default().id;
    PolicyAdminServiceClient::new(policy)
        .create_grant(call.request(policy::CreateGrantRequest {
            subject: Some(policy::Subject { kind: policy::SubjectKind::User.into(), id: id.clone() }),
            role: ROLE.to_owned(),
            within: None,
        }))
        .await
        .map_err(|status| failed("policy-service", &status))?;
    Ok(Bootstrapped { id })
}

async fn administrator_exists(policy: Channel, call: &Call) -> Result<bool, BootstrapError> {
    let asked = policy::ListGrantsRequest { role: ROLE.to_owned(), page_size: 1, ..Default::default() };
    let listed = PolicyReadServiceClient::new(policy)
        .list_grants(call.request(asked))
        .await
        .map_err(|status| failed("policy-service", &status))?;
    Ok(!listed.into_inner().grants.is_empty())
}

/// Removes the user that a run left behind which was cut short before its grant. Only such a run makes a user who must
/// change the password while there is no administrator, or (`resumed`) leaves a generated password behind; anybody else's
/// account is left alone. Removed and made anew, not reused: whatever was issued to the former id stays without rights.
async fn clear_the_way(
    auth: Channel,
    call: &Call,
    username: &str,
    resumed: bool,
) -> Result<(), BootstrapError> {
    let key = auth::get_user_request::Key::Username(username.to_owned());
    let found = UserReadServiceClient::new(auth.clone())
        .get_user(call.request(auth::GetUserRequest { key: Some(key) }))
        .await;
    let user = match found {
        Ok(found) => found.into_inner().user.unwrap_or_default(),
        Err(status) if status.code() == Code::NotFound => return Ok(()),
        Err(status) => return Err(failed("auth-service", &status)),
    };
    if !user.must_change_password && !resumed {
        return Err(BootstrapError::UsernameTaken(username.to_owned()));
    }
    UserAdminServiceClient::new(auth)
        .delete_user(call.request(auth::DeleteUserRequest { id: user.id }))
        .await
        .map_err(|status| failed("auth-service", &status))?;
    Ok(())
}

/// The password, and whether it is one that an earlier run generated.
fn password(source: &PasswordSource) -> Result<(Zeroizing<String>, bool), BootstrapError> {
    let unusable = |error: &dyn std::fmt::Display| BootstrapError::PasswordFile { reason: error.to_string() };
    let read = |path: &PathBuf| -> Result<Zeroizing<String>, BootstrapError> {
        let secret = chassis::secret::read(path).map_err(|error| unusable(&error))?;
        let text = secret.text().map_err(|error| unusable(&error))?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    };
    match source {
        PasswordSource::File(path) => Ok((read(path)?, false)),
        PasswordSource::GeneratedInto(path) if path.exists() => Ok((read(path)?, true)),
        PasswordSource::GeneratedInto(path) => {
            let password = generate_password(&SystemEntropy);
            let line = Zeroizing::new(format!("{}\n", password.as_str()));
            private_file::write(path, line.as_bytes()).map_err(|error| unusable(&format!("{error:#}")))?;
            Ok((password, false))
        }
    }
}

/// 100 random bits in groups of five letters and digits: readable, and safe in JSON, shells and URLs.
pub fn generate_password(entropy: &dyn Entropy) -> Zeroizing<String> {
    let id = Zeroizing::new(chassis::entropy::id(entropy, ""));
    let mut password = Zeroizing::new(String::new());
    // The first character of an id has three random bits only.
    for (place, character) in id.chars().skip(1).take(PASSWORD_CHARACTERS).enumerate() {
        if place > 0 && place % 5 == 0 {
            password.push('-');
        }
        password.push(character);
    }
    password
}

fn failed(service: &'static str, status: &Status) -> BootstrapError {
    let message = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::AlreadyExists
        | Code::NotFound
        | Code::FailedPrecondition => BootstrapError::Refused { service, message },
        _ => BootstrapError::Unavailable { service, message },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chassis::entropy::TestEntropy;

    use super::*;

    #[test]
    fn passwords_differ_and_need_no_quoting() {
        let entropy = TestEntropy::new(1);
        let (one, other) = (generate_password(&entropy), generate_password(&entropy));
        assert_ne!(one, other);
        assert_eq!(one.len(), 23);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{}", one.as_str());
    }

    #[test]
    fn a_generated_password_is_kept_private_and_found_by_the_next_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin-password");
        let source = PasswordSource::GeneratedInto(path.clone());
        let (first, resumed) = password(&source).unwrap();
        assert!(!resumed);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, resumed) = password(&source).unwrap();
        assert!(resumed);
        assert_eq!(first, second);
    }
}
