//! Directories of the host, read from a definition or from a command line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::decode::Decoder;
use super::super::diagnostic::quoted;
use super::super::document::{Node, Value};
use super::super::keys::DIR;
use super::decode::told;
use super::{Access, DirGrant, Grants};
use crate::suggest::nearest;

impl DirGrant {
    /// Reads `HOST::GUEST`, `HOST::GUEST:ro` or `HOST::GUEST:rw`. A relative host directory is
    /// taken relative to `base`.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    ///
    /// ```
    /// use quarterjack::job::{Access, DirGrant};
    /// let grant = DirGrant::parse("reports::/out:rw", "/srv".as_ref()).unwrap();
    /// assert_eq!(grant.host, std::path::Path::new("/srv/reports"));
    /// assert_eq!((grant.guest.as_str(), grant.access), ("/out", Access::ReadWrite));
    /// ```
    pub fn parse(text: &str, base: &Path) -> Result<DirGrant, String> {
        let Some((host, rest)) = text.split_once("::") else {
            return Err(format!(
                "{} is not HOST::GUEST[:ro|rw]: write it like \"data::/data\"",
                quoted(text)
            ));
        };
        let (guest, access) = match rest.rsplit_once(':') {
            Some((guest, mode)) => (guest, parse_mode(mode)?),
            None => (rest, Access::ReadOnly),
        };
        Ok(DirGrant {
            host: host_path(host, base)?,
            guest: guest_path(guest)?,
            access,
            quota: None,
            beneath: Vec::new(),
        })
    }
}

fn parse_mode(mode: &str) -> Result<Access, String> {
    match mode {
        "ro" => Ok(Access::ReadOnly),
        "rw" => Ok(Access::ReadWrite),
        _ => Err(format!(
            "no such mode {}: it is \"ro\" (read only) or \"rw\" (read and write)",
            quoted(mode)
        )),
    }
}

fn host_path(host: &str, base: &Path) -> Result<PathBuf, String> {
    if host.is_empty() {
        return Err("the host directory is empty: \".\" is the directory of the job file".into());
    }
    if host.contains('\0') {
        return Err("the host directory holds a NUL character".into());
    }
    if host == "~" || host.starts_with("~/") {
        return Err("`~` is not expanded here: write the directory out".into());
    }
    Ok(base.join(host))
}

/// The guest's name of a directory, in the one way to write it: two grants for one place are
/// noticed by it.
fn guest_path(guest: &str) -> Result<String, String> {
    if guest == "." {
        return Ok(".".into());
    }
    let Some(path) = guest.strip_prefix('/') else {
        return Err(format!(
            "the guest directory {} is not absolute: write \"/{}\", or \".\" for the job's working directory",
            quoted(guest),
            guest.trim_start_matches("./")
        ));
    };
    if path.contains('\0') {
        return Err("the guest directory holds a NUL character".into());
    }
    let mut clean = String::with_capacity(guest.len());
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("the guest directory {} holds `..`", quoted(guest))),
            part => {
                clean.push('/');
                clean.push_str(part);
            }
        }
    }
    Ok(if clean.is_empty() { "/".into() } else { clean })
}

pub(super) fn decode_dirs(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    base: &Path,
    grants: &mut Grants,
    spans: &mut Vec<Range<usize>>,
) {
    for element in decoder
        .list("`dirs`", node, r#"["data::/data"]"#)
        .unwrap_or_default()
    {
        let dir = match &element.value {
            Value::String(text) => match DirGrant::parse(text, base) {
                Ok(dir) => Some((dir, element.span.clone())),
                Err(message) => {
                    told(decoder, &element.span, &message);
                    None
                }
            },
            Value::Object(_) => decode_dir(decoder, element, base),
            _ => {
                let expected = "\"HOST::GUEST\" or {\"host\": \"data\", \"guest\": \"/data\"}";
                decoder.wrong_type("a directory", expected, element, "");
                None
            }
        };
        let Some((dir, span)) = dir else { continue };
        if grants.dirs.iter().any(|other| other.guest == dir.guest) {
            let message = format!(
                "the guest directory {} is granted twice",
                quoted(&dir.guest)
            );
            decoder.error(
                &element.span,
                message,
                "a job finds one directory at one place",
            );
            continue;
        }
        grants.dirs.push(dir);
        spans.push(span);
    }
}

fn decode_dir(
    decoder: &mut Decoder<'_>,
    node: &Node<'_>,
    base: &Path,
) -> Option<(DirGrant, Range<usize>)> {
    let members = decoder.object("a directory", node, "{}")?;
    let before = decoder.problems.len();
    let (mut host, mut guest, mut access) = (None, None, Access::ReadOnly);
    let (mut quota, mut quota_span) = (None, None);
    for member in members {
        let value = &member.value;
        match &*member.key {
            "host" => {
                if let Some(path) = decoder.string("`host`", value) {
                    match host_path(path, base) {
                        Ok(path) => host = Some((path, value.span.clone())),
                        Err(message) => told(decoder, &value.span, &message),
                    }
                }
            }
            "guest" => {
                if let Some(path) = decoder.string("`guest`", value) {
                    match guest_path(path) {
                        Ok(path) => guest = Some(path),
                        Err(message) => told(decoder, &value.span, &message),
                    }
                }
            }
            "mode" => {
                if let Some(mode) = decoder.string("`mode`", value) {
                    match parse_mode(mode) {
                        Ok(mode) => access = mode,
                        Err(message) => {
                            let meant = nearest(mode, ["ro", "rw"].into_iter());
                            match meant {
                                Some(meant) if mode.eq_ignore_ascii_case(meant) => {
                                    let message = format!("no such mode {}", quoted(mode));
                                    let label = format!("did you mean \"{meant}\"?");
                                    decoder.error(&value.span, message, label);
                                }
                                _ => told(decoder, &value.span, &message),
                            }
                        }
                    }
                }
            }
            "quota" => {
                quota = decoder.size("`quota`", value, 1);
                quota_span = Some(member.key_span.clone());
            }
            _ => {
                decoder.unknown_key(member, &DIR);
            }
        }
    }
    if let (Access::ReadOnly, Some(span)) = (access, quota_span) {
        decoder.error(
            &span,
            "a quota for a directory that is only read",
            "it bounds what is written: add \"mode\": \"rw\"",
        );
    }
    match (host, guest) {
        (Some((host, span)), Some(guest)) => Some((
            DirGrant {
                host,
                guest,
                access,
                quota,
                beneath: Vec::new(),
            },
            span,
        )),
        (host, _) => {
            // A key that is there but wrong has been told of.
            if decoder.problems.len() == before {
                let missing = if host.is_none() { "host" } else { "guest" };
                let label = "a directory has a \"host\" and a \"guest\" side";
                decoder.error(
                    &node.span,
                    format!("the directory has no `{missing}`"),
                    label,
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_env_name;
    use super::*;

    #[test]
    fn a_directory_is_granted_in_one_word() {
        let base = Path::new("/srv/jobs");
        let grant = DirGrant::parse("data::/data", base).unwrap();
        assert_eq!(grant.host, Path::new("/srv/jobs/data"));
        assert_eq!(grant.access, Access::ReadOnly);
        let grant = DirGrant::parse("/var/x::.:rw", base).unwrap();
        assert_eq!(grant.host, Path::new("/var/x"));
        assert_eq!((&*grant.guest, grant.access), (".", Access::ReadWrite));
        assert_eq!(
            DirGrant::parse("a:b::/c//./d/:ro", base).unwrap().guest,
            "/c/d"
        );
        assert_eq!(DirGrant::parse(".::/", base).unwrap().guest, "/");
    }

    #[test]
    fn what_is_no_grant_is_told() {
        let mut told = String::new();
        for text in [
            "",
            "data",
            "data:/data",
            "::/data",
            "data::",
            "data::data",
            "data::/data:wr",
            "~/x::/x",
            "data::/a/../b",
            "da\0ta::/a",
            "data::/\0",
        ] {
            let error = DirGrant::parse(text, Path::new("")).unwrap_err();
            told.push_str(&format!("{text:?}\n    {error}\n"));
        }
        insta::assert_snapshot!("dir_grants", told);
        assert!(check_env_name("HOME").is_ok());
        assert!(check_env_name("").is_err());
        assert!(check_env_name("A=B").is_err());
    }
}
