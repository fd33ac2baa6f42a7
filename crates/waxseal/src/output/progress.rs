//! A progress bar on a terminal, for scans longer than half a second; nothing otherwise.

use super::describe;
use crate::context::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use waxseal_engine::count::count_bytes;
use waxseal_engine::coverage::Coverage;
use waxseal_observe::Progress;

/// How long a scan may take unseen.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Runs a scan with a bar beside it. What a scan of all that `counted` covers will come to is counted meanwhile,
/// by a walk that reads nothing, so that the time left can be told.
pub fn with_bar<T>(
    context: &Context,
    label: &'static str,
    counted: Option<&Coverage>,
    progress: &Arc<Progress>,
    scan: impl FnOnce() -> T,
) -> T {
    if context.quiet || context.json || !std::io::stderr().is_terminal() {
        return scan();
    }
    let (over, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let counting = Progress::default();
    std::thread::scope(|scope| {
        let drawing = scope.spawn(|| draw(label, &total, progress, &over));
        if let Some(coverage) = counted {
            let (counting, total) = (&counting, &total);
            scope.spawn(move || total.store(count_bytes(coverage, counting).unwrap_or(0), Ordering::Relaxed));
        }
        let result = scan();
        over.store(true, Ordering::Relaxed);
        counting.stop.store(true, Ordering::Relaxed);
        drawing.thread().unpark();
        let _ = drawing.join();
        result
    })
}

fn draw(label: &str, total: &AtomicU64, progress: &Progress, over: &AtomicBool) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::park_timeout(PATIENCE.saturating_sub(start.elapsed()));
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_prefix(label.to_string());
    set_style(&bar, "{prefix} {spinner} {msg}");
    let mut known = false;
    while !over.load(Ordering::Relaxed) {
        let total = total.load(Ordering::Relaxed);
        if total > 0 && !known {
            known = true;
            bar.set_length(total);
            set_style(&bar, "{prefix} {bar:24} {msg}");
        }
        let files = progress.files.load(Ordering::Relaxed);
        let bytes = progress.bytes.load(Ordering::Relaxed);
        bar.set_position(bytes.min(total));
        bar.set_message(message(files, bytes, total, start.elapsed()));
        bar.tick();
        std::thread::park_timeout(REDRAW);
    }
    bar.finish_and_clear();
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Files, bytes, rate and time left.
fn message(files: u64, bytes: u64, total: u64, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let files = describe::counted(files, "file", "files");
    let mut text = format!("{files}, {}, {}/s", describe::bytes(bytes), describe::bytes(rate as u64));
    if total > bytes && rate > 1.0 {
        text.push_str(&format!(", {:.0} s left", (total - bytes) as f64 / rate));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_files_bytes_rate_and_time_left() {
        let text = message(1_234, 5_000_000, 25_000_000, Duration::from_secs(2));
        assert_eq!(text, "1,234 files, 5.0 MB, 2.5 MB/s, 8 s left");
        assert_eq!(message(1, 0, 0, Duration::ZERO), "1 file, 0 B, 0 B/s");
    }
}
