//! The messages of an SSH agent, as far as they are needed to sign with an Ed25519 key that it holds
//! (draft-ietf-sshm-ssh-agent; the keys and signatures are those of RFC 8709).
//!
//! In: what an agent answered, which is anybody's bytes. Out: its Ed25519 keys, and a signature. Nothing here speaks to an
//! agent. A signature is plain Ed25519 over the message, so whoever verifies it need not know that an agent made it.

use crate::vkey::{Name, VerifierKey};

/// The longest answer that is taken, in bytes: what OpenSSH's own client takes.
pub const MAX_ANSWER: usize = 256 << 10;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const ED25519: &[u8] = b"ssh-ed25519";

/// Why an agent is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It said no: it is locked, somebody did not confirm, or it does not have the key any more.
    #[error("the ssh agent refused")]
    Refused,
    /// Something else than an answer of an agent.
    #[error("the ssh agent gave an answer that is none")]
    Malformed,
}

/// A key that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    key: [u8; 32],
    /// What the agent calls it; often a path or an address.
    pub comment: String,
}

impl Identity {
    /// The public side, under this name; none when the bytes are no usable key.
    pub fn verifier_key(&self, name: Name) -> Option<VerifierKey> {
        VerifierKey::from_public(name, &self.key).ok()
    }
}

/// What asks an agent for its keys, without the length in front.
pub fn request_identities() -> Vec<u8> {
    vec![REQUEST_IDENTITIES]
}

/// The Ed25519 keys in the answer to that; keys of other kinds are left out.
///
/// # Errors
/// When it is no such answer.
pub fn identities(answer: &[u8]) -> Result<Vec<Identity>, AgentError> {
    let mut rest = body(answer, IDENTITIES_ANSWER)?;
    let count = number(&mut rest)?;
    let mut found = Vec::new();
    // Each takes eight bytes at least, so a count that lies ends soon.
    for _ in 0..count {
        let (mut blob, comment) = (string(&mut rest)?, string(&mut rest)?);
        if string(&mut blob) != Ok(ED25519) {
            continue;
        }
        let key = string(&mut blob)?.try_into().map_err(|_| AgentError::Malformed)?;
        if !blob.is_empty() {
            return Err(AgentError::Malformed);
        }
        found.push(Identity { key, comment: String::from_utf8_lossy(comment).into_owned() });
    }
    if rest.is_empty() { Ok(found) } else { Err(AgentError::Malformed) }
}

/// What asks an agent to sign a message with a key, without the length in front.
pub fn request_signature(key: &VerifierKey, message: &[u8]) -> Vec<u8> {
    let mut request = vec![SIGN_REQUEST];
    for part in [&key.ssh_blob(), message] {
        request.extend((part.len() as u32).to_be_bytes());
        request.extend(part);
    }
    request.extend(0u32.to_be_bytes());
    request
}

/// The signature in the answer to that, when it is this key's over this message.
///
/// # Errors
/// When it is no such answer, or the signature is another.
pub fn signature(answer: &[u8], key: &VerifierKey, message: &[u8]) -> Result<[u8; 64], AgentError> {
    let mut rest = body(answer, SIGN_RESPONSE)?;
    let mut blob = string(&mut rest)?;
    let (kind, bytes) = (string(&mut blob)?, string(&mut blob)?);
    let signature: [u8; 64] = bytes.try_into().map_err(|_| AgentError::Malformed)?;
    let is_whole = rest.is_empty() && blob.is_empty() && kind == ED25519;
    if is_whole && key.verifies(message, &signature) { Ok(signature) } else { Err(AgentError::Malformed) }
}

fn body(answer: &[u8], kind: u8) -> Result<&[u8], AgentError> {
    match answer.split_first() {
        Some((first, body)) if *first == kind => Ok(body),
        // SSH_AGENT_FAILURE, its extension and the number that old agents used.
        Some((5 | 28 | 30, _)) => Err(AgentError::Refused),
        _ => Err(AgentError::Malformed),
    }
}

fn number(rest: &mut &[u8]) -> Result<u32, AgentError> {
    let (first, more) = rest.split_first_chunk::<4>().ok_or(AgentError::Malformed)?;
    *rest = more;
    Ok(u32::from_be_bytes(*first))
}

fn string<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], AgentError> {
    let length = number(rest)? as usize;
    let (first, more) = rest.split_at_checked(length).ok_or(AgentError::Malformed)?;
    *rest = more;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(Name::new("waxseal/test").unwrap(), &zeroize::Zeroizing::new([seed; 32]))
    }

    fn text(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes(), *part].concat()).collect()
    }

    fn answer_of(keys: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut answer = vec![12];
        answer.extend((keys.len() as u32).to_be_bytes());
        keys.iter().for_each(|(blob, comment)| answer.extend(text(&[blob, comment])));
        answer
    }

    fn signed(key: &SigningKey, message: &[u8]) -> Vec<u8> {
        [vec![14], text(&[&text(&[ED25519, &key.sign(message)])])].concat()
    }

    #[test]
    fn the_ed25519_keys_of_an_agent_are_found_among_others() {
        let (one, two) = (key(1), key(2));
        let rsa = text(&[b"ssh-rsa", b"\x01\0\x01", b"modulus"]);
        let answer = answer_of(&[
            (&one.verifier_key().ssh_blob(), b"one"),
            (&rsa, b"rsa"),
            (&two.verifier_key().ssh_blob(), b"\xfftwo"),
        ]);
        let found = identities(&answer).unwrap();
        assert_eq!(found.iter().map(|one| one.comment.as_str()).collect::<Vec<_>>(), ["one", "\u{fffd}two"]);
        for (found, key) in found.iter().zip([&one, &two]) {
            let verifier = key.verifier_key();
            assert_eq!(found.verifier_key(verifier.name().clone()).as_ref(), Some(verifier));
        }
        assert_eq!(identities(&answer_of(&[])).unwrap(), []);
        for refusal in [5, 28, 30] {
            assert_eq!(identities(&[refusal]), Err(AgentError::Refused));
        }
        for bad in [&[][..], &[12], &[12, 0xff, 0xff, 0xff, 0xff], &[14, 0, 0, 0, 0], &[12, 0, 0, 0, 0, 1]] {
            assert_eq!(identities(bad), Err(AgentError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn only_the_right_signature_is_taken() {
        let (one, two) = (key(1), key(2));
        let verifier = one.verifier_key();
        assert_eq!(signature(&signed(&one, b"message"), verifier, b"message"), Ok(one.sign(b"message")));
        for bad in [
            signed(&two, b"message"),
            signed(&one, b"another"),
            [signed(&one, b"message"), vec![0]].concat(),
            [vec![14], text(&[&text(&[b"ssh-rsa", &one.sign(b"message")])])].concat(),
            [vec![14], text(&[&text(&[ED25519, &[0; 63]])])].concat(),
            vec![6],
        ] {
            assert_eq!(signature(&bad, verifier, b"message"), Err(AgentError::Malformed), "{bad:?}");
        }
        assert_eq!(signature(&[5], verifier, b"message"), Err(AgentError::Refused));
        let request = request_signature(verifier, b"message");
        let expected = [vec![13], text(&[&verifier.ssh_blob(), b"message"]), vec![0; 4]].concat();
        assert_eq!((request_identities(), request), (vec![11], expected));
    }

    proptest! {
        #[test]
        fn hostile_answers_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..32) {
            let answer = [vec![kind], bytes].concat();
            let _ = identities(&answer);
            prop_assert!(signature(&answer, key(1).verifier_key(), b"message").is_err());
        }

        #[test]
        fn a_changed_answer_gives_no_other_signature(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let one = key(1);
            let mut answer = signed(&one, b"message");
            let at = at.index(answer.len());
            answer[at] = value;
            if let Ok(signature) = signature(&answer, one.verifier_key(), b"message") {
                prop_assert_eq!(signature, one.sign(b"message"));
            }
            let mut answer = answer_of(&[(&one.verifier_key().ssh_blob(), b"comment")]);
            let at = at % answer.len();
            answer[at] = value;
            let _ = identities(&answer);
        }
    }
}
