//! How connections are made, and what each is told.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tracing::log::LevelFilter;

use super::Settings;

/// One that was idle for longer is asked whether it is alive before it is used. In constant use nothing is asked twice.
const FRESH: Duration = Duration::from_secs(1);
/// How long one may be used. A server that was deposed may go on answering who still has a connection to it, and what it answers is
/// refused where it is older than what is known: nobody stays with it for longer than this.
const LIFETIME: Duration = Duration::from_secs(60);

/// What every connection is told once: for how long the server waits for its own statement, for a transaction's next one, and for a
/// peer that is gone without a word. A server, role or database that commits without waiting for its disk is not
/// believed: an answer is durable. Settings that wait for more than that (`remote_apply`) stay.
const SESSION: &str = "SELECT set_config('search_path', $1, false), \
     set_config('statement_timeout', $2, false), \
     set_config('idle_in_transaction_session_timeout', $3, false), \
     set_config('tcp_user_timeout', $3, false), \
     set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
         WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

/// Where to, without having been there: the server need not be up.
pub(super) fn pool(settings: &Settings, server: PgConnectOptions) -> PgPool {
    let session = Session::of(settings);
    PgPoolOptions::new()
        .max_connections(settings.connections)
        .min_connections(0)
        .acquire_timeout(settings.timeout / 2)
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move { session.begin(connection).await })
        })
        .connect_lazy_with(quiet(server))
}

/// Not even at `debug`: a line a statement tells nobody anything.
pub(super) fn quiet(server: PgConnectOptions) -> PgConnectOptions {
    server.log_statements(LevelFilter::Trace)
}

#[derive(Clone)]
struct Session {
    search_path: String,
    statement_ms: String,
    idle_ms: String,
}

impl Session {
    fn of(settings: &Settings) -> Session {
        let statement = settings.timeout.as_millis();
        Session {
            search_path: settings.schema.clone(),
            // What nobody waits for any more ends by itself, and lets its locks go.
            statement_ms: statement.to_string(),
            idle_ms: (statement * 4).to_string(),
        }
    }

    async fn begin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(SESSION)
            .bind(&self.search_path)
            .bind(&self.statement_ms)
            .bind(&self.idle_ms)
            .execute(connection)
            .await?;
        Ok(())
    }
}
