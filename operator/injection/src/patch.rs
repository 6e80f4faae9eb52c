use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde::Serialize;
use serde_json::Value;

use crate::Refusal;

/// Collects the operations of a patch.
///
/// They name what changes and nothing else, so that fields that this version does not know stay as
/// they are.
#[derive(Default)]
pub(crate) struct Changes {
    operations: Vec<PatchOperation>,
}

impl Changes {
    pub(crate) fn add<'a>(&mut self, path: impl IntoIterator<Item = &'a str>, value: Value) {
        let path = PointerBuf::from_tokens(path);
        self.operations
            .push(PatchOperation::Add(AddOperation { path, value }));
    }

    pub(crate) fn replace<'a>(&mut self, path: impl IntoIterator<Item = &'a str>, value: Value) {
        let path = PointerBuf::from_tokens(path);
        self.operations
            .push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    pub(crate) fn remove<'a>(&mut self, path: impl IntoIterator<Item = &'a str>) {
        let path = PointerBuf::from_tokens(path);
        self.operations
            .push(PatchOperation::Remove(RemoveOperation { path }));
    }

    /// Adds a list or a map where there is none.
    pub(crate) fn ensure<'a>(
        &mut self,
        present: bool,
        path: impl IntoIterator<Item = &'a str>,
        empty: Value,
    ) {
        if !present {
            self.add(path, empty);
        }
    }

    pub(crate) fn into_patch(self) -> Patch {
        Patch(self.operations)
    }
}

/// The JSON form of something of ours.
pub(crate) fn json(what: &str, value: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|error| unwritable(what, &error))
}

pub(crate) fn unwritable(what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::Unwritable {
        what: what.to_owned(),
        message: error.to_string(),
    }
}
