//! The pipeline: from observations to recorded changes.
//!
//! In: the config (`policy`), the disk (`observe`), the baseline (`store`). Out: sealed baselines and recorded
//! changes. Each step is a module of its own name: [`coverage`] says what is looked at, [`seal`] takes a
//! baseline, [`check`] and [`tree`] hold the disk against it, [`compare`] finds the differences, [`decide`] and [`approve`] make the next
//! baseline of them, [`evidence`] keeps contents; [`difference`] holds one baseline against another.

pub mod approve;
pub mod check;
pub mod compare;
pub mod count;
pub mod coverage;
pub mod decide;
pub mod difference;
pub mod error;
pub mod evidence;
mod graft;
mod known;
pub mod monitor;
mod plan;
pub mod restore;
pub mod retention;
mod rotation;
mod rules;
pub mod seal;
pub mod single;
pub mod tree;
pub mod trust;
pub mod written;

pub use decide::Refused;
pub use error::EngineError;
