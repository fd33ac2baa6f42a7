//! The pieces that packed encodings are made of: shortest-form varints and byte strings with their length.
//!
//! In: numbers and bytes. Out: one way to write each, and a reader that takes nothing else. Directory records
//! ([`crate::record`]) and the leaves of the log are made of them.

use crate::time::Timestamp;

/// Why bytes are not in the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end in the middle of a value.
    #[error("it ends too early")]
    Truncated,
    /// A value that the writer never writes.
    #[error("it has a malformed {0}")]
    Malformed(&'static str),
}

/// A LEB128 varint: seven bits a byte, lowest first, the high bit set on all bytes but the last; at most ten bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number as a varint: 0, -1, 1, -2, … become 0, 1, 2, 3, ….
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// The length as a varint, and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Seconds in zig-zag and nanoseconds.
pub fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put_zigzag(out, time.seconds);
    put_varint(out, u64::from(time.nanos));
}

/// What is left to read.
#[derive(Debug, Clone)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// A reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    /// This many bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// What [`put_varint`] wrote, in its shortest form only.
    ///
    /// # Errors
    /// When it is cut short, longer than it must be, or beyond 64 bits.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Malformed("number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(WireError::Malformed("number")) };
            }
        }
        Err(WireError::Malformed("number"))
    }

    /// What [`put_zigzag`] wrote.
    ///
    /// # Errors
    /// As [`Input::varint`].
    pub fn zigzag(&mut self) -> Result<i64, WireError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint that fits a smaller type; `what` names it in the error.
    ///
    /// # Errors
    /// Also when it does not fit.
    pub fn small<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, WireError> {
        T::try_from(self.varint()?).map_err(|_| WireError::Malformed(what))
    }

    /// What [`put_bytes`] wrote.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.small::<usize>("length")?;
        self.take(len)
    }

    /// What [`put_time`] wrote.
    ///
    /// # Errors
    /// When it is cut short, or has a second or more of nanoseconds.
    pub fn time(&mut self) -> Result<Timestamp, WireError> {
        let seconds = self.zigzag()?;
        let nanos: u32 = self.small("time")?;
        if nanos > 999_999_999 { Err(WireError::Malformed("time")) } else { Ok(Timestamp { seconds, nanos }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Input::new(&out).varint(), Ok(value));
        }
        for bad in [&[0x80, 0][..], &[0x81, 0x80, 0], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Input::new(bad).varint(), Err(WireError::Malformed("number")), "{bad:?}");
        }
        assert_eq!(Input::new(&[0x80]).varint(), Err(WireError::Truncated));
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_zigzag(&mut out, value);
            assert_eq!(Input::new(&out).zigzag(), Ok(value));
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(Input::new(&[5, 1, 2]).bytes(), Err(WireError::Truncated));
        let mut huge = Vec::new();
        put_varint(&mut huge, u64::MAX);
        assert_eq!(Input::new(&huge).bytes(), Err(WireError::Truncated));
    }
}
