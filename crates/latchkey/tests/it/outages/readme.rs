//! The README's table of what is answered while something is away. Each test that holds one of its rows begins with what the
//! row says, word for word, so that neither can change without the other; a row that no test holds fails here. The seconds in
//! it are leases of 5 s, and no test measures them.

use std::fs;
use std::path::Path;

const HEAD: &str =
    "| away | token route | token route with `stale_for` | ending something | log in, refresh |";

pub const ONE_AUTH_SERVICE: &str = "one auth-service of several";
pub const NO_AUTH_SERVICE: &str = "all of auth-service, or its database";
pub const CUT_OFF: &str = "one gateway cut off from auth-service";
pub const NO_POLICY_SERVICE: &str = "policy-service, or its database; route that needs roles or tells them";
pub const NO_GATEWAY: &str = "one gateway standing still, or killed";
const HELD: [&str; 5] = [ONE_AUTH_SERVICE, NO_AUTH_SERVICE, CUT_OFF, NO_POLICY_SERVICE, NO_GATEWAY];

/// Each row: what is away, and the cells behind it.
fn rows() -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once(HEAD).expect("the table is on the page");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The page says this of what is away, in these cells, from left to right.
pub fn says(away: &str, cells: [&str; 4]) {
    let rows = rows();
    let row = rows.iter().find(|row| row[0] == away).unwrap_or_else(|| panic!("no row says {away:?}"));
    assert_eq!(row[1..], cells, "README.md, {away}");
}

#[test]
fn each_row_of_the_readme_is_held_by_a_test() {
    let rows = rows();
    let away: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(away, HELD, "README.md: which test holds it?");
}
