use http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;

use super::super::socket::owner;
use super::*;
use crate::clock::parse_instant;
use crate::control::{
    Backfilled, Cancelled, Command, Control, ControlError, HostStatus, JobPut, JobRemoved, LiveJob,
    NextInstants, OwnJob, PauseSet, Put, SourceStatus, Trigger, Triggered, Was,
};
use crate::job::Scope;

const RUN: &str = "01M844Q4EPR3D9T6B4RX2VC5EH";

/// A host that says yes to everything, but does not know the job `no`.
fn yes_man() -> Control {
    let (control, mut commands) = Control::new();
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            // Whoever asked may have gone.
            match command {
                Command::Status(reply) => drop(reply.send(Ok(HostStatus {
                    version: "1.2.3".into(),
                    pid: 7,
                    started_at: parse_instant("2026-01-01T00:00:00Z").ok(),
                    jobs: 1,
                    in_flight: 2,
                    waiting: 3,
                    recording: true,
                    paused: Vec::new(),
                }))),
                Command::Jobs(reply) => drop(reply.send(Ok(vec![LiveJob {
                    creator: None,
                    job: "a".into(),
                    enabled: true,
                    next_at: parse_instant("2026-01-01T00:00:00Z").ok(),
                    group: None,
                    paused_by: Some(Scope::Job("a".into())),
                    in_flight: 0,
                    waiting: 0,
                }]))),
                Command::Sources(reply) => drop(reply.send(Ok(vec![SourceStatus {
                    source: "jobs.json".into(),
                    jobs: 1,
                    wrong: 0,
                    read_at: parse_instant("2026-01-01T00:00:00Z").ok(),
                    stale: None,
                    held: None,
                }]))),
                Command::Trigger(request, reply) => drop(reply.send(trigger(request))),
                Command::SetPaused(scope, paused, reply) => drop(reply.send(Ok(PauseSet {
                    scope,
                    paused,
                    changed: true,
                    jobs: Some(1),
                    held_by: None,
                    still_paused: Vec::new(),
                }))),
                Command::Backfill(request, reply) => drop(reply.send(Ok(Backfilled {
                    job: request.job,
                    dry_run: request.dry_run,
                    instants: vec![request.from.to_rfc3339(), request.until.to_rfc3339()],
                    more: false,
                    had_runs: 0,
                    fired: request.limit,
                    skipped: 0,
                    enabled: true,
                }))),
                Command::Cancel(run, reply) => drop(reply.send(Ok(Cancelled {
                    run,
                    job: "a".into(),
                    was: Was::Running,
                    outcome: None,
                }))),
                // Only jobs say that.
                Command::Made(..) => {}
                Command::HasPlace(_, reply) => drop(reply.send(Ok(false))),
                Command::Next(job, count, reply) => drop(reply.send(Ok(NextInstants {
                    job,
                    next: vec!["2026-01-01T00:00:00Z".to_owned(); count],
                }))),
                Command::OwnJob(job, reply) => drop(reply.send(Ok(OwnJob {
                    creator: None,
                    job,
                    etag: "0a".into(),
                    text: "{}".into(),
                }))),
                Command::PutJob(request, reply) => drop(reply.send(Ok(JobPut {
                    job: request.job,
                    was: match request.condition {
                        Condition::Absent => Put::Created,
                        Condition::Always | Condition::Is(_) => Put::Updated,
                    },
                    etag: match request.condition {
                        Condition::Is(tag) => tag,
                        Condition::Always | Condition::Absent => request.text,
                    },
                    in_service: true,
                    waits_for: None,
                    next_at: None,
                }))),
                Command::RemoveJob(job, condition, _, reply) => {
                    let error = ControlError::Changed { job, etag: None };
                    drop(reply.send(match condition {
                        Condition::Always => Ok(JobRemoved { job: "a".into() }),
                        _ => Err(error),
                    }));
                }
            }
        }
    });
    control
}

fn trigger(request: Trigger) -> Result<Triggered, ControlError> {
    if request.job.as_str() == "no" {
        return Err(ControlError::UnknownJob {
            job: request.job,
            hint: request.params.map(|it| it.to_string()).unwrap_or_default(),
        });
    }
    Ok(Triggered {
        run: RUN.parse().unwrap(),
        job: request.job,
        enabled: false,
        paused_by: Some(Scope::Group("db".into())),
    })
}

async fn as_who(caller: Caller, request: http::request::Builder, body: &str) -> Response<Body> {
    let request = request.extension(caller).body(body.to_owned()).unwrap();
    let router = router(Api::of(yes_man()));
    TowerToHyperService::new(router)
        .call(request)
        .await
        .unwrap()
}

async fn told(response: Response<Body>) -> String {
    let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
    let allow = header(ALLOW).map(|it| format!(" ({it})"));
    let etag = header(ETAG).map(|it| format!(" #{}", it.trim_matches('"')));
    let noted = etag.or(allow).unwrap_or_default();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    format!("{status}{noted} {}\n", String::from_utf8_lossy(&body))
}

async fn ask(method: &str, path: &str, body: &str) -> String {
    let request = Request::builder().method(method).uri(path);
    told(as_who(owner(), request, body).await).await
}

#[tokio::test]
async fn every_path_does_its_work() {
    let mut said = String::new();
    for (method, path, body) in [
        ("GET", "/api/v1/status", ""),
        ("GET", "/api/v1/jobs", ""),
        ("GET", "/api/v1/sources", ""),
        ("GET", "/api/v1/jobs/sync%2Fa", ""),
        ("PUT", "/api/v1/jobs/a", "text"),
        ("DELETE", "/api/v1/jobs/a", ""),
        ("POST", "/api/v1/jobs/sync%2Fa/trigger", ""),
        ("POST", "/api/v1/jobs/a/pause", ""),
        ("POST", "/api/v1/jobs/a/resume", "{}"),
        ("POST", "/api/v1/groups/db/pause", " "),
        ("POST", "/api/v1/pause", ""),
        ("POST", "/api/v1/resume", ""),
        (
            "POST",
            "/api/v1/jobs/a/backfill",
            r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00+01:00"}"#,
        ),
    ] {
        said.push_str(&ask(method, path, body).await);
    }
    said.push_str(&ask("POST", &format!("/api/v1/runs/{RUN}/cancel"), "").await);
    insta::assert_snapshot!(said, @r#"
    200 {"version":"1.2.3","pid":7,"started_at":"2026-01-01T00:00:00Z","jobs":1,"in_flight":2,"waiting":3,"recording":true,"paused":[]}
    200 {"jobs":[{"job":"a","enabled":true,"next_at":"2026-01-01T00:00:00Z","paused_by":{"job":"a"},"in_flight":0,"waiting":0}]}
    200 {"sources":[{"source":"jobs.json","jobs":1,"wrong":0,"read_at":"2026-01-01T00:00:00Z"}]}
    200 #0a {"job":"sync/a","etag":"0a","text":"{}"}
    200 #text {"job":"a","was":"updated","etag":"text","in_service":true}
    200 {"job":"a"}
    200 {"run":"01M844Q4EPR3D9T6B4RX2VC5EH","job":"sync/a","enabled":false,"paused_by":{"group":"db"}}
    200 {"scope":{"job":"a"},"paused":true,"changed":true,"jobs":1}
    200 {"scope":{"job":"a"},"paused":false,"changed":true,"jobs":1}
    200 {"scope":{"group":"db"},"paused":true,"changed":true,"jobs":1}
    200 {"scope":"all","paused":true,"changed":true,"jobs":1}
    200 {"scope":"all","paused":false,"changed":true,"jobs":1}
    200 {"job":"a","dry_run":false,"instants":["2026-01-01T00:00:00+00:00","2026-01-01T23:00:00+00:00"],"more":false,"had_runs":0,"fired":1000,"skipped":0,"enabled":true}
    200 {"run":"01M844Q4EPR3D9T6B4RX2VC5EH","job":"a","was":"running"}
    "#);
}

#[tokio::test]
async fn mistakes_are_told_with_what_would_be_right() {
    let mut said = String::new();
    for (method, path, body) in [
        ("GET", "/", ""),
        ("GET", "/api/v1", ""),
        ("GET", "/api/v2/status", ""),
        ("POST", "/api/v1/jobs/a/explode", ""),
        ("GET", "/api/v1/jobs/a/trigger", ""),
        ("DELETE", "/api/v1/status", ""),
        ("POST", "/api/v1/jobs/%ff/trigger", ""),
        (
            "POST",
            "/api/v1/jobs/no/trigger",
            r#"{"params": {"b": 1.0, "a": null}}"#,
        ),
        ("POST", "/api/v1/jobs/a/trigger", "{\"params\": {]}"),
        ("POST", "/api/v1/jobs/a/trigger", r#"{"parms": {}}"#),
        ("POST", "/api/v1/jobs/a/trigger", "[]"),
        ("POST", "/api/v1/jobs/a/pause", r#"{"until": 1}"#),
        ("POST", "/api/v1/jobs/a/backfill", ""),
        (
            "POST",
            "/api/v1/jobs/a/backfill",
            r#"{"from":"today","to":"2026-01-02T00:00:00Z"}"#,
        ),
        (
            "POST",
            "/api/v1/jobs/a/backfill",
            r#"{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","limit":0}"#,
        ),
        ("POST", "/api/v1/runs/C5EH/cancel", ""),
    ] {
        said.push_str(&ask(method, path, body).await);
    }
    insta::assert_snapshot!(said, @r#"
    404 {"type":"urn:quarterjack:no-such-path","title":"No such path","status":404,"detail":"there is nothing at /"}
    404 {"type":"urn:quarterjack:no-such-path","title":"No such path","status":404,"detail":"there is nothing at /api/v1"}
    404 {"type":"urn:quarterjack:no-such-path","title":"No such path","status":404,"detail":"there is nothing at /api/v2/status"}
    404 {"type":"urn:quarterjack:no-such-path","title":"No such path","status":404,"detail":"there is nothing at /api/v1/jobs/a/explode"}
    405 (POST) {"type":"urn:quarterjack:method","title":"Another method is needed","status":405,"detail":"/api/v1/jobs/a/trigger takes POST, not GET"}
    405 (GET) {"type":"urn:quarterjack:method","title":"Another method is needed","status":405,"detail":"/api/v1/status takes GET, not DELETE"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the path is not text: write what is not ASCII as %XX of its UTF-8"}
    404 {"type":"urn:quarterjack:unknown-job","title":"No such job","status":404,"detail":"no job `no` in service on this host{\"b\": 1.0, \"a\": null}"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the body is not as it should be: key must be a string at line 1 column 13"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the body is not as it should be: unknown field `parms`, expected `params` at line 1 column 8"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the body is no JSON object: send one"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the body is not as it should be: unknown field `until`, there are no fields at line 1 column 8"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"the body is missing: send a JSON object"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"from: `today` is not an instant (premature end of input): write one like 2026-01-01T00:00:00Z"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"limit: 0 is out of range: 1 to 10000"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"`C5EH` is no id of a run: write all 26 letters of it"}
    "#);
}

#[tokio::test]
async fn a_host_that_is_gone_is_said_to_be_stopping() {
    let (control, commands) = Control::new();
    drop(commands);
    let request = Request::builder().uri("/api/v1/status").extension(owner());
    let request = request.body(String::new()).unwrap();
    let service = TowerToHyperService::new(router(Api::of(control)));
    let said = told(service.call(request).await.unwrap()).await;
    assert!(said.starts_with("503 "), "{said}");
    assert!(
        said.contains("\"detail\":\"the host is stopping\""),
        "{said}"
    );
}

proptest! {
    #[test]
    fn no_request_is_the_hosts_mistake(
        method in "GET|POST|PUT|PATCH|DELETE|X",
        path in r"/api/v1(/(jobs|runs|groups|status|sources|events|logs|next|rerun|trigger|pause|[a-z%./?=&]{0,5})){0,4}",
        body in r#"[{}\[\]":,a-z0-9 ]{0,30}"#,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let status = runtime.block_on(ask(&method, &path, &body));
        let status: u16 = status[..3].parse().unwrap();
        prop_assert!(status < 500, "{status} {method} {path} {body}");
    }
}

#[tokio::test]
async fn a_definition_is_changed_on_the_condition_that_a_header_says() {
    let mut said = String::new();
    for (if_match, if_none_match) in [
        (None, Some("*")),
        (Some("\"0a\""), None),
        (Some("*"), None),
        (None, Some("\"0a\"")),
        (Some("\"0a\""), Some("*")),
    ] {
        for method in [Method::PUT, Method::DELETE] {
            let mut request = Request::builder().method(method).uri("/api/v1/jobs/a");
            if let Some(tag) = if_match {
                request = request.header(IF_MATCH, tag);
            }
            if let Some(tag) = if_none_match {
                request = request.header(IF_NONE_MATCH, tag);
            }
            said.push_str(&told(as_who(owner(), request, "").await).await);
        }
    }
    insta::assert_snapshot!(said, @r#"
    201 # {"job":"a","was":"created","etag":"","in_service":true}
    412 {"type":"urn:quarterjack:changed","title":"The definition is another one","status":412,"detail":"the definition of `a` is not there; nothing was changed"}
    200 #0a {"job":"a","was":"updated","etag":"0a","in_service":true}
    412 {"type":"urn:quarterjack:changed","title":"The definition is another one","status":412,"detail":"the definition of `a` is not there; nothing was changed"}
    200 # {"job":"a","was":"updated","etag":"","in_service":true}
    200 {"job":"a"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"say either `If-Match` with the tag of one text or `If-None-Match: *`"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"say either `If-Match` with the tag of one text or `If-None-Match: *`"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"say either `If-Match` with the tag of one text or `If-None-Match: *`"}
    400 {"type":"urn:quarterjack:bad-request","title":"The request is not as it should be","status":400,"detail":"say either `If-Match` with the tag of one text or `If-None-Match: *`"}
    "#);
}

#[tokio::test]
async fn each_route_is_for_those_who_may() {
    let roles = [
        None,
        Some(Role::Read),
        Some(Role::Operate),
        Some(Role::Admin),
    ];
    let mut refused = 0;
    for route in all() {
        let path = route.path.replace("{run}", RUN);
        let path = path.replace("{job}", "a").replace("{group}", "g");
        for role in roles {
            let name = if role.is_some() { "ci" } else { "" };
            let caller = Caller {
                name: name.to_owned(),
                role,
            };
            let request = Request::builder()
                .method(route.method.clone())
                .uri(path.as_str());
            let response = as_who(caller, request, "").await;
            let status = response.status().as_u16();
            let is_refused = matches!(status, 401 | 403);
            assert_eq!(is_refused, role < route.role, "{status} {role:?} {route:?}");
            if is_refused {
                refused += 1;
                assert_eq!(status, if role.is_some() { 403 } else { 401 });
                let said = told(response).await;
                let needed = route.role.unwrap().as_str();
                assert!(said.contains(&format!("the role {needed}")), "{said}");
            } else {
                // What it is about may not be there, but the route is.
                assert!(status < 500 && status != 405, "{status} {route:?}");
            }
        }
    }
    // Reads for one, operations for two, changes for three.
    let needed = |role| all().iter().filter(|it| it.role == Some(role)).count();
    let expected = needed(Role::Read) + 2 * needed(Role::Operate) + 3 * needed(Role::Admin);
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn a_key_starts_a_job_once() {
    let service = TowerToHyperService::new(router(Api::of(yes_man())));
    let ask = |path: &'static str, body: &'static str| {
        let request = Request::post(path).extension(owner());
        let request = request.header("Idempotency-Key", "k").body(body.to_owned());
        service.call(request.unwrap())
    };
    let first = told(ask("/api/v1/jobs/a/trigger", "{}").await.unwrap()).await;
    assert!(first.starts_with("200 "), "{first}");
    let again = told(ask("/api/v1/jobs/a/trigger", "{}").await.unwrap()).await;
    assert_eq!(first, again);
    for (path, body) in [
        ("/api/v1/jobs/a/trigger", r#"{"params":1}"#),
        ("/api/v1/jobs/b/trigger", "{}"),
    ] {
        let other = told(ask(path, body).await.unwrap()).await;
        assert!(other.starts_with("422 "), "{other}");
    }
}

#[tokio::test]
async fn the_document_tells_of_every_route() {
    let said = ask("GET", "/api/v1/openapi.json", "").await;
    let document: serde_json::Value = serde_json::from_str(&said[4..]).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = std::collections::BTreeSet::new();
    for route in all() {
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][route.path][&method];
        assert_eq!(operation["operationId"], route.name);
        assert!(names.insert(route.name), "{} twice", route.name);
        let is_known = route.path.starts_with(crate::api::BASE) || route.role.is_none();
        assert!(is_known, "{}", route.path);
        assert!(route.names().count() <= 1, "{}", route.path);
    }
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|it| it.as_object().unwrap().len()).sum();
    assert_eq!(operations, all().len());
}
