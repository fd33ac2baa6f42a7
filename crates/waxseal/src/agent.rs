//! `--key ssh-agent`: the sealing key stays with an SSH agent.

use anyhow::{anyhow, bail};
use std::path::Path;
use waxseal_ledger::agent::{self, MAX_ANSWER};
use waxseal_ledger::{Name, SignError, Signer, VerifierKey};
use waxseal_model::escape;

/// A key in an agent.
#[derive(Debug)]
pub struct AgentKey {
    key: VerifierKey,
}

/// What `--key` says when it means an agent: which of its keys, by fingerprint or comment; any, if empty.
pub fn wanted(key: &Path) -> Option<&str> {
    let rest = key.to_str()?.strip_prefix("ssh-agent")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
}

impl AgentKey {
    /// The Ed25519 key of this fingerprint or comment in the agent; without either, `sealing` where that is known, or the only one.
    pub fn find(wanted: &str, name: &Name, sealing: Option<&VerifierKey>) -> anyhow::Result<AgentKey> {
        let keys: Vec<(VerifierKey, String)> = identities()?
            .into_iter()
            .filter_map(|one| Some((one.verifier_key(name.clone())?, one.comment)))
            .collect();
        let is_meant = |(key, comment): &&(VerifierKey, String)| match (wanted, sealing) {
            ("", Some(sealing)) => key.ssh_blob() == sealing.ssh_blob(),
            ("", None) => true,
            _ => key.fingerprint() == wanted || comment == wanted,
        };
        let meant: Vec<_> = keys.iter().filter(is_meant).collect();
        match meant.as_slice() {
            [(key, _)] => Ok(AgentKey { key: key.clone() }),
            [] if wanted.is_empty() && sealing.is_some() => {
                bail!("the ssh agent does not hold the key that sealed the baseline: add it with `ssh-add`")
            }
            [] if keys.is_empty() => bail!("the ssh agent holds no Ed25519 key: add one with `ssh-add`"),
            [] => bail!("the ssh agent holds no such Ed25519 key; it has {}", list(&keys)),
            _ => bail!(
                "the ssh agent holds several such keys: say which with --key ssh-agent:FINGERPRINT; it has {}",
                list(&keys)
            ),
        }
    }
}

fn identities() -> anyhow::Result<Vec<agent::Identity>> {
    let answer = waxseal_os::agent::ask(&agent::request_identities(), MAX_ANSWER);
    let answer = answer.map_err(|error| anyhow!("the ssh agent could not be asked: {error}"))?;
    Ok(agent::identities(&answer)?)
}

fn list(keys: &[(VerifierKey, String)]) -> String {
    let one = |(key, comment): &(VerifierKey, String)| {
        format!("{} ({})", key.fingerprint(), escape::for_people(comment.as_bytes()))
    };
    keys.iter().take(8).map(one).collect::<Vec<_>>().join(", ")
}

impl Signer for AgentKey {
    fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let answer = waxseal_os::agent::ask(&agent::request_signature(&self.key, message), MAX_ANSWER);
        let answer =
            answer.map_err(|error| SignError(format!("the ssh agent could not be asked: {error}")))?;
        agent::signature(&answer, &self.key, message).map_err(|error| SignError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_from_a_file() {
        for (key, expected) in [
            ("ssh-agent", Some("")),
            ("ssh-agent:SHA256:abc", Some("SHA256:abc")),
            ("ssh-agent:me@host", Some("me@host")),
            ("./ssh-agent", None),
            ("ssh-agent.key", None),
            ("/media/key", None),
        ] {
            assert_eq!(wanted(Path::new(key)), expected, "{key}");
        }
    }
}
