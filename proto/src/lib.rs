//! The gRPC contracts: one module a package, generated from `proto/` and checked in under `src/gen`.
//!
//! `tests/drift.rs` holds that the generated code is what the contracts say.
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]

pub mod codec;
mod redacted;

/// Every contract as a serialized `FileDescriptorSet`: for gRPC reflection, and for the test that each RPC has a row in the access table.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// Contracts of auth-service.
pub mod auth {
    pub mod v1 {
        include!("gen/latchkey.auth.v1.rs");
    }
}

/// Contracts of session-service.
pub mod session {
    pub mod v1 {
        include!("gen/latchkey.session.v1.rs");
    }
}

/// Contracts of policy-service.
pub mod policy {
    pub mod v1 {
        include!("gen/latchkey.policy.v1.rs");
    }
}

/// Contracts of the change feed, which each backing service serves on a port of its own.
pub mod feed {
    pub mod v1 {
        include!("gen/latchkey.feed.v1.rs");
    }
}
