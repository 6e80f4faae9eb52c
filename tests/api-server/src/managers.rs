//! Who applied what: fields of an object by manager, as far as they were applied.

use std::collections::BTreeMap;

use serde_json::Value;

/// What managers applied last, by path of the object and subresource, and by manager. Lists are
/// taken as a whole.
#[derive(Default)]
pub(crate) struct Managers(BTreeMap<String, BTreeMap<String, Value>>);

/// Who applies, and whether that takes fields away from others.
#[derive(Clone, Copy)]
pub(crate) struct Applying<'a> {
    pub(crate) manager: &'a str,
    pub(crate) force: bool,
}

impl Managers {
    /// Lets a manager apply `wanted` to `object`: what it applied before and applies no more goes,
    /// unless another has applied it too. Nothing is done when others have applied another value of
    /// a field, which is not to be taken away from them.
    pub(crate) fn apply(
        &mut self,
        key: &str,
        by: Applying<'_>,
        object: &mut Value,
        wanted: &Value,
    ) -> Result<(), Disputed> {
        let all = self.0.entry(key.to_owned()).or_default();
        let mut others = all.iter_mut().filter(|(name, _)| *name != by.manager);
        if !by.force && others.any(|(_, applied)| disagree(applied, wanted)) {
            return Err(Disputed);
        }
        let former = all.remove(by.manager).unwrap_or_default();
        for applied in all.values_mut() {
            yield_to(applied, wanted);
        }
        let kept: Vec<&Value> = all.values().collect();
        withdraw(object, &former, wanted, &kept);
        all.insert(by.manager.to_owned(), wanted.clone());
        Ok(())
    }

    /// Forgets an object.
    pub(crate) fn forget(&mut self, path: &str) {
        self.0.retain(|key, _| !key.starts_with(path));
    }
}

/// Others have applied another value.
pub(crate) struct Disputed;

/// Fields that say which object it is, and belong to nobody.
const IDENTITY: [&str; 6] = [
    "apiVersion",
    "kind",
    "name",
    "namespace",
    "resourceVersion",
    "uid",
];

fn disagree(applied: &Value, wanted: &Value) -> bool {
    let (Value::Object(applied), Value::Object(wanted)) = (applied, wanted) else {
        return applied != wanted;
    };
    applied.iter().any(|(name, value)| {
        let wanted = wanted.get(name);
        !IDENTITY.contains(&name.as_str()) && wanted.is_some_and(|wanted| disagree(value, wanted))
    })
}

/// Takes from what was applied the fields that somebody else sets to another value.
fn yield_to(applied: &mut Value, wanted: &Value) {
    let (Value::Object(applied), Value::Object(wanted)) = (applied, wanted) else {
        return;
    };
    applied.retain(|name, value| match wanted.get(name) {
        Some(wanted) if value.is_object() && wanted.is_object() => {
            yield_to(value, wanted);
            true
        }
        Some(wanted) => IDENTITY.contains(&name.as_str()) || value == wanted,
        None => true,
    });
}

/// Takes away what a manager applied before and applies no more.
fn withdraw(object: &mut Value, before: &Value, now: &Value, others: &[&Value]) {
    let (Value::Object(found), Value::Object(before)) = (object, before) else {
        return;
    };
    for (field, former) in before {
        let others: Vec<_> = others.iter().filter_map(|other| other.get(field)).collect();
        match now.get(field) {
            None if others.is_empty() => drop(found.remove(field)),
            None => {}
            Some(wanted) => {
                if let Some(inner) = found.get_mut(field) {
                    withdraw(inner, former, wanted, &others);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_its_managers_until_it_is_forced() {
        let mut managers = Managers::default();
        let mut object = json!({"data": {"a": "1"}});
        let by = |manager, force| Applying { manager, force };
        let mut apply = |by, data: Value| {
            let wanted = json!({"data": data});
            let done = managers.apply("x", by, &mut object, &wanted).is_ok();
            if done {
                json_patch::merge(&mut object, &wanted);
            }
            (done, object["data"].clone())
        };
        assert!(apply(by("one", false), json!({"a": "1", "b": "1"})).0);
        assert!(!apply(by("two", false), json!({"a": "2"})).0);
        assert!(apply(by("two", false), json!({"a": "1", "c": "2"})).0);
        // It is the other's too, and stays.
        let (_, data) = apply(by("two", false), json!({"c": "2"}));
        assert_eq!(data, json!({"a": "1", "b": "1", "c": "2"}));
        assert!(apply(by("two", true), json!({"a": "2", "c": "2"})).0);
        let (done, data) = apply(by("one", false), json!({"b": "1"}));
        assert_eq!((done, data), (true, json!({"a": "2", "b": "1", "c": "2"})));
    }
}
