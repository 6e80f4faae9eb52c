use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::PathError;

/// All but the unreserved characters of RFC 3986.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// HDFS takes no longer path.
const LONGEST: usize = 8000;

/// An absolute path without `.`, `..` and empty names, so that it means the same to everybody who
/// reads it on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HdfsPath(String);

impl HdfsPath {
    pub(crate) fn parse(path: &str) -> Result<HdfsPath, PathError> {
        let refuse = |why| {
            let path = path.to_owned();
            Err(PathError::Unusable { path, why })
        };
        if !path.starts_with('/') {
            return refuse("is not absolute");
        }
        if path.len() > LONGEST {
            return refuse("is longer than 8000 bytes");
        }
        if path.chars().any(char::is_control) {
            return refuse("has a control character in it");
        }
        let names = || path.split('/').filter(|name| !name.is_empty());
        if names().any(|name| name == "." || name == "..") {
            return refuse("has \".\" or \"..\" in it");
        }
        let normal: String = names().flat_map(|name| ["/", name]).collect();
        match normal.is_empty() {
            true => Ok(HdfsPath("/".to_owned())),
            false => Ok(HdfsPath(normal)),
        }
    }

    /// What is called so in this directory. `None` if it cannot be the name of a file.
    pub(crate) fn child(&self, name: &str) -> Option<HdfsPath> {
        let impossible = name.is_empty()
            || name == "."
            || name == ".."
            || name.contains('/')
            || self.0.len() + name.len() >= LONGEST;
        let parent = match self.0.as_str() {
            "/" => "",
            parent => parent,
        };
        (!impossible).then(|| HdfsPath(format!("{parent}/{name}")))
    }

    /// As part of a URI.
    pub(crate) fn encoded(&self) -> String {
        let encoded: Vec<String> = self.0.split('/').map(encode).collect();
        encoded.join("/")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HdfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name or a value as part of a URI.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_with_a_meaning_in_uris_are_encoded() {
        let path = HdfsPath::parse("/a b/50%+c:d/e?f#g/h;i=1&j/umläut").unwrap();
        assert_eq!(
            path.encoded(),
            "/a%20b/50%25%2Bc%3Ad/e%3Ff%23g/h%3Bi%3D1%26j/uml%C3%A4ut"
        );
    }

    #[test]
    fn paths_that_mean_something_else_to_somebody_are_refused() {
        for path in [
            "",
            "data",
            "data/x",
            "/data/../etc",
            "/..",
            "/a/./b",
            "/a\nb",
            "/a\0",
        ] {
            let refused = HdfsPath::parse(path);
            assert!(
                matches!(refused, Err(PathError::Unusable { .. })),
                "{path:?}"
            );
        }
        for (path, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("//a///b/", "/a/b"),
            ("/..a/b..", "/..a/b.."),
        ] {
            assert_eq!(HdfsPath::parse(path).unwrap().as_str(), normal);
        }
    }

    #[test]
    fn a_listing_cannot_lead_out_of_its_directory() {
        let directory = HdfsPath::parse("/data").unwrap();
        assert_eq!(directory.child("x").unwrap().as_str(), "/data/x");
        assert_eq!(
            HdfsPath::parse("/").unwrap().child("x").unwrap().as_str(),
            "/x"
        );
        for name in ["", ".", "..", "../x", "a/b", "/x"] {
            assert_eq!(directory.child(name), None, "{name:?}");
        }
    }
}
