//! `latchkey-bench feed`: what the feed itself takes, with its log in memory. How many watchers there are decides how long an
//! ending waits, and how many endings live what a look at one costs. Disks and the rest of a system are in `latchkey-bench revoke`.

mod memory;
mod watchers;
mod wire;

use clap::Args;
use serde::Serialize;
use serde_json::json;

/// A look at a million endings, by what a token's digest and one look into a map take.
const LOOK_GATE: f64 = 3.0;
/// For each ending that is remembered.
const BYTES_GATE: f64 = 64.0;

#[derive(Args)]
pub struct Options {
    /// Watchers, for each row
    #[arg(long, num_args = 1.., default_values_t = [3, 30, 300])]
    watchers: Vec<usize>,
    /// Endings a row, one after another
    #[arg(long, default_value_t = 500)]
    endings: usize,
    /// Endings that live while looks are timed
    #[arg(long, default_value_t = 1_000_000)]
    live: usize,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Fail below a gate
    #[arg(long)]
    gate: bool,
}

/// From an ending's request to its acknowledgement everywhere, in milliseconds.
#[derive(Serialize)]
struct Row {
    watchers: usize,
    /// One more watcher, which is asleep for most of the time.
    with_a_slow_one: bool,
    p50: f64,
    p99: f64,
    slowest: f64,
    /// How many took a tenth of a second, or longer.
    slow: usize,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for count in &options.watchers {
        rows.push(runtime.block_on(watchers::measure(*count, false, options.endings))?);
    }
    if let Some(fewest) = options.watchers.iter().min() {
        rows.push(runtime.block_on(watchers::measure(*fewest, true, options.endings))?);
    }
    let looks = memory::measure(options.live)?;
    let bytes = wire::measure();
    if options.json {
        println!("{}", json!({ "acknowledged": rows, "memory": looks, "wire": bytes }));
    } else {
        println!(
            "| watchers | acknowledged p50 ms | p99 ms | slowest ms | ≥ 100 ms |\n|---|---|---|---|---|"
        );
        for row in &rows {
            let slow = if row.with_a_slow_one { " and a slow one" } else { "" };
            println!(
                "| {}{slow} | {:.2} | {:.2} | {:.0} | {} of {} |",
                row.watchers, row.p50, row.p99, row.slowest, row.slow, options.endings
            );
        }
        println!(
            "\n{} endings live: {:.0} bytes each; a look {:.0} ns, of a token that ended {:.0} ns; a digest and a look into a \
             map of as many {:.0} ns: {:.2} ×",
            options.live,
            looks.bytes_each,
            looks.live_ns,
            looks.ended_ns,
            looks.floor_ns,
            looks.ratio()
        );
        println!(
            "on each watcher's stream: {} bytes an ending, {} each further one in the same message; {} bytes a renewal",
            bytes.ending, bytes.further, bytes.renewal
        );
    }
    let (ratio, bytes) = (looks.ratio(), looks.bytes_each);
    anyhow::ensure!(!options.gate || ratio <= LOOK_GATE, "a look takes {ratio:.2} ×: over {LOOK_GATE}");
    anyhow::ensure!(!options.gate || bytes <= BYTES_GATE, "{bytes:.0} bytes an ending: over {BYTES_GATE}");
    Ok(())
}
