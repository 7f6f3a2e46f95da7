//! Every code that the gateway may answer: one line each, from which the documentation is generated.
//!
//! A [`Code`] can be made here only, so a problem that is not in the catalogue cannot be answered.

use std::fmt;

use http::{HeaderValue, StatusCode};

/// A stable name for one way in which a request fails.
#[derive(Clone, Copy)]
pub struct Code(&'static Entry);

struct Entry {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    advice: &'static str,
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code)
    }
}

impl Code {
    /// What clients match on.
    pub fn code(self) -> &'static str {
        self.0.code
    }

    pub fn status(self) -> StatusCode {
        self.0.status
    }

    /// What it means, the same at each occurrence.
    pub fn title(self) -> &'static str {
        self.0.title
    }

    /// What whoever meets it can do.
    pub fn advice(self) -> &'static str {
        self.0.advice
    }

    /// The problem type of RFC 9457: a name, not a place, since this catalogue ships with the documents.
    pub fn uri(self) -> String {
        format!("urn:latchkey:problem:{}", self.0.code)
    }

    /// RFC 6750 §3.1: a token that was presented and is no good is told so, a missing one is not.
    pub(super) fn challenge(self) -> HeaderValue {
        HeaderValue::from_static(match self.0.code {
            "token_invalid" => "Bearer realm=\"latchkey\", error=\"invalid_token\"",
            "token_expired" => {
                "Bearer realm=\"latchkey\", error=\"invalid_token\", error_description=\"expired\""
            }
            _ => "Bearer realm=\"latchkey\"",
        })
    }
}

macro_rules! catalogue {
    ($($name:ident $status:ident $code:literal $title:literal $advice:literal;)*) => {
        $(pub const $name: Code =
            Code(&Entry { code: $code, status: StatusCode::$status, title: $title, advice: $advice });)*

        /// Every code, in the order of the documentation.
        pub const CATALOGUE: &[Code] = &[$($name),*];
    };
}

catalogue! {
    // The request itself
    REQUEST_MALFORMED BAD_REQUEST "request_malformed" "The request is not valid HTTP for this server." "Correct what `detail` names.";
    REQUEST_INVALID BAD_REQUEST "request_invalid" "A member or parameter of the request is missing, unknown or wrong." "Correct what `detail` names; /openapi.json describes each request.";
    MALFORMED_JSON BAD_REQUEST "malformed_json" "The body is not valid JSON." "Correct the body at the place that `detail` names.";
    PATH_AMBIGUOUS BAD_REQUEST "path_ambiguous" "The path can be read in more than one way." "Send the plain spelling of the path, without dot segments, empty segments, encoded slashes or needless encoding.";
    TOKEN_IN_QUERY BAD_REQUEST "token_in_query" "A token was sent in the query string." "Send it in the Authorization header: URLs end up in logs. Consider that token known to others.";
    CREDENTIAL_AMBIGUOUS BAD_REQUEST "credential_ambiguous" "More than one Authorization header was sent." "Send one: nobody can say which of them is meant.";
    COOKIE_AMBIGUOUS BAD_REQUEST "cookie_ambiguous" "More than one cookie claims to be the credential." "Clear this site's cookies and log in again; another host of the same domain may have set one.";
    HOST_INVALID BAD_REQUEST "host_invalid" "The host of the request is missing or not valid." "Send one valid Host header.";
    NOT_FOUND NOT_FOUND "not_found" "There is nothing at this path." "Check the path and the method; /openapi.json lists the gateway's own, the route file the applications'.";
    METHOD_NOT_ALLOWED METHOD_NOT_ALLOWED "method_not_allowed" "This path does not take this method." "Use one of those in the Allow header.";
    METHOD_UNSUPPORTED NOT_IMPLEMENTED "method_unsupported" "This method is passed on to no path." "Use another: CONNECT would open a tunnel to anywhere, and TRACE would answer with the credentials that it was sent with.";
    REQUEST_TIMEOUT REQUEST_TIMEOUT "request_timeout" "The request did not arrive in time." "Send it again, faster.";
    BODY_TOO_LARGE PAYLOAD_TOO_LARGE "body_too_large" "The body is larger than this path takes." "Send less.";
    UNSUPPORTED_MEDIA_TYPE UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body is not of the type that this path takes." "Send the type that `detail` names.";
    HEADERS_TOO_LARGE REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large" "The headers are too many or too large." "Send fewer or smaller headers; often it is cookies.";

    // Who asks
    CREDENTIAL_MISSING UNAUTHORIZED "credential_missing" "Nobody is logged in." "Log in, or send an access token as `Authorization: Bearer …`.";
    CREDENTIAL_NOT_ACCEPTED UNAUTHORIZED "credential_not_accepted" "This path does not take this kind of credential." "Use the kind that `detail` names.";
    SCHEME_UNSUPPORTED UNAUTHORIZED "scheme_unsupported" "The Authorization header is not one that this path takes." "Send `Authorization: Bearer …` with one token.";
    TOKEN_INVALID UNAUTHORIZED "token_invalid" "The access token is not valid here." "Get a new one: refresh, or log in.";
    TOKEN_EXPIRED UNAUTHORIZED "token_expired" "The access token has expired." "Refresh it.";
    SESSION_INVALID UNAUTHORIZED "session_invalid" "The session is unknown, has expired or was ended." "Log in again.";
    REFRESH_TOKEN_INVALID UNAUTHORIZED "refresh_token_invalid" "The refresh token is missing, spent, expired or was ended." "Log in again.";
    INVALID_CREDENTIALS UNAUTHORIZED "invalid_credentials" "The name or the password is wrong, or the account may not log in." "Check both; ask an administrator whether the account is disabled.";

    // What it may do
    PASSWORD_CHANGE_REQUIRED FORBIDDEN "password_change_required" "The password must be changed before the account can be used." "`POST /v1/password` with `identifier`, `current_password` and `new_password`.";
    PERMISSION_DENIED FORBIDDEN "permission_denied" "You do not have the permission that this needs." "Ask an administrator for the permission that `detail` names.";
    ROLE_REQUIRED FORBIDDEN "role_required" "You do not have the role that this needs." "Ask an administrator for the role that `detail` names.";
    ORIGIN_REQUIRED FORBIDDEN "origin_required" "A cookie came with a request that does not say which site it comes from." "Send `Sec-Fetch-Site`, `Origin` or `Referer`, as browsers do, or use an access token instead of a cookie.";
    CROSS_SITE FORBIDDEN "cross_site" "A cookie came with a request from another site." "Send it from this site, or have an operator add the origin to `origins`.";
    REGISTRATION_CLOSED FORBIDDEN "registration_closed" "Accounts are made by administrators here." "Ask an administrator for an account.";

    // What it is about
    USER_NOT_FOUND NOT_FOUND "user_not_found" "There is no such user." "Check the id or the username.";
    CLIENT_NOT_FOUND NOT_FOUND "client_not_found" "There is no such client." "Check the id or the name.";
    KEY_NOT_FOUND NOT_FOUND "key_not_found" "There is no such signing key." "Check the kid: `GET /v1/admin/keys` lists them.";
    FAMILY_NOT_FOUND NOT_FOUND "family_not_found" "There is no such login by token." "Check the id, the claim `fam` of its access tokens; one that ended is known for a day at most, one that expired for a quarter of an hour.";
    ROLE_NOT_FOUND NOT_FOUND "role_not_found" "There is no such role." "Check the name, or add the role first.";
    GRANT_NOT_FOUND NOT_FOUND "grant_not_found" "There is no such grant." "List the grants; it may be gone already.";
    GROUP_NOT_FOUND NOT_FOUND "group_not_found" "There is no such group." "Check the name, or add the group first.";
    MEMBER_NOT_FOUND NOT_FOUND "member_not_found" "The group has no such member." "List the groups; it may be gone already.";
    SESSION_NOT_FOUND NOT_FOUND "session_not_found" "There is no such session." "List the sessions; it may have ended.";
    USERNAME_TAKEN CONFLICT "username_taken" "Another user has this name." "Choose another.";
    CLIENT_NAME_TAKEN CONFLICT "client_name_taken" "Another client has this name." "Choose another.";
    GROUP_TAKEN CONFLICT "group_taken" "Another group has this name." "Choose another.";
    GROUP_CYCLE CONFLICT "group_cycle" "The group would contain itself." "Leave out the membership that closes the circle.";
    ROLE_BUILT_IN CONFLICT "role_built_in" "A built-in role cannot be changed." "Make a role of your own.";
    LAST_ADMINISTRATOR CONFLICT "last_administrator" "Nobody would be left who can administer this system." "Give `latchkey-admin` to another user, client or group first.";
    SESSION_LIMIT CONFLICT "session_limit" "The user has as many sessions as are allowed." "End one of them first.";
    PASSWORD_REFUSED BAD_REQUEST "password_refused" "The password is not good enough." "Choose another; `detail` says what is wrong with it.";
    USERNAME_INVALID BAD_REQUEST "username_invalid" "The username is not valid." "Choose another; `detail` says what is wrong with it.";
    CLIENT_INVALID BAD_REQUEST "client_invalid" "The client is not described well." "Correct what `detail` names.";
    ROLE_INVALID BAD_REQUEST "role_invalid" "The role is not described well." "Role names are `[a-z0-9][a-z0-9._-]{0,62}`.";
    GROUP_INVALID BAD_REQUEST "group_invalid" "The group is not described well." "Group names are `[a-z0-9][a-z0-9._-]{0,62}`.";
    PERMISSION_INVALID BAD_REQUEST "permission_invalid" "The permission is not written well." "Write `kind:action`; in a role `kind:*` too.";
    SUBJECT_INVALID BAD_REQUEST "subject_invalid" "The subject is not named well." "Name a user, a client or, where it may be one, a group.";
    RESOURCE_INVALID BAD_REQUEST "resource_invalid" "The resource is not named well." "Write `kind/id`.";

    // Too much, or not now
    TOO_MANY_ATTEMPTS TOO_MANY_REQUESTS "too_many_attempts" "Too many failed logins." "Wait as long as `Retry-After` says.";
    HASHING_BUSY TOO_MANY_REQUESTS "hashing_busy" "Too many passwords are being checked at once." "Wait as long as `Retry-After` says.";
    NOT_EVERYWHERE ACCEPTED "not_everywhere" "It is done, and not yet known to hold everywhere." "Repeat the request after `Retry-After`: the repetition waits like the first. Some replica or gateway has not answered for longer than a lease; /readyz?verbose and the feed's metrics say which.";
    OVERLOADED SERVICE_UNAVAILABLE "overloaded" "The gateway has no room for this request now." "Wait as long as `Retry-After` says.";
    UNAVAILABLE SERVICE_UNAVAILABLE "unavailable" "Something that this needs could not be asked." "Nothing is wrong with the request: repeat it after `Retry-After`. Operators: /readyz?verbose says what is missing.";
    UPSTREAM_UNAVAILABLE SERVICE_UNAVAILABLE "upstream_unavailable" "The application could not be reached." "Repeat the request after `Retry-After`.";
    UPSTREAM_FAILED BAD_GATEWAY "upstream_failed" "The application broke off or answered something that is not HTTP." "Repeat the request if that is safe; look into the application's log.";
    UPSTREAM_TIMEOUT GATEWAY_TIMEOUT "upstream_timeout" "The application did not answer in time." "Repeat the request if that is safe; an operator can raise the upstream's `timeout`.";
    INTERNAL INTERNAL_SERVER_ERROR "internal" "The gateway made a mistake." "Report it with the request id; the log has the rest.";
}

/// `docs/errors.md`.
pub fn catalogue_markdown() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Generated from the gateway's catalogue; do not edit.\n\n\
         Every refusal is `application/problem+json` (RFC 9457) with `type`, `title`, `status`, a stable `code`, where there is more \
         to say `detail`, and the `request_id` to ask an operator about. Programs match on `code`. 429 and 503 carry `Retry-After`, \
         401 carries `WWW-Authenticate`, and 503 says nothing about who asked. The OAuth endpoints answer `error` and \
         `error_description` (RFC 6749 §5.2) instead.\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n",
    );
    for code in CATALOGUE {
        page.push_str(&format!(
            "| <a id=\"{0}\"></a>`{0}` | {1} | {2} | {3} |\n",
            code.code(),
            code.status().as_u16(),
            code.title(),
            code.advice()
        ));
    }
    page.push_str("\n## OAuth\n\n| error | status | meaning |\n|---|---|---|\n");
    for error in super::oauth::CATALOGUE {
        page.push_str(&format!("| `{}` | {} | {} |\n", error.name, error.status.as_u16(), error.meaning));
    }
    page
}
