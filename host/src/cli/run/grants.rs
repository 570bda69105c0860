//! The flags of `run` that grant something.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use crate::cli::Refusal;
use crate::job::grants::network::{Endpoint, OriginPattern};
use crate::job::{
    DirGrant, EnvValue, Grants, HttpGrant, SocketGrant, StateQuota, check_env_name,
    check_secret_name,
};

/// What the command line grants, on top of a job's definition.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Grants: a run may touch nothing else")]
pub(super) struct GrantFlags {
    /// An environment variable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// An environment variable that holds a secret
    #[arg(long, value_name = "NAME=SECRET", value_parser = secret_variable)]
    secret_env: Vec<(String, Arc<str>)>,
    /// A directory
    #[arg(long, value_name = "HOST::GUEST[:ro|rw]", value_parser = directory)]
    dir: Vec<DirGrant>,
    /// A setting, for wasi:config
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    setting: Vec<(String, String)>,
    /// HTTP requests to an origin, such as https://api.example.com
    #[arg(long, value_name = "ORIGIN", value_parser = OriginPattern::parse)]
    http: Vec<OriginPattern>,
    /// TCP or UDP to a peer, such as tcp://db.example.com:5432
    #[arg(long, value_name = "ENDPOINT", value_parser = Endpoint::parse)]
    socket: Vec<Endpoint>,
    /// A secret that it may ask for
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Vec<Arc<str>>,
    /// A state, empty at first and gone with the run
    #[arg(long)]
    state: bool,
}

impl GrantFlags {
    /// A job's grants with these on top; nothing if there are none.
    ///
    /// # Errors
    /// Two directories at one place.
    pub(super) fn on_top_of(&self, before: &Grants) -> Result<Option<Grants>, Refusal> {
        let mut grants = before.clone();
        let texts = self.env.iter().map(|(name, value)| {
            let value = EnvValue::Text(value.clone());
            (name, value)
        });
        let secrets = self.secret_env.iter().map(|(name, secret)| {
            let value = EnvValue::Secret(secret.clone());
            (name, value)
        });
        for (name, value) in texts.chain(secrets) {
            grants.env.retain(|(known, _)| known != name);
            grants.env.push((name.clone(), value));
        }
        for (place, dir) in self.dir.iter().enumerate() {
            let earlier = self.dir.iter().take(place);
            if earlier.into_iter().any(|other| other.guest == dir.guest) {
                return Err(Refusal::usage(format_args!(
                    "--dir grants two directories as {}: the guest can see only one there",
                    dir.guest
                )));
            }
            grants.dirs.retain(|known| known.guest != dir.guest);
            grants.dirs.push(dir.clone());
        }
        for (key, value) in &self.setting {
            grants.config.retain(|(known, _)| known != key);
            grants.config.push((key.clone(), value.clone()));
        }
        for origin in &self.http {
            let http = grants.http.get_or_insert_with(HttpGrant::default);
            add(&mut http.origins, origin);
        }
        for endpoint in &self.socket {
            let sockets = grants.sockets.get_or_insert_with(SocketGrant::default);
            add(&mut sockets.endpoints, endpoint);
        }
        for secret in &self.secret {
            add(&mut grants.secrets, secret);
        }
        if self.state {
            grants.state.get_or_insert(StateQuota::DEFAULT);
        }
        Ok((grants != *before).then_some(grants))
    }
}

fn add<T: Clone + PartialEq>(to: &mut Vec<T>, item: &T) {
    if !to.contains(item) {
        to.push(item.clone());
    }
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    let pair = text.split_once('=');
    pair.ok_or_else(|| "a value is missing: write NAME=VALUE".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text)?;
    check_env_name(name)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn secret_variable(text: &str) -> Result<(String, Arc<str>), String> {
    let (name, value) = pair(text)?;
    check_env_name(name)?;
    Ok((name.to_owned(), secret(value)?))
}

fn secret(text: &str) -> Result<Arc<str>, String> {
    check_secret_name(text)?;
    Ok(text.into())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = pair(text)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A directory relative to where the command is typed.
fn directory(text: &str) -> Result<DirGrant, String> {
    DirGrant::parse(text, Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_on_top_of_what_is_granted_and_replace_what_has_the_same_name() {
        let before = Grants {
            env: vec![("A".to_owned(), EnvValue::Text("1".to_owned()))],
            config: vec![("a".to_owned(), "1".to_owned())],
            secrets: vec!["key".into()],
            ..Grants::default()
        };
        let none = GrantFlags::default().on_top_of(&before).unwrap();
        assert_eq!(none, None);
        let flags = GrantFlags {
            secret_env: vec![("A".to_owned(), "key".into())],
            setting: vec![setting("a=b=c").unwrap()],
            http: vec![OriginPattern::parse("http://localhost:80").unwrap()],
            socket: vec![Endpoint::parse("db:1").unwrap()],
            secret: vec!["key".into(), "other".into()],
            state: true,
            ..GrantFlags::default()
        };
        let grants = flags.on_top_of(&before).unwrap().unwrap();
        let expected = Grants {
            env: vec![("A".to_owned(), EnvValue::Secret("key".into()))],
            config: vec![("a".to_owned(), "b=c".to_owned())],
            http: Some(HttpGrant {
                origins: flags.http.clone(),
                ..HttpGrant::default()
            }),
            sockets: Some(SocketGrant {
                endpoints: flags.socket.clone(),
                ..SocketGrant::default()
            }),
            secrets: vec!["key".into(), "other".into()],
            state: Some(StateQuota::DEFAULT),
            ..Grants::default()
        };
        assert_eq!(grants, expected);
        assert!(secret("../x").is_err() && variable("A").is_err());
    }
}
