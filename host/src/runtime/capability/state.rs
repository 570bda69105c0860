//! `quarterjack:job/state`: what the job keeps between its runs.

use std::sync::Arc;

use super::Desk;
use crate::job::StateQuota;
use crate::job::grants::Need;
use crate::run::Denial;
use crate::runtime::bindings::quarterjack::job::state::{Error, Host};
use crate::runtime::guest::GuestState;
use crate::runtime::redaction::first_in;
use crate::state::{Changes, StateError};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;

impl Desk {
    /// The state as the run sees it, read when it is first asked for.
    pub(super) async fn state(&mut self) -> Result<(&mut Changes, StateQuota), Error> {
        let Some(quota) = self.grants().state else {
            return Err(Error::Denied(self.deny("its state", &Need::State)));
        };
        let Some(space) = &self.session.state else {
            return Err(Error::Unavailable("this host keeps no state".to_owned()));
        };
        let changes = match self.state.take() {
            Some(changes) => changes,
            None => Changes::on(space.load().await?),
        };
        Ok((self.state.insert(changes), quota))
    }

    /// Gives a key a value, or takes it away.
    pub(super) async fn write_state(
        &mut self,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        if key.len() > LONGEST_KEY {
            return Err(Error::Quota(format!(
                "a key of {} bytes; at most {LONGEST_KEY}",
                key.len()
            )));
        }
        if self.secrets.redactor().is_some_and(|redactor| {
            first_in(redactor, key.as_bytes()).is_some()
                || value
                    .as_ref()
                    .is_some_and(|it| first_in(redactor, it).is_some())
        }) {
            return Err(Error::Denied(self.refuse(Denial {
                what: "a secret in its state: secrets are kept nowhere".to_owned(),
                grant: None,
                ceiling: None,
            })));
        }
        let (state, quota) = self.state().await?;
        state.write(key, value.map(Arc::from), quota)?;
        Ok(())
    }

    /// Lands what the run has written so far.
    async fn checkpoint(&mut self) -> Result<(), Error> {
        let (changes, _) = self.state().await?;
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.clone();
        let Some(space) = &self.session.state else {
            return Ok(()); // checked by `state`
        };
        let now = space.commit(changes).await?;
        self.state = Some(Changes::on(now));
        Ok(())
    }
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Conflict { .. } => Error::Conflict,
            StateError::Quota { .. } => Error::Quota(error.to_string()),
            StateError::Unavailable(why) => Error::Unavailable(why),
        }
    }
}

impl Host for GuestState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let desk = self.desk();
        Ok(async {
            let (state, _) = desk.state().await?;
            Ok(state.get(&key).map(|value| value.to_vec()))
        }
        .await)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.desk().write_state(&key, Some(value)).await)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.desk().write_state(&key, None).await)
    }

    async fn keys(&mut self, prefix: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let desk = self.desk();
        Ok(async {
            let (state, _) = desk.state().await?;
            let keys = state.keys(&prefix);
            Ok(keys.iter().map(|key| key.to_string()).collect())
        }
        .await)
    }

    async fn checkpoint(&mut self) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.desk().checkpoint().await)
    }
}
