//! Moves of which a look saw only one end, because the other lies outside of what was looked at.

use super::{Change, Findings, change_from, object_key};
use crate::error::StoreError;
use std::collections::HashSet;
use waxseal_model::change::Seen;
use waxseal_model::{FileState, RawPath};

/// Objects with their contents that were found under names where they were not sealed.
#[derive(Debug, Default)]
pub struct Appeared(HashSet<Vec<u8>>);

impl Appeared {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this sealed state is one of them, so that its name may be where it came from.
    pub fn holds(&self, sealed: &FileState) -> bool {
        let seen = Seen { state: sealed.clone(), user: None, group: None };
        object_key(Some(&seen)).is_some_and(|key| self.0.contains(&key))
    }
}

impl Findings {
    /// What appeared, as far as the findings do not say yet where it came from.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn appeared(&self) -> Result<Appeared, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT object_after FROM temp.found WHERE kind != 'removed' AND object_after IS NOT NULL
                AND object_before IS NOT object_after AND from_path IS NULL",
        )?;
        let keys = query.query_map([], |row| row.get(0))?;
        Ok(Appeared(keys.collect::<Result<_, _>>()?))
    }

    /// Where, by the open changes, that came from which was found now without an origin.
    ///
    /// # Errors
    /// As the database says.
    pub fn recorded_origins(&self) -> Result<Vec<RawPath>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT change.from_path FROM temp.found AS found CROSS JOIN change
                ON change.path = found.path AND change.status = 'open'
             WHERE found.kind != 'removed' AND found.from_path IS NULL AND change.from_path IS NOT NULL",
        )?;
        let paths = query.query_map([], |row| row.get::<_, Vec<u8>>(0).map(RawPath::new))?;
        Ok(paths.collect::<Result<_, _>>()?)
    }

    /// The open changes which say that what is missing now has moved.
    ///
    /// # Errors
    /// As the database says.
    pub fn recorded_moves(&self) -> Result<Vec<Change>, StoreError> {
        let sql = format!(
            "SELECT {} FROM change WHERE status = 'open' AND from_path IS NOT NULL AND kind = 'moved'
                AND EXISTS (SELECT 1 FROM temp.found AS found
                    WHERE found.path = change.from_path AND found.kind = 'removed')",
            super::CHANGE_COLUMNS
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let changes = query.query_map([], change_from)?;
        Ok(changes.collect::<Result<_, _>>()?)
    }

    /// Takes the finding of a path back.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn retract(&self, path: &RawPath) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("DELETE FROM temp.found WHERE path = ?1")?
            .execute([path.as_bytes()])?;
        Ok(())
    }
}
