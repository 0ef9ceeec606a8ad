//! What the hub answers over plain HTTP: health, a page that says where to connect, and errors in one form.
//!
//! WebSocket upgrades do not pass here: they are in `ws`, which uses the same errors.

mod error;
mod health;
mod pages;
mod rest;

use std::sync::Arc;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard,
    web::{self, ServiceConfig},
};

pub use error::HttpError;
pub use health::Readiness;
pub(crate) use rest::Rest;

/// The plain routes of a hub whose API lies under `prefix`, for `App::configure`; called once per worker.
pub fn routes(prefix: &str, readiness: Readiness) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let web_socket = format!("/{prefix}/ws/v1/{{org}}/{{docid}}");
    let welcome = pages::Welcome::new(prefix);
    move |app| {
        app.service(get("/healthz", health::healthz))
            .service(get("/readyz", health::readyz).app_data(web::Data::new(readiness)))
            .service(get("/", pages::welcome).app_data(web::Data::new(welcome)))
            .service(web::resource(web_socket).to(async || HttpError::UpgradeRequired))
            .default_service(web::to(async || HttpError::NotFound));
    }
}

/// The documents under `prefix`, to be configured after [`routes`].
pub(crate) fn api(prefix: &str, rest: Arc<Rest>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let root = format!("/{prefix}/");
    move |app| {
        app.service(web::resource(format!("{root}{{path}}*")).app_data(web::Data::new(Api { root, rest })).to(answer));
    }
}

/// What answers below the prefix.
struct Api {
    root: String,
    rest: Arc<Rest>,
}

/// Paths are read as they arrive: what the server has decoded of them does not tell a `/` in a name from one between names.
async fn answer(request: HttpRequest, payload: web::Payload, api: web::Data<Api>) -> HttpResponse {
    match request.uri().path().strip_prefix(&api.root) {
        Some(path) => api.rest.serve(&request, payload, path).await,
        None => HttpError::NotFound.respond_to(&request),
    }
}

/// A resource that answers GET and HEAD and refuses everything else.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let reading = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path)
        .route(web::route().guard(reading).to(handler))
        .default_service(web::to(async || HttpError::MethodNotAllowed { allow: "GET, HEAD".into() }))
}

#[cfg(test)]
mod tests;
