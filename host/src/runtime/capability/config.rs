//! `wasi:config`: the job's settings, from its definition.

use crate::runtime::bindings::portable::wasi::config::store::{Error, Host};
use crate::runtime::guest::GuestState;

impl Host for GuestState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        // A setting that is not there is no denial: programs ask for what they could be told.
        let settings = &self.desk().grants().config;
        let found = settings.iter().find(|(known, _)| *known == key);
        Ok(Ok(found.map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.desk().grants().config.clone()))
    }
}
