//! Connections in use, and what becomes of those that somebody stopped waiting for.
//!
//! A pool that gets a connection back waits for the end of what was under way on it before it lends it again, and from a
//! server that is frozen or out of reach that end does not come. So what was used by work that came to no end is cut.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, PgConnection, PgPool, Postgres};

type Used = Arc<Mutex<Vec<Lease>>>;

/// What one try of some work does its work on.
#[derive(Debug, Clone)]
pub struct Attempt {
    pool: PgPool,
    used: Used,
}

impl Attempt {
    /// For single statements, each on its own.
    pub async fn connection(&self) -> Result<Connection, sqlx::Error> {
        let inner = self.pool.acquire().await?;
        Ok(Connection { inner: Some(inner), in_transaction: false, used: Arc::clone(&self.used) })
    }

    /// All of it or nothing. Each statement sees what was committed before it began, so that whoever decides on what it
    /// read locks that first.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("BEGIN").await
    }

    /// A read of several statements that all see one moment.
    pub async fn snapshot(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn begin_with(&self, statement: &'static str) -> Result<Transaction, sqlx::Error> {
        let mut connection = self.connection().await?;
        connection.in_transaction = true;
        connection.execute(statement).await?;
        Ok(Transaction(connection))
    }
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    inner: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
    used: Used,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let lease = Lease { inner: self.inner.take(), in_transaction: self.in_transaction };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    #[allow(clippy::expect_used, reason = "only dropping takes it out")]
    fn deref(&self) -> &PgConnection {
        self.inner.as_ref().expect("there until dropped")
    }
}

impl DerefMut for Connection {
    #[allow(clippy::expect_used, reason = "only dropping takes it out")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.inner.as_mut().expect("there until dropped")
    }
}

/// A transaction. Dropped without [`Transaction::commit`] it never was.
#[derive(Debug)]
pub struct Transaction(Connection);

impl Transaction {
    /// After an error it may have happened or not.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.0.execute("COMMIT").await?;
        self.0.in_transaction = false;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// The connections that a try has used.
#[derive(Debug, Default)]
pub(super) struct Lent(Used);

impl Lent {
    pub(super) fn attempt(&self, pool: &PgPool) -> Attempt {
        Attempt { pool: pool.clone(), used: Arc::clone(&self.0) }
    }

    /// The try is over, well or not: they are the pool's again, without what was not committed.
    pub(super) async fn give_back(self) {
        loop {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(lease) => lease.give_back().await,
                None => return,
            }
        }
    }
}

/// A connection that nobody uses any more. Dropped it is cut.
#[derive(Debug)]
struct Lease {
    inner: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl Lease {
    async fn give_back(mut self) {
        if self.in_transaction {
            let Some(connection) = &mut self.inner else { return };
            if connection.execute("ROLLBACK").await.is_err() {
                return;
            }
        }
        self.inner.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.inner.take() {
            drop(connection.detach());
        }
    }
}
