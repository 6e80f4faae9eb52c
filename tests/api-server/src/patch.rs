use serde_json::Value;

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

/// Takes away what a manager applied before and applies no more. Lists are taken as a whole, which
/// is right for one manager alone.
pub(crate) fn withdraw(object: &mut Value, before: &Value, now: &Value) {
    let (Value::Object(found), Value::Object(before)) = (object, before) else {
        return;
    };
    for (field, former) in before {
        match now.get(field) {
            None => {
                found.remove(field);
            }
            Some(wanted) => {
                if let Some(inner) = found.get_mut(field) {
                    withdraw(inner, former, wanted);
                }
            }
        }
    }
}
