//! A witness as C2SP tlog-witness describes it, on a port of this machine. It shares no code with Waxseal: whatever it accepts, others
//! would too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

type Hash = [u8; 32];

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Honest,
    /// It takes whatever comes, and signs something else.
    Lying,
    /// It takes a request, and never answers.
    Silent,
}

/// A running witness. It ends with the test's process.
pub struct Witness {
    address: String,
    vkey: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    mood: Mood,
    key: SigningKey,
    name: String,
    /// The keys of the logs that it knows, by their names.
    logs: HashMap<String, VerifyingKey>,
    /// What it cosigned last, by log.
    seen: HashMap<String, (u64, Hash)>,
    /// The status of every answer.
    answers: Vec<u16>,
    /// Requests that are not answered are held open.
    held: Vec<TcpStream>,
}

impl Witness {
    /// Starts one that knows no log.
    pub fn start() -> Witness {
        Witness::at(0).expect("a port of this machine")
    }

    /// One on this port; another key, and it has seen nothing.
    ///
    /// # Errors
    /// When the port is not free.
    pub fn at(port: u16) -> io::Result<Witness> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = format!("http://{}", listener.local_addr()?);
        let key = SigningKey::from_bytes(&[7; 32]);
        let name = "witness.example/w1".to_owned();
        let public = [&[4][..], key.verifying_key().as_bytes()].concat();
        let vkey = format!("{name}+{}+{}", hex(&key_id(&name, &public)), STANDARD.encode(&public));
        let shared = Shared {
            mood: Mood::Honest,
            key,
            name,
            logs: HashMap::new(),
            seen: HashMap::new(),
            answers: Vec::new(),
            held: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever goes away has had enough.
                let _ = serve(stream, &own);
            }
        });
        Ok(Witness { address, vkey, shared })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its verifier key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// From now on it behaves so.
    pub fn behave(&self, mood: Mood) {
        let mut shared = self.lock();
        shared.mood = mood;
        shared.held.clear();
    }

    /// It learns the key of a log: the line `host` of its verification file.
    pub fn learn(&self, verification: &str) {
        let line = verification.lines().find_map(|line| line.strip_prefix("host "));
        let parts: Vec<&str> = line.expect("the key of the host").splitn(3, '+').collect();
        let [name, _, key] = parts[..] else { panic!("no verifier key: {parts:?}") };
        let key = STANDARD.decode(key).expect("base64");
        assert_eq!(key.first(), Some(&1), "an Ed25519 key");
        let key = VerifyingKey::try_from(&key[1..]).expect("a key");
        self.lock().logs.insert(name.to_owned(), key);
    }

    /// How many leaves of the one log that it knows it has cosigned.
    pub fn seen(&self) -> u64 {
        self.lock().seen.values().map(|(size, _)| *size).max().unwrap_or(0)
    }

    /// It forgets what it has seen.
    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// The status of all answers so far.
    pub fn answers(&self) -> Vec<u16> {
        self.lock().answers.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(public).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn serve(stream: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.trim().split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut shared = lock(shared);
    if shared.mood == Mood::Silent {
        shared.held.push(stream);
        return Ok(());
    }
    let (status, kind, text) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["POST", "/prefix/add-checkpoint", _] => shared.add_checkpoint(&String::from_utf8_lossy(&body)),
        _ => (404, "text/plain", "there is nothing here\n".to_owned()),
    };
    shared.answers.push(status);
    let mut stream = &stream;
    write!(
        stream,
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

impl Shared {
    fn add_checkpoint(&mut self, body: &str) -> (u16, &'static str, String) {
        let refuse = |status, why: &str| (status, "text/plain", format!("{why}\n"));
        let Some(request) = Request::parse(body) else { return refuse(400, "malformed") };
        let Some(key) = self.logs.get(&request.origin) else { return refuse(404, "unknown origin") };
        if !request.is_signed(key) && self.mood == Mood::Honest {
            return refuse(403, "no valid signature of the log");
        }
        if request.old > request.size {
            return refuse(400, "the old size is above the new one");
        }
        let (seen, root) = self.seen.get(&request.origin).copied().unwrap_or((0, [0; 32]));
        if request.old != seen && self.mood == Mood::Honest {
            return (409, "text/x.tlog.size", format!("{seen}\n"));
        }
        if !is_consistent(seen, root, &request) && self.mood == Mood::Honest {
            return refuse(422, "inconsistent");
        }
        self.seen.insert(request.origin.clone(), (request.size, request.root));
        let time = 1_767_225_600_u64;
        let lie = if self.mood == Mood::Lying { "\n" } else { "" };
        let message = format!("cosignature/v1\ntime {time}\n{}{lie}", request.text);
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        let public = [&[4][..], self.key.verifying_key().as_bytes()].concat();
        let bytes = [&key_id(&self.name, &public)[..], &time.to_be_bytes(), &signature].concat();
        (200, "text/plain", format!("\u{2014} {} {}\n", self.name, STANDARD.encode(bytes)))
    }
}

struct Request {
    old: u64,
    proof: Vec<Hash>,
    text: String,
    signatures: Vec<(String, Vec<u8>)>,
    origin: String,
    size: u64,
    root: Hash,
}

impl Request {
    fn parse(body: &str) -> Option<Request> {
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.lines();
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let proof = lines.map(hash).collect::<Option<Vec<_>>>()?;
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let signatures = signatures.lines().map(|line| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            Some((name.to_owned(), STANDARD.decode(signature).ok()?))
        });
        let signatures = signatures.collect::<Option<Vec<_>>>()?;
        let mut lines = text.lines();
        let (origin, size, root) =
            (lines.next()?.to_owned(), lines.next()?.parse().ok()?, hash(lines.next()?)?);
        Some(Request { old, proof, signatures, origin, size, root, text: text.clone() })
    }

    fn is_signed(&self, key: &VerifyingKey) -> bool {
        let public = [&[1][..], key.as_bytes()].concat();
        let id = key_id(&self.origin, &public);
        self.signatures.iter().any(|(name, bytes)| {
            let Some((own, signature)) = bytes.split_first_chunk::<4>() else { return false };
            let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
            *name == self.origin && *own == id && key.verify_strict(self.text.as_bytes(), &signature).is_ok()
        })
    }
}

fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// RFC 9162, section 2.1.4.2.
fn is_consistent(first: u64, first_root: Hash, request: &Request) -> bool {
    let (second, second_root) = (request.size, request.root);
    if first == 0 {
        return request.proof.is_empty();
    }
    if first == second {
        return request.proof.is_empty() && first_root == second_root;
    }
    let mut path = request.proof.clone();
    if first.is_power_of_two() {
        path.insert(0, first_root);
    }
    let Some((start, rest)) = path.split_first() else { return false };
    let (mut at, mut last) = (first - 1, second - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old, mut new) = (*start, *start);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            (old, new) = (node(hash, &old), node(hash, &new));
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new = node(&new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == first_root && new == second_root
}
