//! Files that came with calls: in memory until they are handed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::channels::Offered;

/// A file of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its name, as the caller says; not safe.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The files that can be fetched. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>);

/// Files that can be fetched as long as it lives.
pub(super) struct Held {
    files: Files,
    pub(super) offered: Vec<Offered>,
}

impl Files {
    pub(super) fn hold(&self, files: Vec<File>) -> Held {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut offer = |file: File| {
            let reference = uuid::Uuid::new_v4().to_string();
            let bytes = Some(file.bytes.len() as u64);
            all.insert(reference.clone(), Arc::new(file.bytes));
            Offered { name: file.name, bytes, reference }
        };
        Held { files: self.clone(), offered: files.into_iter().map(&mut offer).collect() }
    }

    pub(super) fn get(&self, reference: &str) -> Option<Arc<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reference).cloned()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.files.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.offered.iter().for_each(|offered| _ = all.remove(&offered.reference));
    }
}
