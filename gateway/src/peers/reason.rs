//! The reasons with which the services refuse: `ErrorInfo.reason` of domain `latchkey`, one variant each.

macro_rules! reasons {
    ($($service:literal { $($variant:ident $name:literal)* })*) => {
        /// Why a service said no. A reason that is not here is not understood, hence no refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($($variant,)*)*
            /// `INVALID_ARGUMENT` with a reason of its own: the message says which field.
            InvalidArgument,
        }

        impl Reason {
            pub const NAMED: &'static [Reason] = &[$($(Reason::$variant,)*)*];

            /// None for a reason that this version does not know, or that is not this service's to give: were
            /// policy-service to say that a password is wrong, nobody would know what it means (Z01).
            pub fn parse(service: &str, name: &str) -> Option<Self> {
                match (service, name) {
                    $($(($service, $name) => Some(Self::$variant),)*)*
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)*)*
                    Self::InvalidArgument => "INVALID_ARGUMENT",
                }
            }
        }
    };
}

reasons! {
    "auth" {
        RegistrationClosed "REGISTRATION_CLOSED"
        UsernameTaken "USERNAME_TAKEN"
        UsernameInvalid "USERNAME_INVALID"
        PasswordRefused "PASSWORD_REFUSED"
        HashingBusy "HASHING_BUSY"
        TooManyAttempts "TOO_MANY_ATTEMPTS"
        InvalidCredentials "INVALID_CREDENTIALS"
        PasswordChangeRequired "PASSWORD_CHANGE_REQUIRED"
        UserNotFound "USER_NOT_FOUND"
        ClientNotFound "CLIENT_NOT_FOUND"
        ClientNameTaken "CLIENT_NAME_TAKEN"
        ClientInvalid "CLIENT_INVALID"
        KeyNotFound "KEY_NOT_FOUND"
        FamilyNotFound "FAMILY_NOT_FOUND"
        InvalidClient "INVALID_CLIENT"
        InvalidGrant "INVALID_GRANT"
        InvalidScope "INVALID_SCOPE"
        InvalidTarget "INVALID_TARGET"
        UnsupportedTokenType "UNSUPPORTED_TOKEN_TYPE"
    }
    "session" {
        ProofInvalid "PROOF_INVALID"
        SessionLimit "SESSION_LIMIT"
        SessionNotFound "SESSION_NOT_FOUND"
    }
    "policy" {
        PermissionInvalid "PERMISSION_INVALID"
        SubjectInvalid "SUBJECT_INVALID"
        ResourceInvalid "RESOURCE_INVALID"
        RoleInvalid "ROLE_INVALID"
        RoleBuiltIn "ROLE_BUILT_IN"
        RoleNotFound "ROLE_NOT_FOUND"
        GrantNotFound "GRANT_NOT_FOUND"
        GroupNotFound "GROUP_NOT_FOUND"
        GroupTaken "GROUP_TAKEN"
        GroupInvalid "GROUP_INVALID"
        GroupCycle "GROUP_CYCLE"
        MemberNotFound "MEMBER_NOT_FOUND"
    }
}
