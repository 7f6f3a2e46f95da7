//! The first administrator: made over gRPC with the operator's certificate, because nobody can log in yet.
//!
//! Idempotent: an administrator is whoever is granted `latchkey-admin`, and the grant is the last step. A run that was cut
//! short left a note ([`unfinished`]) and is taken up by the next one; a run after success changes nothing and says so.
//! Without that note nobody's account is ever removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::config::{Shutdown, Tls, TlsMode};
use chassis::entropy::{Entropy, SystemEntropy};
use chassis::grpc::client::{Call, Channel, ChannelError, channel};
use chassis::lifecycle::Lifecycle;
use chassis::process::say;
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
mod unfinished;

use unfinished::{Run, Unfinished};

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
    /// Made up, and written here with mode 0600 before the user is made. What is there is replaced, unless it belongs to an
    /// unfinished run.
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
    File { reason: String },
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

    let found = Unfinished::find(request.password.path()).map_err(unusable)?;
    let exists = match administrator_exists(policy.clone(), &call).await {
        Ok(exists) => exists,
        Err(error) => {
            // A file that is not there is told also where nobody can be asked.
            if let PasswordSource::File(_) = request.password {
                password(&request.password, false)?;
            }
            return Err(error);
        }
    };
    if exists {
        // Cut short after its grant: with the note left, a later run would believe that account to be half made.
        found.map_or(Ok(()), Unfinished::end).map_err(unusable)?;
        return Err(BootstrapError::AdministratorExists);
    }
    let resumed = found.is_some();
    if let Some(Unfinished { run, .. }) = &found {
        remove_half_made(auth.clone(), &call, run).await?;
    }
    if user(auth.clone(), &call, &request.username).await?.is_some() {
        return Err(BootstrapError::UsernameTaken(request.username.clone()));
    }
    let password = password(&request.password, resumed)?;
    let run = Run {
        username: request.username.clone(),
        must_change_password: request.must_change_password,
        id: None,
    };
    let mut unfinished = begin(&request.password, run)?;
    let id = match create(auth, &call, request, &password).await {
        Ok(id) => id,
        Err(refused @ BootstrapError::Refused { .. }) => {
            // Nothing was made, so there is nothing to take up.
            unfinished.map_or(Ok(()), Unfinished::end).map_err(unusable)?;
            return Err(refused);
        }
        Err(error) => return Err(error),
    };
    if let Some(unfinished) = &mut unfinished {
        unfinished.made(&id).map_err(unusable)?;
    }
    PolicyAdminServiceClient::new(policy)
        .create_grant(call.request(policy::CreateGrantRequest {
            subject: Some(policy::Subject { kind: policy::SubjectKind::User.into(), id: id.clone() }),
            role: ROLE.to_owned(),
            within: None,
        }))
        .await
        .map_err(|status| failed("policy-service", &status))?;
    unfinished.map_or(Ok(()), Unfinished::end).map_err(unusable)?;
    Ok(Bootstrapped { id })
}

/// Whether somebody holds the role everywhere: within a resource it administers nothing.
async fn administrator_exists(policy: Channel, call: &Call) -> Result<bool, BootstrapError> {
    let mut reads = PolicyReadServiceClient::new(policy);
    let mut page_token = String::new();
    loop {
        let asked =
            policy::ListGrantsRequest { role: ROLE.to_owned(), page_size: 1_000, page_token, subject: None };
        let listed = reads
            .list_grants(call.request(asked))
            .await
            .map_err(|status| failed("policy-service", &status))?
            .into_inner();
        if listed.grants.iter().any(|grant| grant.within.is_none()) {
            return Ok(true);
        }
        if listed.next_page_token.is_empty() {
            return Ok(false);
        }
        page_token = listed.next_page_token;
    }
}

/// Removed and made anew, not reused: whatever was issued to the former id stays without rights. Whoever has the name but
/// is not the run's own user is left alone.
async fn remove_half_made(auth: Channel, call: &Call, run: &Run) -> Result<(), BootstrapError> {
    let Some(user) = user(auth.clone(), call, &run.username).await? else { return Ok(()) };
    if !run.made_user(&user.id, user.must_change_password) {
        return Ok(());
    }
    UserAdminServiceClient::new(auth)
        .delete_user(call.request(auth::DeleteUserRequest { id: user.id }))
        .await
        .map_err(|status| failed("auth-service", &status))?;
    Ok(())
}

async fn user(auth: Channel, call: &Call, username: &str) -> Result<Option<auth::User>, BootstrapError> {
    let key = auth::get_user_request::Key::Username(username.to_owned());
    let found = UserReadServiceClient::new(auth)
        .get_user(call.request(auth::GetUserRequest { key: Some(key) }))
        .await;
    match found {
        Ok(found) => Ok(Some(found.into_inner().user.unwrap_or_default())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(failed("auth-service", &status)),
    }
}

/// Returns the id.
async fn create(
    auth: Channel,
    call: &Call,
    request: &Request,
    password: &str,
) -> Result<String, BootstrapError> {
    let created = UserAdminServiceClient::new(auth)
        .create_user(call.request(auth::CreateUserRequest {
            username: request.username.clone(),
            password: password.to_owned(),
            must_change_password: request.must_change_password,
        }))
        .await
        .map_err(|status| failed("auth-service", &status))?;
    Ok(created.into_inner().user.unwrap_or_default().id)
}

/// A password that was given may lie where nothing can be written (a mounted secret): such a run is not taken up when it is
/// cut short, which is said.
fn begin(source: &PasswordSource, run: Run) -> Result<Option<Unfinished>, BootstrapError> {
    match (Unfinished::begin(source.path(), run), source) {
        (Ok(unfinished), _) => Ok(Some(unfinished)),
        (Err(error), PasswordSource::File(_)) => {
            say(format_args!("should this be cut short, the next run will not take it up: {error:#}"));
            Ok(None)
        }
        (Err(error), PasswordSource::GeneratedInto(_)) => Err(unusable(error)),
    }
}

/// What an earlier run generated is good for the run that takes it up, and for no other: its account may be somebody
/// else's by now, and its password known.
fn password(source: &PasswordSource, resumed: bool) -> Result<Zeroizing<String>, BootstrapError> {
    let read = |path: &PathBuf| -> anyhow::Result<Zeroizing<String>> {
        let secret = chassis::secret::read(path)?;
        Ok(Zeroizing::new(secret.text()?.lines().next().unwrap_or_default().to_owned()))
    };
    match source {
        PasswordSource::File(path) => read(path).map_err(unusable),
        PasswordSource::GeneratedInto(path) if resumed && path.exists() => read(path).map_err(unusable),
        PasswordSource::GeneratedInto(path) => {
            let password = generate_password(&SystemEntropy);
            let line = Zeroizing::new(format!("{}\n", password.as_str()));
            private_file::write(path, line.as_bytes()).map_err(unusable)?;
            Ok(password)
        }
    }
}

fn unusable(error: anyhow::Error) -> BootstrapError {
    BootstrapError::File { reason: format!("{error:#}") }
}

impl PasswordSource {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::GeneratedInto(path) => path,
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
    fn a_generated_password_is_kept_private_and_good_for_one_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin-password");
        let source = PasswordSource::GeneratedInto(path.clone());
        let first = password(&source, false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(password(&source, true).unwrap(), first, "the same run");
        let second = password(&source, false).unwrap();
        assert_ne!(second, first, "another");
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), second.as_str());
    }

    #[test]
    fn a_password_that_lies_where_nothing_can_be_written_is_used_all_the_same() {
        let run = || Run { username: "root".into(), must_change_password: true, id: None };
        // Not even root can make a file there.
        let nowhere = PathBuf::from("/proc/self/password");
        assert!(begin(&PasswordSource::File(nowhere.clone()), run()).unwrap().is_none());
        assert!(begin(&PasswordSource::GeneratedInto(nowhere), run()).is_err());
    }
}
