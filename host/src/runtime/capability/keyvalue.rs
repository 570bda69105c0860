//! `wasi:keyvalue`: the job's state, for portable components. There is one bucket, whatever
//! name it is opened by.

use wasmtime::component::Resource;

use super::Desk;
use crate::runtime::bindings::portable::wasi::keyvalue::store::{Error, HostBucket, KeyResponse};
use crate::runtime::bindings::portable::wasi::keyvalue::{atomics, batch, store};
use crate::runtime::bindings::quarterjack::job::state;
use crate::runtime::guest::GuestState;

/// An open bucket: the state itself is the desk's.
pub struct Bucket;

/// How many keys are listed at once.
const PAGE: usize = 1000;

/// What a call is refused with: an error that the guest is told, or one that ends it.
pub type Refused = wasmtime_wasi::TrappableError<Error>;

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        match error {
            // The guest learns no more; the run's log has the line.
            state::Error::Denied(_) => Error::AccessDenied,
            state::Error::Quota(why) | state::Error::Unavailable(why) => Error::Other(why),
            state::Error::Conflict => Error::Other("another run has changed it".to_owned()),
        }
    }
}

fn refused(error: state::Error) -> Refused {
    Error::from(error).into()
}

impl Desk {
    async fn value(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refused> {
        let (state, _) = self.state().await.map_err(refused)?;
        Ok(state.get(key).map(|value| value.to_vec()))
    }

    async fn set_value(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Refused> {
        self.write_state(key, value).await.map_err(refused)
    }
}

impl store::Host for GuestState {
    async fn open(&mut self, _: String) -> Result<Resource<Bucket>, Refused> {
        self.desk().state().await.map_err(refused)?;
        self.table().push(Bucket).map_err(Refused::trap)
    }

    fn convert_error(&mut self, error: Refused) -> wasmtime::Result<Error> {
        error.downcast()
    }
}

impl HostBucket for GuestState {
    async fn get(&mut self, _: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, Refused> {
        self.desk().value(&key).await
    }

    async fn set(
        &mut self,
        _: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Refused> {
        self.desk().set_value(&key, Some(value)).await
    }

    async fn delete(&mut self, _: Resource<Bucket>, key: String) -> Result<(), Refused> {
        self.desk().set_value(&key, None).await
    }

    async fn exists(&mut self, _: Resource<Bucket>, key: String) -> Result<bool, Refused> {
        Ok(self.desk().value(&key).await?.is_some())
    }

    async fn list_keys(
        &mut self,
        _: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<KeyResponse, Refused> {
        let (state, _) = self.desk().state().await.map_err(refused)?;
        let keys = state.keys("");
        let from = cursor.map_or(0, |from| usize::try_from(from).unwrap_or(usize::MAX));
        let page = keys.iter().skip(from).take(PAGE);
        let end = from.saturating_add(PAGE);
        Ok(KeyResponse {
            keys: page.map(|key| key.to_string()).collect(),
            cursor: (end < keys.len()).then_some(end as u64),
        })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for GuestState {
    async fn increment(
        &mut self,
        _: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<u64, Refused> {
        let desk = self.desk();
        let number = match desk.value(&key).await? {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or_else(|| Error::Other(format!("the value of {key:?} is no number")))?,
        };
        let sum = number
            .checked_add(delta)
            .ok_or_else(|| Error::Other(format!("the value of {key:?} would be too large")))?;
        let digits = sum.to_string().into_bytes();
        desk.set_value(&key, Some(digits)).await?;
        Ok(sum)
    }
}

impl batch::Host for GuestState {
    async fn get_many(
        &mut self,
        _: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Refused> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.desk().value(&key).await?;
            values.push(value.map(|value| (key, value)));
        }
        Ok(values)
    }

    async fn set_many(
        &mut self,
        _: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Refused> {
        for (key, value) in pairs {
            self.desk().set_value(&key, Some(value)).await?;
        }
        Ok(())
    }

    async fn delete_many(&mut self, _: Resource<Bucket>, keys: Vec<String>) -> Result<(), Refused> {
        for key in keys {
            self.desk().set_value(&key, None).await?;
        }
        Ok(())
    }
}
