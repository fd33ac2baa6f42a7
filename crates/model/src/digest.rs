//! Content digests and their names.

/// A content hash that a baseline may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// FIPS 180-4; always computed.
    Sha256,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
    /// FIPS 180-4, for those whose rules ask for it.
    Sha512,
}

impl Algorithm {
    /// All of them, in the order in which they are written.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Blake3, Algorithm::Sha512];

    /// The name in config and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// A SHA-256 digest: 32 bytes.
pub type Digest = [u8; 32];

/// The digests known of one content. All absent for what is not a regular file or was not read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests {
    /// SHA-256.
    pub sha256: Option<Digest>,
    /// BLAKE3, boxed since most baselines do without.
    pub blake3: Option<Box<[u8; 32]>>,
    /// SHA-512.
    pub sha512: Option<Box<[u8; 64]>>,
}

impl Digests {
    /// The digest of this algorithm, if it is known.
    pub fn get(&self, algorithm: Algorithm) -> Option<&[u8]> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.as_ref().map(|d| d.as_slice()),
            Algorithm::Blake3 => self.blake3.as_ref().map(|d| d.as_slice()),
            Algorithm::Sha512 => self.sha512.as_ref().map(|d| d.as_slice()),
        }
    }

    /// Whether two contents are the same as far as both sides know: none when no algorithm is known to both.
    /// Any algorithm that disagrees makes them differ.
    pub fn agree(&self, other: &Digests) -> Option<bool> {
        let both = Algorithm::ALL.into_iter().filter_map(|a| Some((self.get(a)?, other.get(a)?)));
        both.map(|(a, b)| a == b).reduce(|x, y| x && y)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |n: u8| DIGITS[usize::from(n & 15)];
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect()
}

/// The bytes of hexadecimal text of either case; none when it is not hexadecimal of even length.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|p| Some(digit(p[0])? << 4 | digit(p[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_needs_a_common_algorithm_and_all_of_them() {
        let a = Digests { sha256: Some([1; 32]), blake3: Some(Box::new([2; 32])), sha512: None };
        let mut b = a.clone();
        assert_eq!(a.agree(&b), Some(true));
        b.blake3 = Some(Box::new([3; 32]));
        assert_eq!(a.agree(&b), Some(false));
        assert_eq!(a.agree(&Digests::default()), None);
    }

    #[test]
    fn hexadecimal_round_trips() {
        assert_eq!(hex(&[0, 0xaf, 0xff]), "00afff");
        assert_eq!(unhex("00AFff"), Some(vec![0, 0xaf, 0xff]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex("é"), None);
    }
}
