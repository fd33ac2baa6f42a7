//! What leaves the machine, from the record only.
//!
//! In: what is on record. Out: copies of it elsewhere, and whether they arrived.

mod http;
pub mod publish;
mod witness;

pub use witness::Witness;
