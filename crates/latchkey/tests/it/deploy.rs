//! What `deploy/` says is what the programs do: every manifest is rendered by the real tool, and every container of ours is
//! started with exactly the arguments, environment and files that it would get.

mod compose;
mod container;
mod containers;
mod images;
mod kubernetes;
mod observability;
mod tools;
