//! A bar that shows how far a long reading is: on a terminal only, and only when it takes long.

use std::io::IsTerminal as _;
use std::sync::mpsc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use toban_collect::history::Progress;

/// Shorter readings show nothing.
const PATIENCE: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// Does some work that tells its progress, and shows it meanwhile.
pub(crate) fn during<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (done, over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || show(progress, &over));
        let result = work();
        drop(done);
        result
    })
}

fn show(progress: &Progress, over: &mpsc::Receiver<()>) {
    let waiting = |time| matches!(over.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout));
    if !waiting(PATIENCE) {
        return;
    }
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(progress.all()).with_style(style);
    while waiting(EVERY) {
        bar.set_length(progress.all());
        bar.set_position(progress.done());
    }
    bar.finish_and_clear();
}
