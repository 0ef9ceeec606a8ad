//! `view` and `roots` of a query: what is to be shown of a document, and how.

use std::{collections::HashSet, sync::Arc};

use yhub_content::{Looks, UpdateError};
use yhub_core::RoomId;
use yhub_documents::view::{Form, Shown, ViewError};

use super::{Rest, answer::Body, outgoing::Held, values::quoted};
use crate::http::HttpError;

/// Roots that a view may name. Editors keep a handful, and each one named is looked up and shown by itself; who wants all names none.
pub(super) const MAX_ROOTS: usize = 256;

/// What is to be shown.
#[derive(Debug)]
pub(super) struct View {
    form: Form,
    roots: Vec<(String, Looks)>,
}

impl View {
    /// `form` is one of `json`, `text` and `xml`.
    pub(super) fn new(form: &str, roots: &[(String, String)]) -> Result<Self, HttpError> {
        let form = match form {
            "text" => Form::Text,
            "xml" => Form::Xml,
            _ => Form::Json,
        };
        let looks = |(name, kind): &(String, String)| {
            let looks = match &**kind {
                "text" => Looks::Text,
                "array" => Looks::Array,
                "map" => Looks::Map,
                "xml" => Looks::Xml,
                _ => {
                    return Err(HttpError::InvalidQuery {
                        what: "invalid query: [roots] is not of the form `name:kind,…` with text, array, map or xml".into(),
                    });
                }
            };
            Ok((name.clone(), looks))
        };
        let invalid = |what: String| HttpError::InvalidQuery { what: format!("invalid query: [roots] {what}") };
        if roots.len() > MAX_ROOTS {
            return Err(invalid(format!("names {} roots, and {MAX_ROOTS} are taken; give none for all of them", roots.len())));
        }
        // Also as something else: it would be shown as often as it is named, however large it is.
        let mut names = HashSet::new();
        if let Some((twice, _)) = roots.iter().find(|(name, _)| !names.insert(name)) {
            return Err(invalid(format!("names {} twice", quoted(twice))));
        }
        Ok(Self { form, roots: roots.iter().map(looks).collect::<Result<_, _>>()? })
    }
}

impl Rest {
    /// What `view` shows of a document that was loaded: the body of the answer.
    pub(super) async fn shown(&self, room: &RoomId, document: Arc<Held>, view: View) -> Result<Body, HttpError> {
        let shown = self.documents.view(room, document.base.clone(), view.form, view.roots).await;
        // The document is let go of here: from now on there is what is shown of it.
        drop(document);
        match shown.map_err(|error| HttpError::of_documents(&error))? {
            Ok(Shown::Values(object)) => Ok(Body::Encoded(object)),
            // Never as XML: what users write would be a page of ours then.
            Ok(Shown::Text(text)) => Ok(Body::Text("text/plain; charset=utf-8", text)),
            Err(
                error @ (ViewError::TooDeep { .. }
                | ViewError::Document(UpdateError::NestedTooDeep { .. } | UpdateError::TooManySteps)),
            ) => Err(HttpError::TooCostly { what: error.to_string() }),
            Err(error @ ViewError::Unreadable { .. }) => Err(HttpError::NotShown { what: error.to_string() }),
            Err(ViewError::Document(error)) => {
                log::error!(room:% = room; "the document of room {room} cannot be shown: {error}");
                Err(HttpError::Internal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_named_once_and_not_too_many_are() {
        let named = |count: usize| (0..count).map(|at| (format!("root {at}"), "text".to_owned())).collect::<Vec<_>>();
        assert_eq!(View::new("text", &named(MAX_ROOTS)).unwrap().roots.len(), MAX_ROOTS);
        let why = |roots: &[(String, String)]| View::new("json", roots).unwrap_err().to_string();
        assert!(why(&named(MAX_ROOTS + 1)).starts_with("invalid query: [roots] names 257 roots"));
        let twice = [named(1), vec![("root 0".into(), "map".into())]].concat();
        assert_eq!(why(&twice), "invalid query: [roots] names \"root 0\" twice");
    }
}
