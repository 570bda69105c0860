//! `quarterjack:job/secrets`: what the operator keeps for the job.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::job::Grants;
use crate::job::grants::Need;
use crate::runtime::bindings::quarterjack::job::secrets::{Error, Host, HostSecret};
use crate::runtime::guest::GuestState;
use crate::secret::{Providers, Redactor, Resolved, Secret as Value, SecretError};

/// A secret that a guest has a handle of.
pub struct Secret(Value);

/// The secrets that a run is granted, as they were found before it began: so that they are
/// blotted out of all that it tells, from its first byte on.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Secrets(Option<Arc<Resolved>>);

impl Secrets {
    /// Resolves all that the grants name. Nothing is done where they name none.
    ///
    /// # Errors
    /// They cannot be kept out of what the run tells.
    pub(in crate::runtime) async fn resolve(
        providers: &Arc<Providers>,
        grants: &Grants,
    ) -> Result<Self, String> {
        let names: Vec<Arc<str>> = grants.all_secrets().cloned().collect();
        if names.is_empty() {
            return Ok(Secrets::default());
        }
        let providers = providers.clone();
        // Files may be on a slow disk.
        let resolved = tokio::task::spawn_blocking(move || providers.resolve_all(names)).await;
        match resolved {
            Ok(Ok(resolved)) => Ok(Secrets(Some(Arc::new(resolved)))),
            Ok(Err(error)) => Err(error.to_string()),
            // Only a panic, or the end of the whole host, ends it early.
            Err(error) => Err(format!("its secrets could not be looked for: {error}")),
        }
    }

    /// What blots them out, if there are any.
    pub(in crate::runtime) fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.0.as_ref()?.redactor()
    }

    /// The secret of a name that is granted.
    pub(in crate::runtime) fn get(&self, name: &str) -> Option<Result<&Value, &SecretError>> {
        self.0.as_ref()?.get(name)
    }
}

impl Host for GuestState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Resource<Secret>, Error>> {
        let desk = self.desk();
        if !desk.grants().secrets.iter().any(|known| **known == *name) {
            let what = format!("the secret {name:?}");
            return Ok(Err(Error::Denied(desk.deny(what, &Need::Secret(name)))));
        }
        let value = match desk.secrets.get(&name) {
            Some(Ok(value)) => value.clone(),
            Some(Err(error)) => {
                let why = error.to_string();
                desk.print(&why);
                return Ok(Err(Error::Unavailable(why)));
            }
            None => {
                let why = "it was not looked for".to_owned();
                return Ok(Err(Error::Unavailable(why)));
            }
        };
        Ok(Ok(self.table().push(Secret(value))?))
    }
}

impl HostSecret for GuestState {
    async fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table().get(&secret)?.0.reveal().to_vec())
    }

    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table().delete(secret)?;
        Ok(())
    }
}
