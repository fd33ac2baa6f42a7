//! The clock on the wall.

#[cfg(target_os = "linux")]
mod set;

#[cfg(target_os = "linux")]
pub(crate) use set::ClockWatch;

use std::time::{SystemTime, UNIX_EPOCH};
use waxseal_model::Timestamp;

/// What it says now. A clock that is set before 1970 says 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}
