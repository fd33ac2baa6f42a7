//! What the threads that scan say to the engine, and what it does about it.

use super::Event;
use super::engine::{Engine, is_passing};
use crate::check::Request;
use crate::coverage::Coverage;
use crate::error::EngineError;
use crate::seal::Trouble;
use std::sync::{Arc, mpsc};
use waxseal_model::{SetId, Source};
use waxseal_observe::Options;
use waxseal_observe::now;
use waxseal_store::{Baseline, FullScan, Place, ScanKind, ScanRecord, StoreError};

/// Something for the engine.
#[derive(Debug)]
pub enum Word {
    /// A scan begins and wants to know of what.
    Begin(mpsc::Sender<Brief>),
    /// These places may differ from what is on record.
    Found(Found),
    /// A scan has come a step further, with what it could not look at; all that it found is on record.
    Step(Vec<Trouble>, Step),
    /// No scan is possible any more.
    Failed(EngineError),
}

/// What is to be scanned.
#[derive(Debug)]
pub struct Brief {
    /// What is watched, and by which rules.
    pub coverage: Coverage,
    /// How contents are hashed.
    pub options: Options,
    /// What the disk is held against.
    pub baseline: Arc<Baseline>,
    /// Only these places, if there are any.
    pub targets: Vec<Place>,
}

/// Places that a scan found to differ.
#[derive(Debug)]
pub struct Found {
    pub places: Vec<Place>,
    /// What the change set is called.
    pub cause: &'static str,
    /// The set that this scan opened before.
    pub set: Option<SetId>,
    /// Where to say what became of it.
    pub answer: mpsc::Sender<Recorded>,
}

/// What became of a look.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Whether what differs is on record now.
    pub is_recorded: bool,
    /// The set of a change that was opened.
    pub set: Option<SetId>,
    /// What could not be looked at.
    pub troubles: Vec<Trouble>,
}

/// How far a scan is.
#[derive(Debug)]
pub enum Step {
    /// Where it was.
    None,
    /// A full scan is so far.
    Went(FullScan),
    /// It has ended. The record is of a scan of everything.
    Ended(ScanKind, Option<ScanRecord>),
}

impl Engine<'_> {
    /// Does what a scan wants.
    ///
    /// # Errors
    /// When the baseline or the database cannot be read.
    pub fn hear(&mut self, word: Word) -> Result<(), EngineError> {
        match word {
            Word::Begin(answer) => {
                if self.only.is_empty() {
                    // What a glob matches may have come since: scans of everything look for it.
                    self.grow();
                }
                let (coverage, options) = (self.rules.coverage.clone(), self.rules.options);
                let baseline = Arc::clone(&self.baseline);
                let _ = answer.send(Brief { coverage, options, baseline, targets: self.everything() });
                Ok(())
            }
            Word::Found(Found { places, cause, set, answer }) => {
                let targets = self.of_interest(places);
                // Nothing can be recorded while it is blind; the scan comes again with it.
                let is_recorded = self.blind.is_none();
                let mut recorded = Recorded { is_recorded, ..Recorded::default() };
                if is_recorded && !targets.is_empty() {
                    recorded = self.look_at(Request {
                        targets,
                        quick: false,
                        source: Source::Scan,
                        cause: cause.to_owned(),
                        set,
                        speaks_of_coverage: false,
                        written: None,
                    })?;
                }
                let _ = answer.send(recorded);
                Ok(())
            }
            Word::Step(troubles, step) => {
                for trouble in troubles {
                    (self.tell)(Event::Trouble(trouble));
                }
                match self.note_step(&step) {
                    Err(error) if !is_passing(&error) => Err(error.into()),
                    _ => Ok(()),
                }
            }
            Word::Failed(error) => Err(error),
        }
    }

    fn note_step(&self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::None => Ok(()),
            Step::Went(scan) => self.store.set_full_scan(scan),
            Step::Ended(ScanKind::Full, record) => self.store.end_full_scan(record.as_ref(), now()),
            Step::Ended(kind, Some(record)) => self.store.add_scan(*kind, record, now()),
            Step::Ended(_, None) => Ok(()),
        }
    }
}
