//! The number by which the system says why a call failed.

#[cfg(unix)]
pub use rustix::io::Errno;

/// An error code of Windows (`GetLastError`).
#[cfg(windows)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub u32);

#[cfg(windows)]
impl From<Errno> for std::io::Error {
    fn from(code: Errno) -> std::io::Error {
        std::io::Error::from_raw_os_error(code.0.cast_signed())
    }
}

/// The code of an error of the standard library; `otherwise` where it has none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of(error: &std::io::Error, otherwise: Errno) -> Errno {
    #[cfg(unix)]
    return Errno::from_io_error(error).unwrap_or(otherwise);
    #[cfg(windows)]
    return error.raw_os_error().map_or(otherwise, |code| Errno(code.cast_unsigned()));
}
