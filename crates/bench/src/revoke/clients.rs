//! An application with tokens, and the gateways that it talks to.

use std::time::Duration;

use anyhow::{Context, ensure};
use chassis::grpc::client::{Call, Channel};
use proto::auth::v1::{CreateClientRequest, client_admin_service_client::ClientAdminServiceClient};
use serde_json::Value;

pub(super) struct Gateway {
    url: String,
    client: reqwest::Client,
}

impl Gateway {
    pub(super) fn new(url: String) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { url, client })
    }

    /// The status of a call with this token.
    pub(super) async fn call(&self, token: &str) -> anyhow::Result<u16> {
        let answer = self.client.get(format!("{}/app/token/x", self.url)).bearer_auth(token).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok(status)
    }
}

pub(super) struct Application {
    id: String,
    secret: String,
}

impl Application {
    /// Whose tokens the gateways take.
    pub(super) async fn register(auth: &Channel) -> anyhow::Result<Self> {
        let message = CreateClientRequest {
            name: "bench".into(),
            audiences: vec!["latchkey".into()],
            scopes: Vec::new(),
        };
        let request = Call::new("bench", Duration::from_secs(10)).actor("bench").request(message);
        let made = ClientAdminServiceClient::new(auth.clone()).create_client(request).await?.into_inner();
        Ok(Self { id: made.client.context("no client")?.id, secret: made.client_secret })
    }

    pub(super) async fn token(&self, gateway: &Gateway) -> anyhow::Result<String> {
        let request = gateway.client.post(format!("{}/oauth2/token", gateway.url));
        let form = [("grant_type", "client_credentials")];
        let answer = request.basic_auth(&self.id, Some(&self.secret)).form(&form).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        Ok(answer.get("access_token").and_then(Value::as_str).context("no token")?.to_owned())
    }

    /// False: not confirmed yet.
    pub(super) async fn revoke(&self, gateway: &Gateway, token: &str) -> anyhow::Result<bool> {
        let request = gateway.client.post(format!("{}/oauth2/revoke", gateway.url));
        let answer =
            request.basic_auth(&self.id, Some(&self.secret)).form(&[("token", token)]).send().await?;
        let status = answer.status().as_u16();
        ensure!(matches!(status, 200 | 503), "a revocation was answered {status}: {}", answer.text().await?);
        Ok(status == 200)
    }
}
