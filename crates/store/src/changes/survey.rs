//! What a look found that is not on record, without recording it: for looks beside the one that records, whose findings
//! may be stale by the time they would be.

use super::commit::{is_same, no_longer_found, open_change};
use super::{Findings, Place, Rules, found_from};
use crate::error::StoreError;
use rusqlite::types::ValueRef;
use waxseal_model::RawPath;

/// Some of the paths that are not as the record says.
#[derive(Debug, Default)]
pub struct Page {
    /// The paths; those that a move links stand together.
    pub paths: Vec<RawPath>,
    /// Where to go on; `None` when that was all.
    pub last: Option<RawPath>,
}

impl Findings {
    /// Adds a path of which only that is known that it is to be looked at.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn note(&self, path: &RawPath) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO temp.found(path) VALUES (?1)")?
            .execute([path.as_bytes()])?;
        Ok(())
    }

    /// Pairs what was removed with what appeared elsewhere, as [`Findings::commit`] would.
    ///
    /// # Errors
    /// As the temporary file says.
    pub fn pair(&self, rules: &dyn Rules) -> Result<(), StoreError> {
        self.pair_moves(rules)
    }

    /// At least `most` of the found paths, if there are so many, that are not on record by now exactly as they were
    /// found, from `after` on.
    ///
    /// # Errors
    /// As the database says.
    pub fn unrecorded(
        &self,
        rules: &dyn Rules,
        after: Option<&RawPath>,
        most: usize,
    ) -> Result<Page, StoreError> {
        let sql = format!("SELECT {} FROM temp.found WHERE path > ?1 ORDER BY path", super::SHARED);
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query([after.map(RawPath::as_bytes).unwrap_or_default()])?;
        let mut page = Page::default();
        while let Some(row) = rows.next()? {
            let path = RawPath::new(row.get::<_, Vec<u8>>(0)?);
            // Without a kind it was only noted.
            if !matches!(row.get_ref(2)?, ValueRef::Null) {
                let found = found_from(row)?;
                let open = open_change(&self.connection, &path)?;
                if open.is_some_and(|open| is_same(&open, &found, rules)) {
                    continue;
                }
                page.paths.extend(found.from);
            }
            page.paths.push(path.clone());
            if page.paths.len() >= most {
                page.last = Some(path);
                break;
            }
        }
        Ok(page)
    }

    /// The paths of open changes in scope that were not found although they could be seen: they may be over.
    ///
    /// # Errors
    /// As the database says.
    pub fn not_found_again(
        &self,
        scope: &[Place],
        looked_at: &dyn Fn(&RawPath) -> bool,
    ) -> Result<Vec<RawPath>, StoreError> {
        let mut over = Vec::new();
        no_longer_found(&self.connection, scope, looked_at, &mut |_, path| over.push(path))?;
        Ok(over)
    }
}
