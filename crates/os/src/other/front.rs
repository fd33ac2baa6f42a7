//! No process has to stand in front of another here: a request to a mount that does not answer can be killed.

use std::io::Error;

/// `None`: this process does the work.
///
/// # Errors
/// None.
pub fn stand() -> Result<Option<u8>, Error> {
    Ok(None)
}

/// Nobody waits for the code.
pub fn tell(_: u8) {}
