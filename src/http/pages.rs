//! The page at `/`, for whoever opens the hub's address in a browser.

use actix_web::{HttpResponse, http::header, web};

/// What the page says.
pub(super) struct Welcome(String);

impl Welcome {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!(
            "yhub {}\n\nThis is a hub for Yjs documents. Clients connect to\n\n    ws://HOST/{prefix}/ws/v1/{{org}}/{{docid}}\n\n\
             with the host and port of this page. Back ends: /{prefix}/docs. Health: /healthz, /readyz.\n",
            env!("CARGO_PKG_VERSION")
        ))
    }
}

/// Plain text, so that nothing in it can be taken for markup.
pub(super) async fn welcome(page: web::Data<Welcome>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(page.0.clone())
}
