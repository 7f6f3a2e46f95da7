//! Bytes both ways, once a client and an application have left HTTP (WebSocket and its like).

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoint::Lease;

/// Copies until both sides are done, or the process is. `lease` counts as a request in flight for so long.
pub(super) fn open(
    tasks: &TaskTracker,
    ended: CancellationToken,
    client: OnUpgrade,
    application: OnUpgrade,
    lease: Lease,
) {
    tasks.spawn(async move {
        let copying = async {
            let (client, application) = tokio::try_join!(client, application).ok()?;
            let (mut client, mut application) = (TokioIo::new(client), TokioIo::new(application));
            tokio::io::copy_bidirectional(&mut client, &mut application).await.ok()
        };
        tokio::select! {
            _ = copying => {}
            () = ended.cancelled() => {}
        }
        drop(lease);
    });
}
