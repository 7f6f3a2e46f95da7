//! Broken variants of the protocol: each leaves out one rule, to show that the simulation would notice and that the rule
//! is needed. Without the feature `simulation` there is no way to name one, and [`Variant::is`] is the constant `false`,
//! so that a product holds none of the branches.

/// The rule that is broken, by the name that the model gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "simulation"),
    allow(dead_code, reason = "branches name variants that only the simulation makes")
)]
pub enum Broken {
    // The ender.
    AckAfterCommit,
    MembersBeforeCommit,
    RepeatEndAtOnce,
    OwnLeaseLength,
    SkipFencedAtOnce,
    FailedAppendIsDone,
    // The serving replica.
    GrantWithoutBeat,
    BeatTimeAtReply,
    StableReplicaId,
    ConfirmWithoutRecords,
    GrantOvertakesChanges,
    AskWithoutRight,
    RecordDiesWithStream,
    HelloForgetsRecords,
    BehindReplicaResets,
    TailOfAnotherHistory,
    // The watcher.
    LeaseFromReceipt,
    AckBeforeApply,
    ResetClears,
    ForgetAfterRelease,
    GrantFromLeftStream,
    FillNoPosition,
    JoinFlightBlind,
    // Around the core: its driver, its log, its machine.
    LookupBeforeLease,
    CachedClock,
    BareSequence,
    StaleHead,
    MembersLost,
    EnvFrozenClock,
    // Rules that the model does not have.
    TagsIgnored,
    LifeFromSignature,
    GenerationReadLate,
    GenerationInSeconds,
    GenerationAtRefresh,
    RefreshUnchecked,
    VersionOfAnotherAnswer,
    AllDropsOne,
    ClockBack,
    ForgetEarly,
}

/// Which rule is broken: in a product, none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variant(#[cfg(feature = "simulation")] Option<Broken>);

impl Variant {
    #[cfg(feature = "simulation")]
    pub const fn broken(rule: Broken) -> Self {
        Self(Some(rule))
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn is(self, rule: Broken) -> bool {
        self.0 == Some(rule)
    }

    #[cfg(not(feature = "simulation"))]
    pub(crate) const fn is(self, _: Broken) -> bool {
        false
    }
}

#[cfg(feature = "simulation")]
impl Broken {
    pub const ALL: [Self; 39] = [
        Self::AckAfterCommit,
        Self::MembersBeforeCommit,
        Self::RepeatEndAtOnce,
        Self::OwnLeaseLength,
        Self::SkipFencedAtOnce,
        Self::FailedAppendIsDone,
        Self::GrantWithoutBeat,
        Self::BeatTimeAtReply,
        Self::StableReplicaId,
        Self::ConfirmWithoutRecords,
        Self::GrantOvertakesChanges,
        Self::AskWithoutRight,
        Self::RecordDiesWithStream,
        Self::HelloForgetsRecords,
        Self::BehindReplicaResets,
        Self::TailOfAnotherHistory,
        Self::LeaseFromReceipt,
        Self::AckBeforeApply,
        Self::ResetClears,
        Self::ForgetAfterRelease,
        Self::GrantFromLeftStream,
        Self::FillNoPosition,
        Self::JoinFlightBlind,
        Self::LookupBeforeLease,
        Self::CachedClock,
        Self::BareSequence,
        Self::StaleHead,
        Self::MembersLost,
        Self::EnvFrozenClock,
        Self::TagsIgnored,
        Self::LifeFromSignature,
        Self::GenerationReadLate,
        Self::GenerationInSeconds,
        Self::GenerationAtRefresh,
        Self::RefreshUnchecked,
        Self::VersionOfAnotherAnswer,
        Self::AllDropsOne,
        Self::ClockBack,
        Self::ForgetEarly,
    ];

    /// In snake case, as the model and the specification write it.
    pub fn name(self) -> String {
        let mut name = String::new();
        for (at, letter) in format!("{self:?}").char_indices() {
            if at > 0 && letter.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}
