//! Ids of texts and places that were written to a file before.
//!
//! The tables have no index by text: it would cost as much as the texts. What is not remembered is written again, which
//! readers do not notice.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, mem};

use rusqlite::{Transaction, params};

use super::StoreError;
use crate::Place;

/// How many texts, and how many places, a half of a memory takes.
const MOST: usize = 16 << 10;
/// A longer text is hardly ever repeated, and is not remembered.
const LONGEST: usize = 512;

/// The ids that are remembered.
#[derive(Default)]
pub(super) struct Ids {
    texts: Memory<String>,
    places: Memory<Place>,
}

impl Ids {
    /// The id of a text.
    pub(super) fn text(
        &mut self,
        transaction: &Transaction<'_>,
        text: &str,
    ) -> Result<i64, StoreError> {
        if let Some(id) = self.texts.get(text) {
            return Ok(id);
        }
        let mut insert = transaction.prepare_cached("INSERT INTO texts (text) VALUES (?1)")?;
        let id = insert.insert([text])?;
        if text.len() <= LONGEST {
            self.texts.put(text.to_owned(), id);
        }
        Ok(id)
    }

    /// The id of a place.
    pub(super) fn place(
        &mut self,
        transaction: &Transaction<'_>,
        place: &Place,
    ) -> Result<i64, StoreError> {
        if let Some(id) = self.places.get(place) {
            return Ok(id);
        }
        let sql = "INSERT INTO places
            (cgroup, engine, container_id, container, image, namespace, pod, unit)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let Place { cgroup, engine, container_id, container, image, namespace, pod, unit } = place;
        let mut insert = transaction.prepare_cached(sql)?;
        let id = insert.insert(params![
            cgroup,
            engine,
            container_id,
            container,
            image,
            namespace,
            pod,
            unit
        ])?;
        self.places.put(place.clone(), id);
        Ok(id)
    }
}

/// What was used lately. When the half that is filled is full, the other half is forgotten; what is used moves to the half
/// that is filled. So texts that occur once do not push out those that are repeated.
struct Memory<K> {
    filled: HashMap<K, i64>,
    full: HashMap<K, i64>,
}

impl<K> Default for Memory<K> {
    fn default() -> Self {
        Self { filled: HashMap::new(), full: HashMap::new() }
    }
}

impl<K: Eq + Hash> Memory<K> {
    fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<i64>
    where
        K: Borrow<Q>,
    {
        if let Some(id) = self.filled.get(key) {
            return Some(*id);
        }
        let (key, id) = self.full.remove_entry(key)?;
        self.put(key, id);
        Some(id)
    }

    fn put(&mut self, key: K, id: i64) {
        if self.filled.len() >= MOST {
            self.full = mem::take(&mut self.filled);
        }
        self.filled.insert(key, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_stays_and_the_rest_is_bounded() {
        let mut memory = Memory::<String>::default();
        memory.put("often".into(), -1);
        for id in 0..100_000 {
            memory.put(id.to_string(), id);
            if id % 10_000 == 0 {
                assert_eq!(memory.get("often"), Some(-1));
            }
        }
        assert!(memory.filled.len() + memory.full.len() <= 2 * MOST);
        assert_eq!((memory.get("0"), memory.get("99999")), (None, Some(99_999)));
    }
}
