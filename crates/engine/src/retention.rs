//! The rules of retention, as the config has them.

use waxseal_policy::Config;
use waxseal_store::Retention;

/// What is kept of details.
pub fn retention(config: &Config) -> Retention {
    Retention { age: config.ledger.detail_age, size: config.ledger.detail_size }
}
