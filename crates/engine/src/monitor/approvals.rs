//! Baselines that are sealed while the monitor runs: by `approve`, in another process.

use super::Event;
use super::engine::{Engine, is_passing};
use crate::error::EngineError;
use crate::seal::Trouble;
use std::sync::Arc;

impl Engine<'_> {
    /// Takes over the newest baseline, if it is another than before and its seal holds, and tells what was approved. One whose
    /// seal is broken is told once, and the one before stays in force.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn renew(&mut self) -> Result<(), EngineError> {
        let newest = match self.store.newest_generation() {
            Ok(newest) => newest,
            Err(error) if is_passing(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for generation in self.newest + 1..=newest {
            let Some(baseline) = self.store.baseline(Some(generation))? else { continue };
            if let Err(why) = (self.trust)(&baseline) {
                let message = format!(
                    "the seal of baseline {generation} is broken: {why}; what was sealed before stays in force"
                );
                (self.tell)(Event::Trouble(Trouble { path: None, message }));
                continue;
            }
            for change in self.store.approved_at(baseline.stored.time)? {
                change.after.iter().for_each(|seen| self.objects.add(&seen.state));
                (self.tell)(Event::Approved(Box::new(change)));
            }
            self.baseline = Arc::new(baseline);
            (self.tell)(Event::Sealed(Arc::clone(&self.baseline)));
        }
        self.newest = newest.max(self.newest);
        Ok(())
    }
}
