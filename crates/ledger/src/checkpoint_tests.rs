use super::*;
use crate::key::SigningKey;
use crate::text::flipped;
use proptest::prelude::*;
use zeroize::Zeroizing;

/// The key of the seed 00..1f and its checkpoints over the classic leaves, made by other programs.
const ROOTS: [(u64, &str, &str); 3] = [
    (
        0,
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "31nMGPA3c9AKzxwzTfxbvp32hJJpeJ7t1OoDJ5GFTS0wZXBDoELjS+YAgbCR1KdoK/hmoKp8u59dntD59JfNkwTusAE=",
    ),
    (
        5,
        "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
        "31nMGHR4r/63UvtFgGPw+95HyOw6Xujff4NTM4ubV466f85FCgrI4lhMs6GpJXxvObTHjLU0SCaMWviMeRC7LioG+wY=",
    ),
    (
        8,
        "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
        "31nMGM/tWBRBU9Gm32+H/oG5AnGraCTP+kDeaptmfCzHl3M/f0xzlGNhfV6wv+Hi/Yp3AqX9BqoJUBH4qwzUGt7CjAI=",
    ),
];

const ORIGIN: &str = "waxseal.example/host/alpha";

fn alpha() -> SigningKey {
    let seed = Zeroizing::new(std::array::from_fn(|i| i as u8));
    SigningKey::from_seed(Name::new(ORIGIN).unwrap(), &seed)
}

fn other() -> SigningKey {
    SigningKey::from_seed(Name::new("other").unwrap(), &Zeroizing::new([7; 32]))
}

fn example() -> Checkpoint {
    Checkpoint { origin: Name::new(ORIGIN).unwrap(), size: 1234, root: [9; 32] }
}

#[test]
fn the_published_checkpoints_are_read_and_written_alike() {
    for (size, root, signature) in ROOTS {
        let note = format!("{ORIGIN}\n{size}\n{root}\n\n— {ORIGIN} {signature}\n");
        let checkpoint = Checkpoint::open(&note, &[alpha().verifier_key()]).unwrap();
        assert_eq!((checkpoint.size, base64(&checkpoint.root)), (size, root.to_owned()));
        assert_eq!(checkpoint.sign(&[&alpha()]), note);
    }
}

#[test]
fn every_key_must_have_signed() {
    let (alpha, other) = (alpha(), other());
    let both = example().sign(&[&alpha, &other]);
    let keys = [alpha.verifier_key(), other.verifier_key()];
    assert_eq!(Checkpoint::open(&both, &keys), Ok(example()));
    assert_eq!(Checkpoint::open(&both, &keys[..1]), Ok(example()));
    let missing = Err(CheckpointError::MissingSignature(other.verifier_key().name().clone()));
    assert_eq!(Checkpoint::open(example().sign(&[&alpha]), &keys), missing);
    let unsigned = Err(CheckpointError::Note(NoteError::Unsigned));
    assert_eq!(Checkpoint::open(example().sign(&[&alpha]), &keys[1..]), unsigned);
    assert_eq!(Checkpoint::open(&both, &[]), unsigned);
    assert!(matches!(Checkpoint::open(&both, &keys[1..]), Err(CheckpointError::OtherOrigin { .. })));
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let text = example().text();
    let cases = [
        text.replace("1234", "01234"),
        text.replace("1234", "-1"),
        text.replace("1234", "18446744073709551616"),
        text.replace("1234", ""),
        text.replace("CQk=", "CQ=="),
        text.replace("CQk=", "CQl="),
        format!("{text}extension\n"),
        format!("\n{text}"),
        text.replace(ORIGIN, "a b"),
        ORIGIN.to_owned() + "\n",
    ];
    for text in cases {
        let note = signed(&text, &[&alpha()]);
        let opened = Checkpoint::open(&note, &[alpha().verifier_key()]);
        assert!(matches!(opened, Err(CheckpointError::Malformed(_))), "{text}");
    }
}

#[test]
fn a_flipped_bit_is_refused() {
    let (alpha, other) = (alpha(), other());
    let keys = [alpha.verifier_key(), other.verifier_key()];
    for note in flipped(&example().sign(&[&alpha, &other])) {
        assert!(Checkpoint::open(&note, &keys).is_err(), "{}", String::from_utf8_lossy(&note));
    }
}

proptest! {
    #[test]
    fn every_checkpoint_comes_back(size: u64, root: Digest) {
        let checkpoint = Checkpoint { size, root, ..example() };
        prop_assert_eq!(Checkpoint::open(checkpoint.sign(&[&alpha()]), &[alpha().verifier_key()]), Ok(checkpoint));
    }

    #[test]
    fn any_text_is_refused_or_is_the_same_again(text in "[a-z]{0,2}\n?[0-9]{0,3}\n?[A-Za-z+/]{0,2}A{39,43}={0,2}\n?") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.text(), text);
        }
    }
}
