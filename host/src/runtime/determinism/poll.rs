//! Timers of WASI 0.2: `wasi:clocks/monotonic-clock` makes them, `wasi:io/poll` waits for them.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use super::{GuestTime, Timers};
use crate::runtime::guest::GuestState;

/// Puts both interfaces in the place of WASI's own.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    fn same(state: &mut GuestState) -> &mut GuestState {
        state
    }
    linker.allow_shadowing(true);
    poll::add_to_linker::<_, HasSelf<GuestState>>(linker, same)?;
    monotonic_clock::add_to_linker::<_, HasSelf<GuestState>>(linker, same)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A timer, as it is waited for beside something else.
pub(super) struct Timer {
    pub(super) at: u64,
    pub(super) time: GuestTime,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        let left = self.time.left(self.at);
        if left.is_zero() {
            // What it is asked beside gets a chance to become ready, too.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(left).await;
            self.time.move_to(self.at);
        }
    }
}

impl Timers {
    /// When a pollable is due, if it is a timer.
    fn due(&self, pollable: &Resource<DynPollable>) -> Option<u64> {
        self.due.get(&pollable.rep()).copied()
    }

    /// When all of some pollables are due, if all are timers.
    fn all_due(&self, pollables: &[Resource<DynPollable>]) -> Option<Vec<u64>> {
        pollables
            .iter()
            .map(|pollable| self.due(pollable))
            .collect()
    }
}

impl GuestState {
    /// A pollable that is ready at a time.
    fn timer(&mut self, at: u64, time: GuestTime) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = self.table().push(Timer { at, time })?;
        let pollable = subscribe(self.table(), timer)?;
        if let Some(timers) = self.timers() {
            timers.due.insert(pollable.rep(), at);
        }
        Ok(pollable)
    }
}

impl monotonic_clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        monotonic_clock::Host::now(&mut self.clocks())
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        monotonic_clock::Host::resolution(&mut self.clocks())
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        match self.timers() {
            Some(timers) => {
                let time = timers.time.clone();
                self.timer(when, time)
            }
            None => monotonic_clock::Host::subscribe_instant(&mut self.clocks(), when),
        }
    }

    fn subscribe_duration(
        &mut self,
        when: monotonic_clock::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        match self.timers() {
            Some(timers) => {
                let time = timers.time.clone();
                let at = time.read().saturating_add(when);
                self.timer(at, time)
            }
            None => monotonic_clock::Host::subscribe_duration(&mut self.clocks(), when),
        }
    }
}

impl poll::Host for GuestState {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        if let Some(timers) = self.timers() {
            let mut now = timers.time.read();
            if let Some(due) = timers.all_due(&pollables)
                && let Some(first) = due.iter().copied().min()
            {
                if first > now {
                    timers.time.wait_until(first).await?;
                    now = first;
                } else {
                    tokio::task::yield_now().await;
                }
                let ready = (0..).zip(due).filter(|(_, at)| *at <= now);
                return Ok(ready.map(|(place, _)| place).collect());
            }
        }
        poll::Host::poll(self.table(), pollables).await
    }
}

impl poll::HostPollable for GuestState {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        if let Some(timers) = self.timers()
            && let Some(at) = timers.due(&pollable)
        {
            return timers.time.wait_until(at).await;
        }
        poll::HostPollable::block(self.table(), pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        if let Some(timers) = self.timers()
            && let Some(at) = timers.due(&pollable)
        {
            return Ok(timers.time.read() >= at);
        }
        poll::HostPollable::ready(self.table(), pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        if let Some(timers) = self.timers() {
            timers.due.remove(&pollable.rep());
        }
        poll::HostPollable::drop(self.table(), pollable)
    }
}
