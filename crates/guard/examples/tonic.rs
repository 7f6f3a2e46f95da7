//! A tonic service that believes Latchkey's access tokens.
//!
//! `cargo run -p latchkey-guard --example tonic --features connect -- guard.toml`. The same layer as in the axum example:
//! refusals are gRPC's UNAUTHENTICATED and UNAVAILABLE here. (An interceptor could not do it: it cannot wait, and the first
//! use of a token may have to.)

use std::{error::Error, future::Future, path::Path, sync::Arc, time::Duration};

use latchkey_guard::{CheckFailed, Guard, Principal, connect::Config};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// From `greeter/greeter.proto`; in a service of your own `tonic::include_proto!`.
pub mod greeter {
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
    include!("greeter/greeter.v1.rs");
}

use greeter::{
    ReadReportRequest, ReadReportResponse,
    greeter_server::{Greeter, GreeterServer},
};

struct Reports(Guard);

#[tonic::async_trait]
impl Greeter for Reports {
    async fn read_report(
        &self,
        request: Request<ReadReportRequest>,
    ) -> Result<Response<ReadReportResponse>, Status> {
        // Only a service that is not behind the layer is without.
        let principal: Arc<Principal> =
            request.extensions().get().cloned().ok_or_else(|| Status::internal("no principal"))?;
        let id = request.into_inner().id;
        match self.0.check(&principal, "report:read", Some(("report", &id))).await {
            Ok(true) => {
                let text = format!("report {id} for {}", principal.name);
                Ok(Response::new(ReadReportResponse { text }))
            }
            Ok(false) => Err(Status::permission_denied("this needs report:read")),
            Err(CheckFailed::Invalid(_)) => Err(Status::invalid_argument("not a report's id")),
            // Not a no: nobody could be asked.
            Err(CheckFailed::Unavailable(_)) => Err(Status::unavailable("nobody can say whether you may")),
        }
    }
}

/// Serves until `stop`.
pub async fn serve(
    config: &Path,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let guard = Guard::connect(&Config::from_file(config)?)?;
    guard.ready(Duration::from_secs(30)).await?;
    Server::builder()
        .layer(guard.layer())
        .add_service(GreeterServer::new(Reports(guard.clone())))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
        .await?;
    guard.close().await;
    Ok(())
}

#[tokio::main]
pub async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = std::env::args().nth(1).ok_or("usage: tonic guard.toml")?;
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(Path::new(&config), listener, async {
        // Without a signal handler it just runs on.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await
}
