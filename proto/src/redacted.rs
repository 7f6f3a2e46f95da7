//! `Debug` for the messages that carry passwords, secrets or tokens: their name and nothing of what they hold.
//!
//! They are generated without a `Debug` of their own (`SECRETS` in tests/drift.rs), so that no log line, panic
//! message or span field can print them (S08).

use std::fmt;

macro_rules! redacted {
    ($($package:ident :: { $($message:ident),* $(,)? })*) => {
        $($(impl fmt::Debug for crate::$package::v1::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($message), " { .. }"))
            }
        })*)*
    };
}

redacted! {
    auth::{ RegisterRequest, LoginRequest, LoginResponse, ChangePasswordRequest, ChangePasswordResponse, TokenSet, ClientAuthentication, RefreshRequest, RevokeRequest, IntrospectRequest, CreateUserRequest, SetPasswordRequest, CreateClientResponse, RotateClientSecretResponse }
    session::{ CreateSessionRequest, CreateSessionResponse, ResolveSessionRequest, ResolveSessionResponse, RotateSessionRequest, RotateSessionResponse, EndSessionRequest, EndOtherSessionsRequest }
}
