//! `quarterjack:job/secrets`: what the operator keeps for the job.

use wasmtime::component::Resource;

use crate::job::grants::Need;
use crate::runtime::bindings::quarterjack::job::secrets::{Error, Host, HostSecret};
use crate::runtime::guest::GuestState;

/// A secret that a guest has a handle of.
pub struct Secret {
    value: Vec<u8>,
}

impl Host for GuestState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Resource<Secret>, Error>> {
        let desk = self.desk();
        if !desk.grants().secrets.iter().any(|known| **known == *name) {
            let what = format!("the secret {name:?}");
            return Ok(Err(Error::Denied(desk.deny(what, &Need::Secret(name)))));
        }
        Ok(Err(Error::Unavailable(
            "this host has no provider of secrets".to_owned(),
        )))
    }
}

impl HostSecret for GuestState {
    async fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table().get(&secret)?.value.clone())
    }

    async fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table().delete(secret)?;
        Ok(())
    }
}
