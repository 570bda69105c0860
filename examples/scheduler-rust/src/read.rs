//! A text from a granted file, or over HTTP. WASI by hand: no runtime, no client, few bytes.

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use wasip2::http::outgoing_handler::{OutgoingRequest, handle};
use wasip2::http::types::{Fields, IncomingBody, Method, Scheme};
use wasip2::io::streams::{InputStream, StreamError};

/// A list is text that people write: more is no list.
const MOST: usize = 16 << 20;

/// Reads the text at a path or a URL.
pub fn read(from: &str) -> Result<String, String> {
    let bytes = match from.split_once("://") {
        Some(("http", rest)) => get(&Scheme::Http, rest)?,
        Some(("https", rest)) => get(&Scheme::Https, rest)?,
        Some((scheme, _)) => return Err(format!("{scheme} is not known: it is http or https")),
        None => file(from)?,
    };
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

fn file(path: &str) -> Result<Vec<u8>, String> {
    for (dir, name) in get_directories() {
        let Some(rest) = path.strip_prefix(&*name) else { continue };
        let Some(rest) = rest.strip_prefix('/') else { continue };
        let file = dir
            .open_at(PathFlags::SYMLINK_FOLLOW, rest, OpenFlags::empty(), DescriptorFlags::READ)
            .map_err(|error| format!("cannot open it: {}", error.name()))?;
        let stream = file
            .read_via_stream(0)
            .map_err(|error| format!("cannot read it: {}", error.name()))?;
        return all_of(&stream);
    }
    Err("it is in no directory that the job is granted".to_owned())
}

fn get(scheme: &Scheme, rest: &str) -> Result<Vec<u8>, String> {
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let fields = Fields::new();
    let _ = fields.append("accept", b"application/json");
    let request = OutgoingRequest::new(fields);
    let path = if path.is_empty() { "/" } else { path };
    request
        .set_method(&Method::Get)
        .and_then(|()| request.set_scheme(Some(scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)))
        .map_err(|()| "this is no URL".to_owned())?;
    let answer = handle(request, None).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    let answer = match answer.get() {
        Some(Ok(Ok(answer))) => answer,
        Some(Ok(Err(error))) => return Err(format!("{error:?}")),
        _ => return Err("there is no answer".to_owned()),
    };
    if answer.status() != 200 {
        return Err(format!("the server answered {}", answer.status()));
    }
    let body = answer.consume().map_err(|()| "the answer has no body".to_owned())?;
    let stream = body.stream().map_err(|()| "the answer has no body".to_owned())?;
    let read = all_of(&stream);
    drop(stream);
    IncomingBody::finish(body);
    read
}

fn all_of(stream: &InputStream) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
        if all.len() > MOST {
            return Err(format!("it has more than {MOST} bytes"));
        }
    }
}
