/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchForm {
    Json,
    Merge,
    Apply,
}

impl PatchForm {
    pub(crate) fn of(content_type: &str) -> Option<PatchForm> {
        match content_type {
            "application/json-patch+json" => Some(PatchForm::Json),
            "application/merge-patch+json" => Some(PatchForm::Merge),
            "application/apply-patch+yaml" => Some(PatchForm::Apply),
            _ => None,
        }
    }
}
