//! What every log line says of the call that it is written in.
//!
//! Not a span: that would be made for each call, and hardly a call has a line.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static AROUND: Box<Around>;
}

/// A call that is being answered, as lines name it. What is `None` is not in them.
#[derive(Debug, Clone)]
pub struct Around {
    /// What is called.
    pub method: Option<Cow<'static, str>>,
    /// The id of the request that it belongs to.
    pub request_id: Arc<str>,
    /// The calling process, by the name in its certificate.
    pub caller: Option<Arc<str>>,
    /// The trace that it is part of.
    pub trace_id: Option<String>,
}

impl Around {
    /// `work`, in whose lines this is. Not in those of tasks that it begins.
    // Not `async`: that would keep `work` twice.
    pub fn future<F: Future>(self, work: F) -> TaskLocalFuture<Box<Around>, F> {
        AROUND.scope(Box::new(self), work)
    }

    /// The same for what waits for nothing.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        AROUND.sync_scope(Box::new(self), work)
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("method", self.method.as_deref()),
            ("request_id", Some(&*self.request_id)),
            ("caller", self.caller.as_deref()),
            ("trace_id", self.trace_id.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Shows each field of the call that is being answered, if there is one.
pub(super) fn each(mut show: impl FnMut(&'static str, &str)) {
    let _ = AROUND.try_with(|around| around.fields().for_each(|(name, value)| show(name, value)));
}
