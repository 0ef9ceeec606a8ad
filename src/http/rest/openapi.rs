//! The description of the API, made from the table of endpoints, and a page on which it can be tried.

use actix_web::{HttpRequest, HttpResponse, Responder, http::header};
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Kind, Param, Scope};
use crate::http::{
    HttpError,
    error::{JSON, LIB0_ANY},
};

const PAGE: &str = include_str!("try.html");
const SCRIPT: &str = include_str!("try.js");

/// What describes the API to people and programs.
pub(crate) struct Files {
    description: String,
}

impl Files {
    /// Of an API whose paths begin with `root`, which ends in a slash.
    pub(crate) fn new(root: &str) -> Self {
        Self { description: openapi(root.trim_matches('/')) }
    }

    /// One of the files at `path` below the root, if it is one.
    pub(crate) fn answer(&self, request: &HttpRequest, path: &str) -> Option<HttpResponse> {
        let (media_type, body) = match path {
            "openapi.json" => (JSON, self.description.clone()),
            "docs" => ("text/html; charset=utf-8", PAGE.to_owned()),
            "docs.js" => ("text/javascript; charset=utf-8", SCRIPT.to_owned()),
            _ => return None,
        };
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            return Some(HttpError::MethodNotAllowed { allow: "GET, HEAD".into() }.respond_to(request));
        }
        let mut response = HttpResponse::Ok();
        response.content_type(media_type).insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        response.insert_header((header::CACHE_CONTROL, "no-cache"));
        response.insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ));
        Some(response.body(body))
    }
}

/// The description of the API under `prefix`, as a document of OpenAPI 3.1 in JSON.
pub fn openapi(prefix: &str) -> String {
    format!("{:#}\n", description(prefix, &super::endpoints().collect::<Vec<_>>()))
}

/// The document of OpenAPI 3.1.
fn description(prefix: &str, endpoints: &[&Endpoint]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let path = paths
            .entry(format!("{}/{}", if prefix.is_empty() { String::new() } else { format!("/{prefix}") }, endpoint.path()))
            .or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "yhub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Yjs documents over HTTP. Bodies are lib0-any; with `Accept: application/json` answers are JSON, and with \
                            `Content-Type: application/json` bodies are. In JSON, bytes are base64. Statuses 4xx are final, 429 and 5xx \
                            may be tried again.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "code"],
                    "properties": { "error": { "type": "string" }, "code": { "type": "string" } },
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let (noun, _) = endpoint.name.split_once('/').unwrap_or((endpoint.name, ""));
    let is_also_of_a_room = super::endpoints().any(|other| other.name == endpoint.name && other.scope == Scope::Room);
    let scope = if endpoint.scope == Scope::Org && is_also_of_a_room { "_org" } else { "" };
    let id = format!("{}_{noun}{scope}{}", endpoint.method.as_str().to_ascii_lowercase(), endpoint.tail.replace('/', "_"));
    let mut operation = json!({
        "operationId": id,
        "tags": [noun],
        "summary": endpoint.summary,
        "description": endpoint.about,
        "x-right": endpoint.needs.name(),
        "x-right-if": endpoint.needs_if.map(|(parameter, right)| json!({ parameter: right.name() })),
        "parameters": parameters(endpoint),
        "responses": responses(endpoint),
    });
    if let Some(fields) = endpoint.body {
        let properties: Map<String, Value> =
            fields.iter().map(|field| (field.name.to_owned(), described(schema(field.kind, false), field.about))).collect();
        operation["requestBody"] = json!({
            "content": {
                JSON: { "schema": { "type": "object", "properties": properties, "additionalProperties": false } },
                LIB0_ANY: { "schema": { "type": "string", "format": "binary" } },
            },
        });
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let of_path = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": name_schema(512) });
    let of_header =
        |name: &str, about: &str| json!({ "name": name, "in": "header", "description": about, "schema": { "type": "string" } });
    let mut parameters = vec![of_path("org")];
    if endpoint.scope == Scope::Room {
        parameters.push(of_path("docid"));
    }
    let common = [
        Param { name: "branch", kind: Kind::Text, about: "The line of edits of the document. `main` if not given." },
        Param { name: "user", kind: Kind::Text, about: "Who writes, where nobody has to show it, or with the right `act-as`." },
    ];
    let common = common.iter().filter(|param| param.name != "branch" || endpoint.scope == Scope::Room);
    parameters.extend(
        common
            .chain(endpoint.query)
            .map(|param| json!({ "name": param.name, "in": "query", "description": param.about, "schema": schema_of(param) })),
    );
    if endpoint.conditional {
        parameters
            .push(of_header("If-Match", "Only if the last change of the document is still the one with this ETag; else 412."));
    }
    if endpoint.takes_key() {
        let about = "Of requests of one caller with one key, the first is carried out and the others are given its answer, for a day; \
                     for ten minutes if it changed nothing.";
        parameters.push(of_header("Idempotency-Key", about));
    }
    if endpoint.is_tagged() {
        parameters.push(of_header("If-None-Match", "The ETag of an answer that is at hand: 304 if it is still right."));
    }
    parameters
}

/// A name: what bounds it in characters is a bound in bytes.
fn name_schema(max_bytes: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": max_bytes / 4, "pattern": "^[^\\u0000]+$" })
}

/// The schema of a parameter of the query.
fn schema_of(param: &Param) -> Value {
    match param.name {
        "branch" => name_schema(512),
        "user" => name_schema(256),
        _ => schema(param.kind, true),
    }
}

fn schema(kind: Kind, in_query: bool) -> Value {
    match kind {
        Kind::Number => json!({ "type": "number", "minimum": 0 }),
        Kind::Count => json!({ "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Bytes => json!({ "type": "string", "format": "byte" }),
        Kind::Value(form) => json!({ "description": form }),
        Kind::Pairs if in_query => json!({ "type": "string" }),
        Kind::Pairs => json!({
            "type": "array",
            "items": {
                "type": "object",
                "required": ["k", "v"],
                "properties": { "k": { "type": "string" }, "v": { "type": "string" } },
                "additionalProperties": false,
            },
        }),
    }
}

fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

fn responses(endpoint: &Endpoint) -> Value {
    let returns = &endpoint.returns;
    let properties: Map<String, Value> =
        returns.fields.iter().map(|field| (field.name.to_owned(), described(schema(field.kind, false), field.about))).collect();
    let mut responses = json!({
        "200": {
            "description": returns.about,
            "content": {
                JSON: { "schema": { "type": "object", "properties": properties } },
                LIB0_ANY: { "schema": { "type": "string", "format": "binary" } },
            },
        },
    });
    if returns.or_text {
        responses["200"]["content"]["text/plain"] = json!({ "schema": { "type": "string" } });
    }
    let errors = [
        ("400", "Something in the request is not what it should be; the text says what.", true),
        ("401", "The caller shows no credential, or one that is not valid.", true),
        ("403", "The caller may not do that.", true),
        ("404", "The document was deleted (`doc-deleted`), or there is nothing at this path.", true),
        ("408", "The body did not come in time.", endpoint.body.is_some()),
        ("409", "A hold is on the document, or it was deleted for good.", endpoint.needs.changes()),
        ("412", "The document has changed since.", endpoint.conditional),
        ("413", "The body is too long, or the document would be.", endpoint.body.is_some()),
        ("422", "It takes more than may be, or the idempotency key was used for something else.", true),
        ("429", "That is too often, or too much at once; try again after `Retry-After` seconds.", true),
        ("431", "The head of the request is too long.", true),
        ("500", "Something of the hub failed.", true),
        ("503", "Something that the answer needs is not there now; try again.", true),
    ];
    for (status, about, _) in errors.into_iter().filter(|(_, _, applies)| *applies) {
        let error = json!({ "schema": { "$ref": "#/components/schemas/Error" } });
        responses[status] = json!({ "description": about, "content": { JSON: error } });
    }
    if endpoint.is_tagged() {
        responses["304"] = json!({ "description": "The answer at hand is still right." });
    }
    responses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_described_where_it_is_taken() {
        for endpoint in super::super::endpoints() {
            let parameters = parameters(endpoint);
            let is_described = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
            assert_eq!(is_described, endpoint.takes_key(), "{} {}", endpoint.method, endpoint.path());
            assert!(endpoint.needs.changes() || !is_described);
        }
    }

    #[test]
    fn every_endpoint_is_described_once() {
        let endpoints: Vec<&Endpoint> = super::super::endpoints().collect();
        let description = description("api", &endpoints);
        let described: usize =
            description["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, endpoints.len());
        let mut ids: Vec<_> =
            endpoints.iter().map(|endpoint| operation(endpoint)["operationId"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), endpoints.len(), "{ids:?}");
    }
}
