//! docs/threat-model.md names a test for each mitigation. A page that names a test which is not there is worse than no page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names in backticks in the column headed `test`, of every table that has one.
fn promised(page: &str) -> BTreeSet<String> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut names = BTreeSet::new();
    let mut column = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells = cells(line);
        match column {
            None => column = Some(cells.iter().position(|cell| cell == "test")),
            Some(Some(column)) if !cells[column].starts_with('-') => {
                names.extend(cells[column].split('`').skip(1).step_by(2).map(str::to_owned));
            }
            Some(_) => {}
        }
    }
    names
}

/// Names of the test functions in a file.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().map(str::trim);
    let mut is_test = false;
    lines.filter_map(move |line| {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
            return None;
        }
        if !is_test || line.starts_with("#[") || line.starts_with("//") {
            return None;
        }
        is_test = false;
        let name = line.trim_start_matches("async ").strip_prefix("fn ")?;
        name.split('(').next()
    })
}

fn sources(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(tests(&fs::read_to_string(&path).unwrap()).map(str::to_owned));
        }
    }
}

/// `j01` is held by `j01` and by `j01_…`, and not by `j011`.
fn holds(test: &str, promise: &str) -> bool {
    test.strip_prefix(promise).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[test]
fn every_mitigation_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../../docs/threat-model.md")).unwrap();
    let promised = promised(&page);
    assert!(promised.len() > 30 && promised.contains("j01"), "the tables are read: {promised:?}");
    let mut tests = BTreeSet::new();
    sources(&root.join("tests/it"), &mut tests);
    let missing: Vec<&String> =
        promised.iter().filter(|promise| !tests.iter().any(|test| holds(test, promise))).collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "named on the page, and nowhere under crates/latchkey/tests/it"
    );
}

#[test]
fn a_promise_that_nobody_keeps_is_found() {
    let page =
        "| threat | test |\n|---|---|\n| one | `a01`, `b` |\n\n`c`\n| line | why |\n|---|---|\n| x | `d` |\n";
    assert_eq!(promised(page), BTreeSet::from(["a01".to_owned(), "b".to_owned()]));
    let source =
        "#[test]\nfn a01_x() {}\nfn b() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn c() {}\n";
    assert_eq!(tests(source).collect::<Vec<_>>(), ["a01_x", "c"]);
    assert!(holds("a01_x", "a01") && holds("c", "c") && !holds("a01_x", "a0"));
}
