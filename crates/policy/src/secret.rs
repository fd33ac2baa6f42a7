//! Which files hold secrets, by their names: what is kept of them is put back where that is asked for, and never shown.

use std::sync::LazyLock;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use waxseal_model::RawPath;

/// Names and places of passwords and of private keys on ordinary systems.
const SECRET: &[&str] = &[
    "/etc/{shadow,gshadow}*",
    "/etc/security/opasswd*",
    "/etc/ssh/ssh_host_*_key",
    "**/.ssh/id_*",
    "/etc/ssl/private/**",
    "/etc/letsencrypt/{archive,live,keys}/**/priv*.pem",
    "/etc/pki/tls/private/**",
    "/etc/wireguard/**",
    "/etc/ipsec.secrets",
    "/etc/ipsec.d/private/**",
    "/etc/ppp/*-secrets",
    "/etc/NetworkManager/system-connections/**",
    "/etc/wpa_supplicant/**",
    "/etc/krb5.keytab",
    "**/*.{key,keytab,p12,pfx,jks,kdbx,ppk}",
    "**/{.pgpass,.netrc,.my.cnf,.git-credentials,.htpasswd,.env,.env.*}",
    "**/.aws/credentials",
    "**/.docker/config.json",
    "**/.kube/config",
    "**/.gnupg/private-keys-v1.d/**",
    "**/secrets.{yml,yaml,json,toml}",
];

/// What private keys begin with in their text form (RFC 7468, and OpenSSH's PROTOCOL.key), after dashes and a name.
const KEY: &[u8] = b"PRIVATE KEY-----";

/// How many bytes at the end of one piece of a content may begin what stands in the next one.
pub const LONGEST_MARK: usize = KEY.len() - 1;

/// Public keys beside private ones.
const PUBLIC: &[u8] = b".pub";

static GLOBS: LazyLock<Option<GlobSet>> = LazyLock::new(|| {
    let mut set = GlobSetBuilder::new();
    for glob in SECRET {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().ok()?);
    }
    set.build().ok()
});

/// Whether what is at this path is a secret by its name.
pub fn is_secret(path: &RawPath) -> bool {
    // A set that could not be built would hide everything; a test says that it can.
    let bytes = path.as_bytes();
    !bytes.ends_with(PUBLIC) && GLOBS.as_ref().is_none_or(|globs| globs.is_match(as_path(bytes)))
}

/// Whether a content holds a private key.
pub fn holds_secret(content: &[u8]) -> bool {
    content.windows(KEY.len()).any(|window| window == KEY)
}

#[cfg(unix)]
fn as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn as_path(bytes: &[u8]) -> std::path::PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_private_keys_are_secret_and_what_is_beside_them_is_not() {
        assert!(GLOBS.is_some());
        let secret = |path: &str| is_secret(&RawPath::new(path.as_bytes()));
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/gshadow",
            "/etc/ssh/ssh_host_ed25519_key",
            "/root/.ssh/id_rsa",
            "/etc/ssl/private/deep/own.pem",
            "/srv/app/tls.key",
            "/srv/app/.env",
            "/home/a/.aws/credentials",
            "/etc/NetworkManager/system-connections/home.nmconnection",
        ] {
            assert!(secret(path), "{path}");
        }
        for path in [
            "/etc/passwd",
            "/etc/ssh/sshd_config",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/root/.ssh/id_rsa.pub",
            "/root/.ssh/authorized_keys",
            "/etc/ssl/certs/ca.pem",
            "/srv/app/environment",
        ] {
            assert!(!secret(path), "{path}");
        }
        assert!(is_secret(&RawPath::new(&b"/srv/\xff/a.key"[..])));
    }

    #[test]
    fn private_keys_are_known_by_their_content() {
        assert!(holds_secret(b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(!holds_secret(b"-----BEGIN PUBLIC KEY-----\n"));
        assert!(!holds_secret(b""));
    }
}
