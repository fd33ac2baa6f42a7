//! A progress bar on a terminal, for scans longer than half a second; nothing otherwise.

use super::describe;
use crate::context::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use waxseal_observe::Progress;

/// How long a scan may take unseen.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// What a scan will come to, as far as the last one tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// Bytes.
    pub bytes: u64,
}

/// Runs a scan with a bar beside it.
pub fn with_bar<T>(
    context: &Context,
    label: &'static str,
    expected: Expected,
    progress: &Arc<Progress>,
    scan: impl FnOnce() -> T,
) -> T {
    if context.quiet || context.json || !std::io::stderr().is_terminal() {
        return scan();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drawing = scope.spawn(|| draw(label, expected, progress, &over));
        let result = scan();
        over.store(true, Ordering::Relaxed);
        drawing.thread().unpark();
        let _ = drawing.join();
        result
    })
}

fn draw(label: &str, expected: Expected, progress: &Progress, over: &AtomicBool) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::park_timeout(PATIENCE.saturating_sub(start.elapsed()));
    }
    let bar = ProgressBar::with_draw_target(
        (expected.bytes > 0).then_some(expected.bytes),
        ProgressDrawTarget::stderr(),
    );
    let template = if expected.bytes > 0 { "{prefix} {bar:24} {msg}" } else { "{prefix} {spinner} {msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label.to_string());
    while !over.load(Ordering::Relaxed) {
        let files = progress.files.load(Ordering::Relaxed);
        let bytes = progress.bytes.load(Ordering::Relaxed);
        bar.set_position(bytes.min(expected.bytes.max(1)));
        bar.set_message(message(files, bytes, expected, start.elapsed()));
        bar.tick();
        std::thread::park_timeout(REDRAW);
    }
    bar.finish_and_clear();
}

fn message(files: u64, bytes: u64, expected: Expected, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = describe::counted(files, "file", "files");
    text.push_str(&format!(", {}, {}/s", describe::bytes(bytes), describe::bytes(rate as u64)));
    if expected.bytes > bytes && rate > 1.0 {
        let left = (expected.bytes - bytes) as f64 / rate;
        text.push_str(&format!(", {left:.0} s left"));
    }
    text
}
