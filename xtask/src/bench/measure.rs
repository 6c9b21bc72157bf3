//! One command, measured by what the kernel says of it when it is gone.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use wait4::Wait4 as _;

use crate::steps::show;

/// What a command and all that it waited for cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    /// User and system.
    pub(crate) cpu: Duration,
    /// The largest resident set of one process. A child has at least what this program had when it was started, since
    /// Linux counts the memory that they share until `execve`; so this program stays small while it measures.
    pub(crate) peak_bytes: u64,
    pub(crate) status: ExitStatus,
}

/// Runs it to its end: stdin from a file or empty, stdout to one file and stderr to another.
pub(crate) fn run(command: &mut Command, stdin: Option<&Path>, out: &Path) -> Result<Run> {
    let create =
        |path: &Path| File::create(path).with_context(|| format!("could not write {}", path.display()));
    let stdin = match stdin {
        Some(path) => {
            Stdio::from(File::open(path).with_context(|| format!("could not read {}", path.display()))?)
        }
        None => Stdio::null(),
    };
    command.stdin(stdin).stdout(create(out)?).stderr(create(&out.with_extension("err"))?);
    let began = Instant::now();
    let used = command.spawn().and_then(|mut child| child.wait4());
    let used = used.with_context(|| format!("could not run {}", show(command)))?;
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Run { wall: began.elapsed(), cpu, peak_bytes: used.rusage.maxrss, status: used.status })
}

/// The middle one, and the least and the most. `None` if there are none.
pub(crate) fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let median =
        if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
    Some([median, first, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_measured_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let script = "awk 'BEGIN { while (i < 3000000) i++; while (j < 100000) a[j++] = j; print i }'; sleep 0.2; exit 3";
        let run = run(Command::new("sh").args(["-c", script]), None, &dir.path().join("out")).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "3000000\n");
        assert_eq!(run.status.code(), Some(3));
        assert!(run.wall >= Duration::from_millis(200) && run.cpu > Duration::from_millis(20), "{run:?}");
        assert!(run.wall > run.cpu / 2 && run.peak_bytes > 4 << 20, "{run:?}");
    }

    #[test]
    fn the_middle_one_counts() {
        assert_eq!(spread(vec![3.0, 1.0, 9.0]), Some([3.0, 1.0, 9.0]));
        assert_eq!(spread(vec![3.0, 1.0]), Some([2.0, 1.0, 3.0]));
        assert_eq!(spread(vec![]), None);
    }
}
