//! Migrations are compiled in: a new one must be noticed without a source file being touched.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
