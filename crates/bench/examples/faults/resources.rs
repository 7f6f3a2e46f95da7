//! What processes hold, read from `/proc`: memory and open files.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::stack::StackFile;

/// Seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(500);

/// The most that any one process was seen to hold, in any look.
#[derive(Default)]
pub struct Most {
    rss_mb: AtomicU64,
    files: AtomicU64,
}

impl Most {
    /// Looks at whoever runs by this file of `up`, until dropped. It is read anew each time: who was replaced has another number.
    pub async fn watch(self: Arc<Self>, stack_file: PathBuf) {
        loop {
            if let Ok(text) = fs::read(&stack_file)
                && let Ok(stack) = serde_json::from_slice::<StackFile>(&text)
            {
                stack.pids.values().for_each(|pid| self.look(*pid));
            }
            sleep(EVERY).await;
        }
    }

    /// One that has just ended holds nothing.
    fn look(&self, pid: i32) {
        self.rss_mb.fetch_max(resident_mb(pid).unwrap_or(0), Ordering::Relaxed);
        let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.files.fetch_max(files as u64, Ordering::Relaxed);
    }

    pub fn rss_mb(&self) -> u64 {
        self.rss_mb.load(Ordering::Relaxed)
    }

    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }
}

/// Without the program's own file, which is large in a debug build and everybody's.
pub fn resident_mb(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Open files of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    pub to_database: u64,
    pub others: u64,
}

/// `database`: the port of its server.
pub fn open_files(pid: i32, database: Option<u16>) -> Option<Files> {
    let connections = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    // Its fields: number, local address, remote address, state, …; the tenth is the socket's number.
    let to_database: BTreeSet<String> = connections
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = u16::from_str_radix(fields.get(2)?.rsplit(':').next()?, 16).ok()?;
            (Some(port) == database).then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    let mut files = Files::default();
    for file in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let target = fs::read_link(file.path()).unwrap_or_default();
        if to_database.contains(&*target.to_string_lossy()) {
            files.to_database += 1;
        } else {
            files.others += 1;
        }
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_that_of_the_look_that_saw_most() {
        let (most, own) = (Most::default(), i32::try_from(std::process::id()).unwrap());
        most.look(own);
        let before = most.files();
        assert!(before > 0);
        let (files, memory): (Vec<_>, _) =
            ((0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect(), vec![1_u8; 64 << 20]);
        most.look(own);
        let (held, rss_mb) = (most.files(), most.rss_mb());
        assert!(held >= before + 90 && rss_mb >= 60, "{before}, {held}, {rss_mb}");
        drop((files, memory));
        most.look(own);
        // Nobody's.
        most.look(i32::MAX);
        assert_eq!((most.files(), most.rss_mb()), (held, rss_mb));
    }
}
