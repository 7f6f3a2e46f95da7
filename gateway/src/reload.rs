//! The route file while the process runs: looked at twice a second, and put in force as a whole or not at all.
//!
//! It is polled by what `stat` says of its path, not watched: that follows the exchange of a symbolic link
//! (ConfigMaps) and of the file itself (editors), on every file system. What has changed is read once it has stayed the
//! same from one look to the next, so that nobody reads half of what is being written. SIGHUP has it read at once,
//! changed or not: who sends it has finished writing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chassis::lifecycle::{Lifecycle, Readiness};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::routing::{OwnPaths, RouteFileError, Routes, load};
use crate::upstreams::Fleet;

const LOOK: Duration = Duration::from_millis(500);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// What nobody can take back: that a change kept the size and the time, or that a file may be read now, shows only here.
    changed: (i64, i64),
}

impl Mark {
    /// None: there is no file to be seen.
    fn of(path: &Path) -> Option<Mark> {
        let found = std::fs::metadata(path).ok()?;
        Some(Mark {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// What has become of the route file since the start.
#[derive(Debug)]
struct Outcomes {
    current: AtomicBool,
    loaded: AtomicU64,
    refused: AtomicU64,
}

/// A route file that is kept in force.
pub(crate) struct RouteFile {
    path: PathBuf,
    own_prefix: String,
    /// Of what was read last.
    mark: Option<Mark>,
    /// Of the last look.
    seen: Option<Mark>,
    /// Why nothing could be read, when it was tried last.
    unread: Option<String>,
    condition: Readiness,
    /// SIGHUP.
    reloads: watch::Receiver<()>,
    outcomes: Arc<Outcomes>,
}

impl RouteFile {
    /// Reads the file for the start.
    pub(crate) fn open(
        path: &Path,
        own_prefix: &str,
        lifecycle: &Lifecycle,
    ) -> Result<(Self, Routes), RouteFileError> {
        let reloads = lifecycle.reloads();
        let mark = Mark::of(path);
        let routes = load(path, OwnPaths::new(own_prefix))?;
        let condition = lifecycle.dependency("route file");
        condition.ready();
        let outcomes = Arc::new(Outcomes {
            current: AtomicBool::new(true),
            loaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        outcomes.show(&lifecycle.metrics().meter());
        let (path, own_prefix) = (path.to_owned(), own_prefix.to_owned());
        let (seen, unread) = (mark, None);
        Ok((Self { path, own_prefix, mark, seen, unread, condition, reloads, outcomes }, routes))
    }

    /// Follows the file for ever. What is good is put in force.
    pub(crate) async fn follow(mut self, fleet: Fleet) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = looks.tick() => false,
                Ok(()) = self.reloads.changed() => true,
            };
            if let Some(routes) = self.look(asked, Mark::of(&self.path)) {
                fleet.put_in_force(routes).await;
                self.outcomes.loaded.fetch_add(1, Ordering::Relaxed);
                self.outcomes.current.store(true, Ordering::Relaxed);
                self.condition.ready();
            }
        }
    }

    /// Reads the file if there is a reason to: it was asked for, or `seen` shows a change that has settled, or it could not
    /// be read before. What is in the way of reading (a file system that is away) may go without a trace at the file.
    fn look(&mut self, asked: bool, seen: Option<Mark>) -> Option<Routes> {
        let settled = seen == self.seen;
        self.seen = seen;
        let is_new = asked || seen != self.mark;
        if asked || (settled && (is_new || self.unread.is_some())) {
            self.mark = seen;
            return self.read(is_new);
        }
        None
    }

    /// That nothing can be read still, and for the reason that was told, is not told twice a second: only if it `is_new`.
    fn read(&mut self, is_new: bool) -> Option<Routes> {
        let before = self.unread.take();
        match load(&self.path, OwnPaths::new(&self.own_prefix)) {
            Ok(routes) => {
                tracing::info!(
                    routes = routes.len(),
                    upstreams = routes.upstreams().len(),
                    "route file loaded"
                );
                Some(routes)
            }
            Err(refused) => {
                let problems = refused.to_string();
                if matches!(refused, RouteFileError::Unreadable { .. }) {
                    self.unread = Some(problems.clone());
                    if !is_new && self.unread == before {
                        return None;
                    }
                }
                tracing::error!(problems, "route file refused: the routes stay as they were");
                self.outcomes.refused.fetch_add(1, Ordering::Relaxed);
                self.outcomes.current.store(false, Ordering::Relaxed);
                let problems = problems.replace('\n', "; ");
                self.condition.not_ready(format!("refused, the routes stay as they were: {problems}"));
                None
            }
        }
    }
}

impl Outcomes {
    fn show(self: &Arc<Self>, meter: &Meter) {
        let own = Arc::clone(self);
        meter
            .u64_observable_gauge("latchkey_gateway_routes_current")
            .with_description("1 when the routes in force are those of the route file.")
            .with_callback(move |gauge| gauge.observe(own.current.load(Ordering::Relaxed).into(), &[]))
            .build();
        let own = Arc::clone(self);
        meter
            .u64_observable_counter("latchkey_gateway_routes_reloads")
            .with_description(
                "Readings of the route file since the start, because it changed or by SIGHUP, by outcome.",
            )
            .with_callback(move |counter| {
                for (outcome, count) in [("loaded", &own.loaded), ("refused", &own.refused)] {
                    counter.observe(count.load(Ordering::Relaxed), &[KeyValue::new("outcome", outcome)]);
                }
            })
            .build();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chassis::config::Shutdown;

    use super::*;

    #[test]
    fn what_could_not_be_read_is_read_again_at_each_look_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.toml");
        std::fs::write(&path, "").unwrap();
        let lifecycle = Lifecycle::new(Shutdown { settle: Duration::ZERO, drain: Duration::ZERO });
        let (mut file, _) = RouteFile::open(&path, "", &lifecycle).unwrap();
        let refused = |file: &RouteFile| file.outcomes.refused.load(Ordering::Relaxed);

        std::fs::write(&path, "# changed\n").unwrap();
        let seen = Mark::of(&path);
        // What follows is what reading finds; `seen` never shows any of it.
        std::fs::remove_file(&path).unwrap();
        assert!(file.look(false, seen).is_none());
        assert_eq!(refused(&file), 0, "it has not settled");
        for _ in 0..3 {
            assert!(file.look(false, seen).is_none());
        }
        assert_eq!(refused(&file), 1);
        // Another reason is told.
        std::fs::create_dir(&path).unwrap();
        assert!(file.look(false, seen).is_none() && file.look(false, seen).is_none());
        assert_eq!(refused(&file), 2);

        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "# changed\n").unwrap();
        assert!(file.look(false, seen).is_some());
        assert!(file.look(false, seen).is_none(), "it is read, and has not changed");
    }

    #[test]
    fn every_way_to_change_a_file_leaves_another_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("routes.toml"), folder.path().join("other"));
        assert_eq!(Mark::of(&path), None);
        std::fs::write(&path, "a").unwrap();
        let mut marks = vec![Mark::of(&path)];
        std::fs::write(&path, "ab").unwrap();
        marks.push(Mark::of(&path));
        // As an editor does it.
        std::fs::write(&other, "cd").unwrap();
        std::fs::rename(&other, &path).unwrap();
        marks.push(Mark::of(&path));
        // The kernel's own clock of files goes in steps of a few milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        // As many bytes in place, and the time taken back.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "dc").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        marks.push(Mark::of(&path));
        std::thread::sleep(Duration::from_millis(20));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        marks.push(Mark::of(&path));
        // As a ConfigMap does it: a link to a folder is exchanged.
        for version in ["one", "two"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            std::fs::write(folder.path().join(version).join("routes.toml"), "ef").unwrap();
            std::os::unix::fs::symlink(version, &other).unwrap();
            std::fs::rename(&other, folder.path().join("data")).unwrap();
            marks.push(Mark::of(&folder.path().join("data/routes.toml")));
        }
        for (index, mark) in marks.iter().enumerate() {
            assert!(mark.is_some());
            assert!(!marks[..index].contains(mark), "{index}: {marks:?}");
        }
    }
}
