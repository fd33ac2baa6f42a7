//! What can stop the pipeline.

use waxseal_store::StoreError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scan was ended from outside.
    #[error("interrupted: nothing was sealed or recorded")]
    Stopped,
    /// Nothing was sealed.
    #[error(transparent)]
    Sign(#[from] waxseal_ledger::SignError),
    /// Paths that no watch covers.
    #[error("{0}")]
    NotCovered(String),
    /// The kernel's events could not be had.
    #[error("the file system could not be watched: {0}")]
    Watch(String),
}
