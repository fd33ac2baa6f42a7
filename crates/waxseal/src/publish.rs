//! Checkpoints to the places that the config names.

use crate::output::{describe, warn};
use anyhow::bail;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use waxseal_alert::Witness;
use waxseal_alert::publish::{News, Place, Publisher, To};
use waxseal_ledger::cosignature::WitnessKey;
use waxseal_policy::{Ledger, PublishTo};
use waxseal_store::{Growth, Store, StoreError};

/// How long a program that is about to end waits for all places together.
pub const LAST: Duration = Duration::from_secs(5);

/// Begins to send what is on record in this state directory, and whatever `growth` tells of. The database is opened once
/// more: what is sent must not keep the one waiting that records.
///
/// # Errors
/// When the database cannot be opened.
pub fn begin(store: &Store, ledger: &Ledger) -> Result<Publisher, StoreError> {
    let own = Arc::new(Store::open(store.dir())?);
    Ok(Publisher::begin(own, store.growth(), ledger.publish_every, places(ledger), Arc::new(tell)))
}

/// Sends what is on record once, for a command that ends. What does not arrive is said, and changes nothing else.
pub fn once(store: &Store, ledger: &Ledger) {
    if ledger.publish.is_empty() || store.is_read_only() {
        return;
    }
    match Store::open(store.dir()) {
        Ok(own) => {
            let growth: Arc<Growth> = Arc::default();
            Publisher::begin(Arc::new(own), growth, ledger.publish_every, places(ledger), Arc::new(tell))
                .end(LAST);
        }
        Err(error) => warn(&format!("the checkpoint could not be published: {error}")),
    }
}

/// The places that the config names.
pub fn places(ledger: &Ledger) -> Vec<Place> {
    let place = |publish: &waxseal_policy::Publish| {
        let to = match &publish.to {
            PublishTo::Directory(path) => To::Directory(PathBuf::from(path)),
            PublishTo::Command(argv) => To::Command(argv.clone()),
            PublishTo::Witness { url, key } => {
                // The config was refused where this is none.
                let key = WitnessKey::parse(key).ok()?;
                To::Witness(Box::new(Witness { url: url.clone(), key }))
            }
        };
        Some(Place { name: publish.name.clone(), timeout: publish.timeout, to })
    };
    ledger.publish.iter().filter_map(place).collect()
}

/// Whether the keys of all witnesses are keys.
///
/// # Errors
/// When one is not.
pub fn check_keys(ledger: &Ledger) -> anyhow::Result<()> {
    for publish in &ledger.publish {
        if let PublishTo::Witness { key, .. } = &publish.to
            && let Err(error) = WitnessKey::parse(key)
        {
            let hint = "a witness's key is a line `<name>+<id>+<key>` of the kind for cosignatures";
            bail!("the place for checkpoints \"{}\": its `key` is none: {error}; {hint}", publish.name);
        }
    }
    Ok(())
}

fn tell(news: News) {
    let place = news.place;
    match news.outcome {
        Ok(size) => {
            let leaves = describe::counted(size, "leaf", "leaves");
            warn(&format!("checkpoints are published to \"{place}\" again, the last one of {leaves}"));
        }
        Err(error) => warn(&format!("the checkpoint could not be published to \"{place}\": {error}")),
    }
}
