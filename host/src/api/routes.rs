//! The table of all routes: what each is for, who may use it, and who carries it out. The router and
//! the OpenAPI document are both made of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::routing::{MethodFilter, MethodRouter};
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, RETRY_AFTER, SERVER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::access::Role;
use super::conversation::{BOUNDS, Bounds, Caller, Followed};
use super::idempotency::Kept;
use super::problem::{self, Problem};
use super::socket::SERVER_NAME;
use super::{Api, health, jobs, runs, stream, tcp};
use crate::clock::monotonic;
use crate::control::{Condition, ControlError};
use crate::job::JobId;
use crate::units::format_size;

/// How many bytes the body of a request may have.
pub(super) const BODY: usize = 1 << 20;

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// What a path does with a method.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// The path, with `{names}` of what it is about.
    pub(super) path: &'static str,
    /// Its name in the document.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) summary: &'static str,
    /// Who may use it; nothing where everybody may.
    pub(super) role: Option<Role>,
    /// What may be asked after the path: the name, its type, and what it is.
    pub(super) query: &'static [(&'static str, &'static str, &'static str)],
    /// What is sent.
    pub(super) sent: Sent,
    /// Whether it heeds `Idempotency-Key`.
    pub(super) once: bool,
    /// Whether it heeds `If-Match`.
    pub(super) conditional: bool,
    /// What it answers with.
    pub(super) media_types: &'static [&'static str],
    run: Handler,
}

/// What is sent with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing, or an empty object.
    Nothing,
    /// A JSON object.
    Json {
        /// Whether it is needed.
        required: bool,
    },
    /// A definition.
    Definition,
}

impl Route {
    /// The names in its path.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.path.split('/');
        segments.filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
    }
}

macro_rules! route {
    ($method:ident $path:literal $name:literal $summary:literal, $role:expr, $run:path $(, $key:ident: $value:expr)*) => {
        #[allow(clippy::needless_update)]
        Route {
            $($key: $value,)*
            ..Route {
                method: Method::$method,
                path: $path,
                name: $name,
                summary: $summary,
                role: $role,
                query: &[],
                sent: Sent::Nothing,
                once: false,
                conditional: false,
                media_types: &["application/json"],
                run: |call| Box::pin($run(call)),
            }
        }
    };
}

/// All routes.
pub(super) fn all() -> &'static [Route] {
    static ALL: LazyLock<Vec<Route>> = LazyLock::new(table);
    &ALL
}

fn table() -> Vec<Route> {
    const READ: Option<Role> = Some(Role::Read);
    const OPERATE: Option<Role> = Some(Role::Operate);
    const ADMIN: Option<Role> = Some(Role::Admin);
    let optional = Sent::Json { required: false };
    let required = Sent::Json { required: true };
    vec![
        route!(GET "/healthz" "healthz" "Whether the process lives", None, health::alive),
        route!(GET "/readyz" "readyz" "Whether the host can record runs", None, health::ready),
        route!(GET "/api/v1/openapi.json" "openapi" "This document", READ, health::document),
        route!(GET "/api/v1/status" "status" "How the host stands", READ, health::status),
        route!(GET "/api/v1/events" "events" "All that happens, as server-sent events", READ, stream::events,
            media_types: &[stream::EVENTS]),
        route!(GET "/api/v1/sources" "sources" "Where definitions come from, and how that stands", READ, jobs::sources),
        route!(GET "/api/v1/jobs" "jobs_list" "How each job in service stands", READ, jobs::list),
        route!(GET "/api/v1/jobs/{job}" "jobs_get" "A definition of the host's own", READ, jobs::get),
        route!(PUT "/api/v1/jobs/{job}" "jobs_put" "Keep a definition", ADMIN, jobs::put,
            sent: Sent::Definition, conditional: true),
        route!(PATCH "/api/v1/jobs/{job}" "jobs_patch" "Change some keys of a definition (RFC 7396)", ADMIN, jobs::patch,
            sent: required, conditional: true),
        route!(DELETE "/api/v1/jobs/{job}" "jobs_delete" "Give a definition up", ADMIN, jobs::remove,
            conditional: true),
        route!(GET "/api/v1/jobs/{job}/next" "jobs_next" "When a job is due next", READ, jobs::next,
            query: &[("count", "integer", "How many instants, 1 to 1000")]),
        route!(POST "/api/v1/jobs/{job}/trigger" "jobs_trigger" "Run a job now", OPERATE, jobs::trigger,
            sent: optional, once: true),
        route!(POST "/api/v1/jobs/{job}/backfill" "jobs_backfill" "Run a job for instants that have no run", OPERATE, jobs::backfill,
            sent: required, once: true),
        route!(POST "/api/v1/jobs/{job}/pause" "jobs_pause" "Hold a job back", OPERATE, jobs::pause),
        route!(POST "/api/v1/jobs/{job}/resume" "jobs_resume" "Let a job go on", OPERATE, jobs::resume),
        route!(POST "/api/v1/groups/{group}/pause" "groups_pause" "Hold a group back", OPERATE, jobs::pause_group),
        route!(POST "/api/v1/groups/{group}/resume" "groups_resume" "Let a group go on", OPERATE, jobs::resume_group),
        route!(POST "/api/v1/pause" "pause" "Hold all jobs back", OPERATE, jobs::pause_all),
        route!(POST "/api/v1/resume" "resume" "Let all jobs go on", OPERATE, jobs::resume_all),
        route!(GET "/api/v1/runs" "runs_list" "What has run and what has not, the newest first", READ, runs::list,
        query: &[
            ("job", "string", "Of this job"),
            ("outcome", "string", "Those that ended so, with commas between them"),
            ("since", "string", "Recorded at this instant or later"),
            ("before", "string", "Older than this run: `next` of the page before"),
            ("limit", "integer", "At most so many, 1 to 1000"),
        ]),
        route!(GET "/api/v1/runs/{run}" "runs_get" "All that is known of a run", READ, runs::get),
        route!(POST "/api/v1/runs/{run}/cancel" "runs_cancel" "End a run", OPERATE, runs::cancel),
        route!(POST "/api/v1/runs/{run}/rerun" "runs_rerun" "Run the job of a run again, with its parameters", OPERATE, runs::rerun,
            once: true),
        route!(GET "/api/v1/runs/{run}/logs" "runs_logs" "What a run logged", READ, runs::logs,
            media_types: &["application/x-ndjson", stream::EVENTS]),
    ]
}

/// What answers requests, whichever way they come.
pub(super) fn router(api: Arc<Api>) -> Router {
    let mut paths: Vec<(&'static str, Vec<&'static Route>)> = Vec::new();
    for route in all() {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    let mut router = Router::new();
    for (path, routes) in paths {
        let methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
        let allow = methods.join(", ");
        let mut by_method = MethodRouter::new().fallback(move |request: Request| {
            let allow = allow.clone();
            async move { to_response(wrong_method(&request, allow)) }
        });
        for route in routes {
            // Those of the table are known to it.
            let Ok(filter) = MethodFilter::try_from(route.method.clone()) else {
                continue;
            };
            by_method = by_method.on(filter, move |State(api): State<Arc<Api>>, request| {
                serve(api, route, request)
            });
        }
        router = router.route(path, by_method);
    }
    let router = router.fallback(|request: Request| async move {
        to_response(not_found(request.uri().path()).into())
    });
    router.with_state(api)
}

fn wrong_method(request: &Request, allow: String) -> Answer {
    let (path, method) = (request.uri().path(), request.method());
    let path: String = path.chars().take(200).collect();
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "urn:quarterjack:method",
        "Another method is needed",
        format!("{path} takes {allow}, not {method}"),
    );
    Answer {
        allow: Some(allow),
        ..problem.into()
    }
}

async fn serve(api: Arc<Api>, route: &'static Route, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let answer = answer(api, route, head, body).await;
    to_response(answer.unwrap_or_else(Answer::from))
}

async fn answer(
    api: Arc<Api>,
    route: &'static Route,
    mut head: Parts,
    body: Body,
) -> Result<Answer, Problem> {
    let caller = head.extensions.get::<Caller>().cloned();
    let name = allowed(caller, route)?;
    let bounds = head.extensions.get::<Bounds>().copied();
    let bounds = bounds.unwrap_or(BOUNDS);
    let Ok(params) = RawPathParams::from_request_parts(&mut head, &()).await else {
        return Err(Problem::bad_request(
            "the path is not text: write what is not ASCII as %XX of its UTF-8",
        ));
    };
    let param = params.iter().next().map(|(_, value)| value.to_owned());
    let body = collect(body, bounds).await?;
    let call = Call {
        api: api.clone(),
        by: Some(name.as_str())
            .filter(|name| !name.is_empty())
            .map(Arc::from),
        param: param.unwrap_or_default(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let key = call.header("idempotency-key").filter(|_| route.once);
    let Some(key) = key.map(str::to_owned) else {
        return (route.run)(call).await;
    };
    let mut request = Sha256::new();
    for part in [route.name.as_bytes(), call.param.as_bytes(), &call.body] {
        request.update((part.len() as u64).to_le_bytes());
        request.update(part);
    }
    let request = request.finalize().into();
    // Carried out to its end even if whoever asked has gone: what it did is to be kept.
    let carried_out = tokio::spawn(async move {
        match api.keys.begin(&name, &key, request, monotonic())? {
            Err(kept) => Ok(Answer {
                status: kept.status,
                ..Answer::new(kept.media_type, kept.body.to_vec())
            }),
            Ok(begun) => {
                let answer = (route.run)(call).await?;
                begun.answered(Kept {
                    status: answer.status,
                    media_type: answer.media_type,
                    body: answer.body.clone().into(),
                });
                Ok(answer)
            }
        }
    });
    carried_out.await.map_err(|_| ControlError::Stopping)?
}

/// Whether somebody may use a route; their name.
fn allowed(caller: Option<Caller>, route: &Route) -> Result<String, Problem> {
    let caller = caller.unwrap_or(Caller {
        name: String::new(),
        role: None,
    });
    let Some(needed) = route.role else {
        return Ok(caller.name);
    };
    match caller.role {
        Some(role) if role >= needed => Ok(caller.name),
        Some(_) if !caller.name.is_empty() => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "urn:quarterjack:forbidden",
            "The token does not allow for it",
            format!(
                "this needs the role {}, and the token `{}` has a lesser one",
                needed.as_str(),
                caller.name
            ),
        )),
        _ => Err(tcp::unauthorized(format!(
            "this needs a token of the role {0}: `quarterjack token add NAME --role {0}` makes one, and `Authorization: Bearer TOKEN` shows it",
            needed.as_str()
        ))),
    }
}

async fn collect(body: Body, bounds: Bounds) -> Result<Bytes, Problem> {
    match timeout(bounds.arrival, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "urn:quarterjack:too-large",
            "The request is too large",
            format!("the body has more than {}", format_size(BODY as u64)),
        )),
        Ok(Err(error)) => Err(Problem::bad_request(format!(
            "the body cannot be read: {error}"
        ))),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "urn:quarterjack:too-slow",
            "The request is too slow",
            format!(
                "the body did not come within {} s",
                bounds.arrival.as_secs()
            ),
        )),
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The methods that the path has, where another one was used.
    pub(super) allow: Option<String>,
    /// Which text the answer is about, where there may be another one.
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
    /// What is told bit by bit instead, and whether it goes on until somebody has enough.
    pub(super) streamed: Option<(Body, bool)>,
}

impl Answer {
    fn new(media_type: &'static str, body: Vec<u8>) -> Answer {
        Answer {
            status: StatusCode::OK,
            media_type,
            allow: None,
            etag: None,
            body,
            streamed: None,
        }
    }

    /// What was asked for.
    pub(super) fn ok(value: &impl Serialize) -> Answer {
        match serde_json::to_vec(value) {
            Ok(body) => Answer::new("application/json", body),
            Err(error) => Answer::from(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "urn:quarterjack:bug",
                "The host failed",
                format!("the answer cannot be written (a bug in the host): {error}"),
            )),
        }
    }

    /// What is told bit by bit.
    pub(super) fn streamed(media_type: &'static str, body: Body, followed: bool) -> Answer {
        Answer {
            streamed: Some((body, followed)),
            ..Answer::new(media_type, Vec::new())
        }
    }

    pub(super) fn with_etag(self, etag: String) -> Answer {
        Answer {
            etag: Some(etag),
            ..self
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        Answer {
            status: problem.status(),
            // Strings and a number: that can always be written.
            ..Answer::new(
                problem::MEDIA_TYPE,
                serde_json::to_vec(&problem).unwrap_or_default(),
            )
        }
    }
}

/// An answer as it is sent.
pub(super) fn to_response(answer: Answer) -> Response<Body> {
    let (body, followed) = match answer.streamed {
        Some(streamed) => streamed,
        None => (Body::from(answer.body), false),
    };
    let mut response = Response::new(body);
    if followed {
        response.extensions_mut().insert(Followed);
    }
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    say(CONTENT_TYPE, answer.media_type);
    say(SERVER, SERVER_NAME);
    say(CACHE_CONTROL, "no-store");
    match answer.status {
        StatusCode::UNAUTHORIZED => say(WWW_AUTHENTICATE, "Bearer"),
        StatusCode::TOO_MANY_REQUESTS => say(RETRY_AFTER, "1"),
        _ => {}
    }
    let allow = answer.allow.map(|allow| (ALLOW, allow));
    let etag = answer.etag.map(|etag| (ETAG, format!("\"{etag}\"")));
    for (name, value) in allow.into_iter().chain(etag) {
        // Methods and digits: that can always be sent.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// What is sent where there is nothing to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

/// What is asked.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    /// The name of the token that was shown; nothing for the owner of the host.
    pub(super) by: Option<Arc<str>>,
    param: String,
    query: String,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// What the path is about.
    pub(super) fn param(&self) -> &str {
        &self.param
    }

    /// The job that the path is about.
    pub(super) fn job(&self) -> JobId {
        JobId::from(self.param.as_str())
    }

    /// A header, as far as it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether server-sent events are wanted.
    pub(super) fn wants_events(&self) -> bool {
        let accept = self.headers.get(ACCEPT).and_then(|it| it.to_str().ok());
        accept.is_some_and(|accept| accept.contains(stream::EVENTS))
    }

    /// What is asked after the path, of what may be.
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        let mut query = Query(Vec::new());
        for (name, value) in url::form_urlencoded::parse(self.query.as_bytes()) {
            if !known.contains(&&*name) {
                let name: String = name.chars().take(100).collect();
                return Err(Problem::bad_request(match known {
                    [] => format!("`{name}` cannot be asked here: nothing can, after the path"),
                    known => format!(
                        "`{name}` cannot be asked here: there are {}",
                        known.join(", ")
                    ),
                }));
            }
            if query.get(&name).is_some() {
                return Err(Problem::bad_request(format!("`{name}` is said twice")));
            }
            query.0.push((name.into_owned(), value.into_owned()));
        }
        Ok(query)
    }

    /// What has to hold of a definition for it to be changed.
    pub(super) fn condition(&self) -> Result<Condition, Problem> {
        let header = |name: HeaderName| self.headers.get(name).and_then(|it| it.to_str().ok());
        match (header(IF_MATCH), header(IF_NONE_MATCH)) {
            (None, None) | (Some("*"), None) => Ok(Condition::Always),
            (None, Some("*")) => Ok(Condition::Absent),
            (Some(tag), None) => {
                let tag = tag.trim();
                let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                Ok(Condition::Is(inner.unwrap_or(tag).to_owned()))
            }
            _ => Err(Problem::bad_request(
                "say either `If-Match` with the tag of one text or `If-None-Match: *`",
            )),
        }
    }
}

/// What is asked after the path.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// What is said to a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number within bounds.
    pub(super) fn number(
        &self,
        name: &str,
        otherwise: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(otherwise);
        };
        let number = text.parse().ok();
        number
            .filter(|it| (least..=most).contains(it))
            .ok_or_else(|| {
                let text: String = text.chars().take(100).collect();
                Problem::bad_request(format!(
                    "{name}: `{text}` is not a number of {least} to {most}"
                ))
            })
    }
}

/// Reads a body, which may be left out where all that it could say may be.
pub(super) fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    required(body)
}

pub(super) fn required<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(Problem::bad_request(
            "the body is missing: send a JSON object",
        ));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is no JSON object: send one"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is not as it should be: {error}")))
}

fn not_found(path: &str) -> Problem {
    let shown: String = path.chars().take(200).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "urn:quarterjack:no-such-path",
        "No such path",
        format!("there is nothing at {shown}"),
    )
}

#[cfg(test)]
mod tests;
