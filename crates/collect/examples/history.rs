//! How fast the past of a log is read: `history LOG [WORKERS] [BUDGET_MB]` counts its lines and prints MB/s.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use toban_collect::{Root, history};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let log = arguments.next().ok_or("history LOG [WORKERS] [BUDGET_MB]")?;
    let mut lines = vec![0; arguments.next().map_or(Ok(1), |count| count.parse())?];
    let budget_bytes =
        arguments.next().map(|megabytes| megabytes.parse::<u64>()).transpose()?.map(|mb| mb * 1_000_000);
    let begun = Instant::now();
    let wanted = history::Wanted { budget_bytes, ..history::Wanted::default() };
    let path = std::path::absolute(Path::new(&log))?;
    let report = history::read(&Root::host(), &path, &wanted, &mut lines, |lines, chunk| {
        *lines += memchr::memchr_iter(b'\n', chunk.bytes).count();
        ControlFlow::Continue(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    for file in &report.files {
        let problem = file.problem.as_deref().unwrap_or_default();
        println!("{:>12} bytes  {:?}  {}  {problem}", file.bytes, file.part, file.path.display());
    }
    let rate = report.bytes as f64 / seconds / 1e6;
    println!(
        "{} lines in {seconds:.3} s with {} workers: {rate:.0} MB/s",
        lines.iter().sum::<usize>(),
        lines.len()
    );
    Ok(())
}
