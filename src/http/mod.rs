//! What the hub answers over plain HTTP: health, a page that says where to connect, and errors in one form.
//!
//! WebSocket upgrades do not pass here: they are in `ws`, which uses the same errors.

mod cors;
mod error;
mod health;
mod pages;
mod rest;

use std::sync::Arc;

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Scope, guard,
    web::{self, ServiceConfig},
};

use crate::{Backend, mount::Connection, origin::Origins};
pub use error::HttpError;
pub use health::Readiness;
pub(crate) use rest::Rest;
use rest::openapi::Files;
pub use rest::{openapi::openapi, reference::reference};

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
pub(crate) fn api(prefix: &str, origins: Origins, rest: Arc<Rest>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let api = Api::at(prefix, origins, rest);
    move |app| {
        app.service(web::resource(format!("{}{{path}}*", api.root)).app_data(web::Data::new(api)).to(answer));
    }
}

/// The documents of `backend` over HTTP as a scope: `{name}/v1/…` below `path`, which is the whole path from the root of the server,
/// so not within another scope. Pages of other origins are let in as `backend`'s configuration says.
///
/// ```no_run
/// # use actix_web::{App, HttpServer, web};
/// # async fn run(backend: yhub::Backend) -> std::io::Result<()> {
/// let backend = web::Data::new(backend);
/// HttpServer::new(move || {
///     App::new().service(yhub::scope("/api/ws/v1", &backend)).service(yhub::http::rest_scope("/api", &backend))
/// })
/// # .bind(("127.0.0.1", 4400))?.run().await
/// # }
/// ```
pub fn rest_scope(path: &str, backend: &Backend) -> Scope {
    let door = backend.door();
    let api = Api::at(path, door.gate.origins().clone(), door.rest.clone());
    web::scope(api.root.trim_end_matches('/')).app_data(web::Data::new(api)).default_service(web::to(answer))
}

/// What answers below the prefix.
struct Api {
    root: String,
    origins: Origins,
    rest: Arc<Rest>,
    files: Files,
}

impl Api {
    /// Below `path`, from the root of the server.
    fn at(path: &str, origins: Origins, rest: Arc<Rest>) -> Self {
        let path = path.trim_matches('/');
        let root = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        Self { files: Files::new(&root), root, origins, rest }
    }
}

/// Paths are read as they arrive: what the server has decoded of them does not tell a `/` in a name from one between names.
async fn answer(request: HttpRequest, payload: web::Payload, api: web::Data<Api>) -> HttpResponse {
    let judged = api.origins.judge_request(request.headers());
    if let Err(refused) = &judged {
        api.rest.refused_page(&request, refused);
    }
    let mut response = match (&judged, request.uri().path().strip_prefix(&api.root)) {
        (Err(refused), _) => refused.clone().respond_to(&request),
        (Ok(_), _) if cors::is_preflight(&request) => cors::preflight(),
        (Ok(_), Some(path)) => match api.files.answer(&request, path) {
            Some(file) => file,
            None => api.rest.serve(&request, payload, path).await,
        },
        (Ok(_), None) => HttpError::NotFound.respond_to(&request),
    };
    cors::mark(&mut response, judged.as_ref().ok());
    match Connection::of(&request) {
        Some(connection) => connection.watch(response),
        None => response,
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
