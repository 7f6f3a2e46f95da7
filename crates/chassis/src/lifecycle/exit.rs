//! How tasks end, and how the process then does.

use std::fmt;
use std::process::ExitCode;

/// How a task may end: `()` or a `Result`.
pub trait Ending: Send + 'static {
    /// What went wrong, if something did.
    fn failure(self) -> Option<String>;
}

impl Ending for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display + Send + 'static> Ending for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// How a process stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Asked to, and all work in flight was done.
    Clean,
    /// Asked to, and this many pieces of work were cut off at the drain deadline.
    CutOff { tasks: usize },
    /// A task that must run panicked, failed or ended.
    Failed { task: String, reason: String },
}

impl Exit {
    /// 0 when clean, 1 after a failure, 3 when work was cut off.
    pub fn status(&self) -> u8 {
        match self {
            Exit::Clean => 0,
            Exit::Failed { .. } => 1,
            Exit::CutOff { .. } => 3,
        }
    }

    /// The same for `main`.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }
}
