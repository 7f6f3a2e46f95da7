//! Afterwards somebody asks who did what. For everything that matters there is a line, exactly one for each thing that
//! happened, and its request id is the one that the caller was given.

mod administration;
mod everyday;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::stack::Stack;

const OTHER_PASSWORD: &str = "granite lemon window cello";

/// What was done, and the lines that must be there for it.
struct Ledger {
    stack: Stack,
    /// Requests that left a line before the first entry.
    before: BTreeSet<String>,
    entries: Vec<Entry>,
}

struct Entry {
    what: String,
    request_id: String,
    /// `process event outcome`, sorted.
    lines: Vec<String>,
}

impl Ledger {
    fn open(stack: Stack) -> Self {
        let before = lines(&stack).iter().map(request_id).collect();
        Self { stack, before, entries: Vec::new() }
    }

    /// Sends a request, which must be answered with `status` and leave `lines`.
    async fn enter(&mut self, what: &str, request: RequestBuilder, status: u16, lines: &[&str]) -> Response {
        let answer = request.send().await.unwrap();
        let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        if answer.status() != status {
            panic!("{what}: {} {}", answer.status(), answer.text().await.unwrap());
        }
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines.sort();
        self.entries.push(Entry { what: what.to_owned(), request_id, lines });
        answer
    }

    /// Every entry has its lines, and there is no other line. All lines, by request id.
    async fn close(mut self) -> BTreeMap<String, Vec<Value>> {
        assert!(self.stack.stop().await.success());
        let mut by_request: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in lines(&self.stack) {
            by_request.entry(request_id(&line)).or_default().push(line);
        }
        by_request.retain(|id, _| !self.before.contains(id));
        for Entry { what, request_id, lines } in &self.entries {
            let found = by_request.get(request_id).map(Vec::as_slice).unwrap_or_default();
            let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let mut said: Vec<String> = found
                .iter()
                .map(|line| ["service", "event", "outcome"].map(|name| text(line, name)).join(" "))
                .collect();
            said.sort();
            assert_eq!(&said, lines, "{what}: {found:?}");
        }
        let known = |id: &String| self.entries.iter().any(|entry| entry.request_id == *id);
        let strays: Vec<_> = by_request.iter().filter(|(id, _)| !known(id)).collect();
        assert!(strays.is_empty(), "nobody did this: {strays:?}");
        by_request
    }
}

/// All audit lines of all processes.
fn lines(stack: &Stack) -> Vec<Value> {
    let logs = stack.logs();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").collect()
}

fn request_id(line: &Value) -> String {
    line["request_id"].as_str().unwrap_or_else(|| panic!("a line without a request: {line}")).to_owned()
}
