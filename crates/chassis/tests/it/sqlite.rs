//! What a database file can be, and that each wrong kind is told in one clear line and left as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use latchkey_chassis::sqlite::{Database, OpenError, Settings};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

/// Patient: a loaded test machine is not what is tested.
const WAIT: Duration = Duration::from_secs(30);
const VERSION: i64 = 20_261_123_000_000;

struct Place {
    folder: TempDir,
    settings: Settings,
    migrations: Migrator,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = at(folder.path().join("rows.sqlite"));
        Self { folder, settings, migrations: migrations(VERSION).await }
    }

    async fn open(&self) -> Result<Database, OpenError> {
        Database::open(&self.settings, &self.migrations).await
    }

    /// A file with rows, and nobody at it.
    async fn filled(&self) {
        let database = self.open().await.unwrap();
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                    INSERT INTO things (name) SELECT 'thing ' || i FROM n";
        database.writer().execute(rows).await.unwrap();
        database.close().await;
    }

    /// The one line that an operator sees.
    async fn refused(&self) -> OpenError {
        let error = self.open().await.unwrap_err();
        let line = error.to_string();
        assert!(!line.contains('\n') && line.contains(self.path().to_str().unwrap()), "{line}");
        error
    }

    fn path(&self) -> &Path {
        &self.settings.path
    }

    async fn by_hand(&self, sql: &'static str) {
        let mut connection = raw(self.path()).await;
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn at(path: PathBuf) -> Settings {
    Settings { path, readers: 2, read_wait: WAIT, write_wait: WAIT }
}

async fn migrations(version: i64) -> Migrator {
    let folder = TempDir::new().unwrap();
    let sql = "CREATE TABLE things (name TEXT NOT NULL UNIQUE) STRICT;";
    fs::write(folder.path().join(format!("{version}_things.sql")), sql).unwrap();
    Migrator::new(folder.path()).await.unwrap()
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn count(database: &Database) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM things").fetch_one(database.readers()).await.unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_however_the_process_ended() {
    let place = Place::new().await;
    place.filled().await;
    let database = place.open().await.unwrap();
    assert_eq!(count(&database).await, 2_000);
    database.writer().execute("INSERT INTO things (name) VALUES ('last')").await.unwrap();
    // Not closed: the copy is what a crash leaves behind.
    let copy = TempDir::new().unwrap();
    for name in ["rows.sqlite", "rows.sqlite-wal"] {
        fs::copy(place.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let copy = Database::open(&at(copy.path().join("rows.sqlite")), &place.migrations).await.unwrap();
    assert_eq!(count(&copy).await, 2_001);
    for pragma in ["journal_mode = wal", "synchronous = 2", "foreign_keys = 1", "secure_delete = 1"] {
        let (name, value) = pragma.split_once(" = ").unwrap();
        let name = sqlx::AssertSqlSafe(format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"));
        let found: String = sqlx::query_scalar(name).fetch_one(database.writer()).await.unwrap();
        assert_eq!(found, value, "{pragma}");
    }
}

#[tokio::test]
async fn nobody_else_reads_its_files() {
    let place = Place::new().await;
    let database = place.open().await.unwrap();
    database.writer().execute("INSERT INTO things (name) VALUES ('x')").await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(place.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["rows.sqlite", "rows.sqlite-shm", "rows.sqlite-wal"]);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let database = Place::new().await.open().await.unwrap();
    let error = database.readers().execute("INSERT INTO things (name) VALUES ('x')").await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn a_read_is_one_snapshot() {
    let place = Place::new().await;
    let database = place.open().await.unwrap();
    let all = "SELECT count(*) FROM things";
    let mut snapshot = database.read().await.unwrap();
    let before: i64 = sqlx::query_scalar(all).fetch_one(&mut *snapshot).await.unwrap();
    let mut write = database.write().await.unwrap();
    write.execute("INSERT INTO things (name) VALUES ('x')").await.unwrap();
    write.commit().await.unwrap();
    let after: i64 = sqlx::query_scalar(all).fetch_one(&mut *snapshot).await.unwrap();
    assert_eq!((before, after), (0, 0));
    drop(snapshot);
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn several_that_start_on_one_file_make_it_once() {
    // Several files: who is first, and how far it is when the others come, differs.
    for _ in 0..20 {
        let place = Place::new().await;
        for database in join_all((0..4).map(|_| place.open())).await {
            assert_eq!(count(&database.unwrap()).await, 0);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let place = Place::new().await;
    let text = "not a database, but somebody's work\n".repeat(200);
    fs::write(place.path(), &text).unwrap();
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
}

#[tokio::test]
async fn damage_within_the_file_is_found_at_start() {
    let place = Place::new().await;
    place.filled().await;
    let mut bytes = fs::read(place.path()).unwrap();
    let (begin, length) = (bytes.len() / 2, bytes.len());
    bytes[begin..length - 64].fill(0xa5);
    fs::write(place.path(), bytes).unwrap();
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told() {
    let mut place = Place::new().await;
    fs::write(place.folder.path().join("file"), "").unwrap();
    for elsewhere in ["missing/rows.sqlite", "file/rows.sqlite", "."] {
        place.settings.path = place.folder.path().join(elsewhere);
        let error = place.refused().await;
        assert!(matches!(error, OpenError::NotWritable { .. }), "{elsewhere}: {error:?}");
    }
}

#[tokio::test]
async fn a_schema_from_the_future_is_refused_and_left_alone() {
    let place = Place::new().await;
    place.filled().await;
    place
        .by_hand(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (29991231000000, 'later', 1, x'00', 0)",
        )
        .await;
    let before = fs::read(place.path()).unwrap();
    let error = place.refused().await;
    assert!(
        matches!(error, OpenError::FromTheFuture { found: 29_991_231_000_000, known: VERSION, .. }),
        "{error:?}"
    );
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn somebody_elses_database_is_left_as_it_is() {
    let place = Place::new().await;
    place.by_hand("CREATE TABLE theirs (x)").await;
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema")
        .fetch_all(&mut raw(place.path()).await)
        .await
        .unwrap();
    assert_eq!(tables, ["theirs"]);

    // Another service's, whose schema is older than ours.
    let mut place = Place::new().await;
    place.filled().await;
    place.migrations = migrations(VERSION + 1).await;
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn a_migration_that_was_changed_is_told() {
    let place = Place::new().await;
    place.filled().await;
    place.by_hand("UPDATE _sqlx_migrations SET checksum = x'00'").await;
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Altered { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_somebody_else_keeps_locked_is_told() {
    let mut place = Place::new().await;
    place.filled().await;
    let mut other = raw(place.path()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    place.settings.write_wait = Duration::from_millis(50);
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    place.settings.write_wait = WAIT;
    place.open().await.unwrap();
}
