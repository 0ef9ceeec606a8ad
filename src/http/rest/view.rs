//! `view` and `roots` of a query: what is to be shown of a document, and how.

use yhub_content::{Looks, UpdateError};
use yhub_documents::view::{Form, Shown, ViewError, show as show_document};

use yhub_encoding::Any;

use super::answer::Body;
use crate::http::HttpError;

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
        Ok(Self { form, roots: roots.iter().map(looks).collect::<Result<_, _>>()? })
    }
}

/// The body of the answer. For the compute pool.
pub(super) fn show(update: &[u8], view: &View) -> Result<Body, HttpError> {
    match show_document(update, view.form, &view.roots) {
        Ok(Shown::Values(object)) => Ok(Body::Encoded(Any::Object(object).to_bytes().into())),
        // Never as XML: what users write would be a page of ours then.
        Ok(Shown::Text(text)) => Ok(Body::Text("text/plain; charset=utf-8", text)),
        Err(ViewError::Document(error @ (UpdateError::NestedTooDeep { .. } | UpdateError::TooManySteps))) => {
            Err(HttpError::TooCostly { what: error.to_string() })
        }
        Err(error @ ViewError::Unreadable { .. }) => Err(HttpError::NotShown { what: error.to_string() }),
        Err(ViewError::Document(error)) => {
            log::error!("a document cannot be shown: {error}");
            Err(HttpError::Internal)
        }
    }
}
