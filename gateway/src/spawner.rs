//! HTTP/2 needs tasks beside the one of its connection. They are counted by whoever owns the connection.

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

#[derive(Clone, Debug)]
pub(crate) struct Spawner(pub(crate) TaskTracker);

impl<F> Executor<F> for Spawner
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
