//! Cosignatures: what witnesses say about a checkpoint.
//!
//! C2SP tlog-cosignature (<https://c2sp.org/tlog-cosignature>) of the Ed25519 kind, type byte 0x04: "at this time, this was
//! the largest consistent tree of this origin that I had seen". A line's signature is 8 bytes of POSIX seconds, big-endian,
//! and 64 bytes of Ed25519 over `cosignature/v1\n`, `time <seconds>\n` and the checkpoint's text.
//!
//! A witness is asked as C2SP tlog-witness (<https://c2sp.org/tlog-witness>) says: [`add_checkpoint`] makes the body of the
//! request, and the body of its answer is what [`with_answer`] adds to the note.

use crate::note::{NoteError, UnverifiedNote};
use crate::text::{base64, unbase64, without_line_end};
use crate::vkey::{KeyId, Name, VkeyError, key_id, split, usable, verifies};
use ed25519_dalek::VerifyingKey;
use std::fmt;
use waxseal_model::Digest;

/// C2SP's type byte of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 0x04;

/// The latest time that the specification allows.
const LATEST: u64 = i64::MAX as u64;

/// A witness's public key with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: Name,
    id: KeyId,
    key: VerifyingKey,
}

/// A witness's word about a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Who says it.
    pub witness: Name,
    /// When, in POSIX seconds by its own clock.
    pub time: u64,
}

impl WitnessKey {
    /// The key of a witness's verifier key line, `<name>+<key id>+<base64(0x04 || public key)>`; one line ending after it is
    /// ignored.
    ///
    /// # Errors
    /// When it is no such line, or its parts do not belong together.
    pub fn parse(line: &str) -> Result<WitnessKey, VkeyError> {
        let (name, id, key) = split(without_line_end(line)).ok_or(VkeyError::Form)?;
        let name = Name::new(name)?;
        let bytes = unbase64(key).ok_or(VkeyError::Form)?;
        let key = match bytes.split_first().ok_or(VkeyError::Form)? {
            (&COSIGNATURE, key) => usable(key)?,
            (&other, _) => return Err(VkeyError::Algorithm(other)),
        };
        let key = WitnessKey { id: key_id(&name, COSIGNATURE, &key), name, key };
        if key.id.to_string() == id { Ok(key) } else { Err(VkeyError::Id) }
    }

    /// The witness's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    fn time_of(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (time, signature) = signature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        (time <= LATEST && verifies(&self.key, message.as_bytes(), signature)).then_some(time)
    }
}

/// The cosignatures of a note by witnesses that are known, one for each at most (its newest). What the log itself signed is
/// for [`Checkpoint::open`](crate::Checkpoint::open) to look at.
///
/// # Errors
/// [`NoteError::Invalid`] when the line of a known witness does not verify, [`NoteError::Ambiguous`] when two of the known
/// ones cannot be told apart.
pub fn cosignatures(note: &UnverifiedNote, known: &[WitnessKey]) -> Result<Vec<Cosignature>, NoteError> {
    let mut found: Vec<Cosignature> = Vec::new();
    for line in note.claimed_signatures() {
        let (name, id) = (line.name.clone(), line.id);
        let mut candidates = known.iter().filter(|key| key.name == name && key.id == id);
        let Some(key) = candidates.next() else { continue };
        if candidates.any(|other| other != key) {
            return Err(NoteError::Ambiguous { name, id });
        }
        let Some(time) = key.time_of(note.claimed_text(), &line.bytes) else {
            return Err(NoteError::Invalid { name, id });
        };
        match found.iter_mut().find(|known| known.witness == name) {
            Some(known) => known.time = known.time.max(time),
            None => found.push(Cosignature { witness: name, time }),
        }
    }
    Ok(found)
}

/// The most hashes that a consistency proof in a request may have.
const MAX_PROOF: usize = 63;

/// The body of a witness's `add-checkpoint` request: the size that it saw last, the proof that the log has only grown since
/// ([`consistency`](crate::merkle::consistency); empty when it saw none, or this one), and the checkpoint. None when the proof
/// is longer than any can be.
pub fn add_checkpoint(old: u64, proof: &[Digest], note: &str) -> Option<String> {
    let lines: String = proof.iter().map(|hash| base64(hash) + "\n").collect();
    (proof.len() <= MAX_PROOF).then(|| format!("old {old}\n{lines}\n{note}"))
}

/// The note with the lines of a witness's answer, which count for as much as [`cosignatures`] says.
///
/// # Errors
/// When the answer is not lines of signatures, or makes the note too long.
pub fn with_answer(note: &str, answer: &str) -> Result<String, NoteError> {
    let before = UnverifiedNote::parse(note)?;
    let longer = format!("{note}{answer}");
    // An empty line in the answer would make all before it the text that is signed.
    if UnverifiedNote::parse(&longer)?.claimed_text() == before.claimed_text() {
        Ok(longer)
    } else {
        Err(NoteError::Malformed("the answer of a witness has an empty line"))
    }
}

/// What a witness's answer says of the checkpoint that it was asked about: its own line, with a newline. Whatever else is in
/// the answer is by nobody who was asked.
///
/// # Errors
/// When the answer is not lines of signatures, the witness's line does not verify ([`NoteError::Invalid`]), or it has none
/// ([`NoteError::Unsigned`]).
pub fn own_line(note: &str, answer: &str, witness: &WitnessKey) -> Result<String, NoteError> {
    let before = UnverifiedNote::parse(note)?.claimed_signatures().len();
    let longer = UnverifiedNote::parse(with_answer(note, answer)?)?;
    if cosignatures(&longer, std::slice::from_ref(witness))?.is_empty() {
        return Err(NoteError::Unsigned);
    }
    let added = longer.claimed_signatures().iter().skip(before);
    let own = added.zip(answer.split_inclusive('\n'));
    let mut own = own.filter(|(line, _)| line.name == witness.name && line.id == witness.id);
    own.next().map(|(_, text)| text.to_owned()).ok_or(NoteError::Unsigned)
}

/// The verifier key line, without a line ending.
impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![COSIGNATURE];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name.as_str(), self.id, base64(&bytes))
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::flipped;

    const WITNESS: &str = "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";
    const NOTE: &str = "waxseal.example/host/alpha\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
        — waxseal.example/host/alpha 31nMGM/tWBRBU9Gm32+H/oG5AnGraCTP+kDeaptmfCzHl3M/f0xzlGNhfV6wv+Hi/Yp3AqX9BqoJUBH4qwzUGt7CjAI=\n\
        — witness.example/w1 IDJKvgAAAABpVbkACs3n6DcjMqPFLm1lfBhxxEU95rxXwSp1+aLn2vlhh9+heBcy4pKdggXvoReXJAOZXbQ/IXsswargF0Qc5ZT8Bg==\n";

    fn of(note: impl AsRef<[u8]>) -> Result<Vec<Cosignature>, NoteError> {
        cosignatures(&UnverifiedNote::parse(note)?, &[WitnessKey::parse(WITNESS).unwrap()])
    }

    #[test]
    fn the_published_one_verifies() {
        let name = Name::new("witness.example/w1").unwrap();
        assert_eq!(of(NOTE), Ok(vec![Cosignature { witness: name, time: 1_767_225_600 }]));
        let strangers = UnverifiedNote::parse(NOTE).unwrap();
        assert_eq!(cosignatures(&strangers, &[]), Ok(Vec::new()));
    }

    #[test]
    fn the_key_is_read_and_written_alike() {
        assert_eq!(WitnessKey::parse(WITNESS).unwrap().to_string(), WITNESS);
        assert_eq!(
            WitnessKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
            Err(VkeyError::Algorithm(1))
        );
        for line in flipped(WITNESS).filter_map(|line| String::from_utf8(line).ok()) {
            assert!(WitnessKey::parse(&line).is_err(), "{line}");
        }
    }

    /// The request from 5 to 8 leaves as other programs make it, and the answer to it.
    #[test]
    fn a_witness_is_asked_as_specified() {
        let proof = [
            "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
            "QnGia+DYqE8L1UyMMC58s6O10fpngKQLzOKHNHfatlg=",
            "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=",
            "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
        ];
        let hashes = proof.map(|line| crate::text::unbase64_array(line).unwrap());
        let (note, answer) = NOTE.split_at(NOTE.find("— witness").unwrap());
        let body = add_checkpoint(5, &hashes, note).unwrap();
        assert_eq!(body, format!("old 5\n{}\n\n{note}", proof.join("\n")));
        assert_eq!(add_checkpoint(0, &[], note).unwrap(), format!("old 0\n\n{note}"));
        assert_eq!(add_checkpoint(1, &[[0; 32]; 64], note), None);
        assert_eq!(with_answer(note, answer).as_deref(), Ok(NOTE));
        for bad in [
            "x",
            "404\n",
            "\n",
            &format!("\n{answer}"),
            &format!("{answer}\n"),
            &format!("{answer}\n{answer}"),
        ] {
            assert!(with_answer(note, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_an_answer_only_the_lines_of_the_witness_are_taken() {
        let witness = WitnessKey::parse(WITNESS).unwrap();
        let (note, answer) = NOTE.split_at(NOTE.find("— witness").unwrap());
        assert_eq!(own_line(note, answer, &witness).as_deref(), Ok(answer));
        // Another one may forge a line of the log's.
        let stranger = "— waxseal.example/host/alpha AAAAAAAA\n";
        for more in [format!("{stranger}{answer}"), format!("{answer}{stranger}")] {
            assert_eq!(own_line(note, &more, &witness).as_deref(), Ok(answer));
        }
        assert_eq!(own_line(note, stranger, &witness), Err(NoteError::Unsigned));
        let (start, signature) = answer.split_at(answer.len() - 10);
        let lie = format!("{start}{}", signature.replacen(char::is_alphanumeric, "+", 1));
        assert!(matches!(own_line(note, &lie, &witness), Err(NoteError::Invalid { .. })), "{lie}");
        for bad in ["", "404\n", answer.trim_end()] {
            assert!(own_line(note, bad, &witness).is_err(), "{bad:?}");
        }
    }

    /// A changed note has no cosignature: the line fails, or is no longer that of the witness.
    #[test]
    fn a_flipped_bit_is_refused() {
        let log_line = NOTE.find("— waxseal").unwrap()..NOTE.find("— witness").unwrap();
        for (bit, note) in flipped(NOTE).enumerate() {
            if !log_line.contains(&(bit / 8)) {
                assert!(
                    of(&note).is_err() || of(&note) == Ok(Vec::new()),
                    "{}",
                    String::from_utf8_lossy(&note)
                );
            }
        }
    }

    #[test]
    fn a_short_line_of_a_known_witness_is_a_failing_one() {
        let (text, _) = NOTE.split_once("\n\n").unwrap();
        let note = format!("{text}\n\n— witness.example/w1 IDJKvgAA\n");
        assert!(matches!(of(note), Err(NoteError::Invalid { .. })));
    }
}
