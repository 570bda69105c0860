//! WASI 0.3: commands that export `wasi:cli/run@0.3`, run by an engine of their own, whose guests
//! have tasks beside each other.
//!
//! The sandbox's library calls its WASI 0.3 experimental, and it has other functions than its
//! WASI 0.2, which the host confines function by function. So only what needs no confining is
//! linked from it, and what is confined by the same checks as in WASI 0.2:
//!
//! | interfaces | behind them |
//! |---|---|
//! | `wasi:cli/*` | the run's arguments, environment, input, output, log and exit code |
//! | `wasi:clocks/*` | the clocks; sleeping is [`determinism::sleep`] |
//! | `wasi:random/*` | random bytes |
//! | `wasi:sockets/*` | TCP to the peers that the job is granted: [`sockets_03`] |
//! | `wasi:filesystem/*`, `wasi:http/*` | nothing: [`refused`] |
//!
//! The library's files of WASI 0.3 are not linked at all: they are the same resources as those of
//! WASI 0.2, so that a guest could open a file by the one, confined, and write to it by the other,
//! past its quota.
//!
//! What a 0.3 command imports of WASI 0.2 and of the host's own interfaces is the same as for all
//! others, with the same grants and limits.

mod refused;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wasmparser::{Parser, Payload};
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

pub(super) use wasmtime_wasi::p3::bindings::CommandPre;

use super::capability::sockets_03;
use super::determinism;
use super::engine::{Capacity, Engine, EngineError, Kind};
use super::guest::{GuestState, HostMemory};
use super::outcome::Ending;
use super::shape::Shape;

/// The most guests that run at once in the engine for tasks; others wait for a place.
const MOST_RUNNING: usize = 1000;

/// Stacks for each slot of the pool.
pub(super) const STACKS_PER_SLOT: u32 = 4;

/// The most core instances that one plugin may have. A guest needs at most a stack for each, as
/// only one task of an instance is ever in the middle of something, and two besides.
pub(super) const MAX_CORE_INSTANCES: u32 = 32;

/// The slots of a plugin that is composed of several components.
const SLOTS_COMPOSED: u32 = (MAX_CORE_INSTANCES + 2).div_ceil(STACKS_PER_SLOT);

/// How many entries of the engine's own table the tasks of a guest may take for each thing that it
/// may hold of the host: a stream is three, a call of a task up to four.
const ENTRIES_PER_HANDLE: usize = 4;

/// Entries that a guest has without holding anything, for its own tasks.
const ENTRIES_BESIDES: usize = 64;

/// An engine that is made when it is first asked for.
pub(super) struct Later {
    capacity: Capacity,
    engine: OnceLock<Engine>,
    /// Held by who makes it.
    making: Mutex<()>,
}

impl Later {
    /// One that holds no more than this.
    pub(super) fn new(capacity: Capacity) -> Later {
        Later {
            capacity,
            engine: OnceLock::new(),
            making: Mutex::new(()),
        }
    }

    /// The engine, whose guests count among those that have `memory` together.
    ///
    /// # Errors
    /// If the address space for it cannot be had.
    pub(super) fn get(&self, memory: &Arc<HostMemory>) -> Result<&Engine, EngineError> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let _making = self.making.lock();
        // Another may have been quicker.
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let running = self.capacity.running.min(MOST_RUNNING);
        let capacity = Capacity {
            running: running.max(SLOTS_COMPOSED as usize),
            ..self.capacity
        };
        let engine = Engine::make(Kind::Tasks, capacity, memory.clone())?;
        Ok(self.engine.get_or_init(|| engine))
    }
}

/// Links what of WASI 0.3 has something behind it.
///
/// # Errors
/// If the linker knows it already.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::cli::add_to_linker(linker)?;
    wasmtime_wasi::p3::clocks::add_to_linker(linker)?;
    wasmtime_wasi::p3::random::add_to_linker(linker)?;
    determinism::sleep::add_to_linker(linker)?;
    sockets_03::add_to_linker(linker)
}

/// Links a command, what it imports of WASI 0.3 and the host does not offer included.
///
/// # Errors
/// If it imports or exports something with the wrong type.
pub(super) fn link(
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<CommandPre<GuestState>> {
    let mut linker = engine.components().clone();
    refused::add_to_linker(&mut linker, engine.wasmtime(), component)?;
    CommandPre::new(linker.instantiate_pre(component)?)
}

/// How many slots a plugin takes at least, for the stacks of its tasks.
pub(super) fn slots_for(shape: Shape, bytes: &[u8]) -> u32 {
    if shape == Shape::Command03 && is_composed(bytes) {
        SLOTS_COMPOSED
    } else {
        1
    }
}

/// Whether there are components inside of a component that have code of their own.
fn is_composed(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            // Of core modules. The outermost component is at 1.
            Ok(Payload::InstanceSection(_)) if depth > 1 => return true,
            Ok(_) => {}
            // It was compiled, so that this does not happen.
            Err(_) => return true,
        }
    }
    false
}

/// Calls a command and says how that ended.
pub(super) async fn call(pre: &CommandPre<GuestState>, store: &mut Store<GuestState>) -> Ending {
    let job = &store.data_mut().desk().attempt.run.job;
    let handles = job.limits.handles as usize;
    let network = job.grants.sockets.is_some() || job.grants.http.is_some();
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(handles * ENTRIES_PER_HANDLE + ENTRIES_BESIDES);
    }
    let sleeping = store.data_mut().timers().map(|timers| timers.sleeping());
    let called = async {
        let command = pre.instantiate_async(&mut *store).await?;
        let run = store.run_concurrent(async |guest| {
            let result = command.wasi_cli_run().call_run(guest).await?;
            // It may have said how it went and still be at work.
            std::future::poll_fn(|context| guest.poll_no_interesting_tasks(context)).await;
            Ok(result)
        });
        run.await?
    };
    determinism::sleep::drive(sleeping, network, called)
        .await
        .map_or_else(Ending::from_error, |result| {
            Ending::Exited(i32::from(result.is_err()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::cache::CodeCache;
    use crate::runtime::imports::Behind;
    use crate::runtime::imports::tests::{interfaces_03, satisfied};
    use crate::runtime::plugin::Loader;
    use crate::runtime::plugin::tests::{command, engine, loader};

    fn guest() -> Vec<u8> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/guests/command-03.wat"
        );
        wat::parse_file(path).unwrap()
    }

    #[test]
    fn the_engine_for_tasks_is_made_when_it_is_needed_and_shares_the_memory() {
        let engine = engine();
        let loader = Loader::new(engine.clone(), None);
        loader.load(&command("x")).unwrap();
        assert!(engine.for_tasks().engine.get().is_none());
        let loaded = loader.load(&guest()).unwrap();
        assert_eq!(
            (loaded.plugin.shape, loaded.plugin.slots),
            (Shape::Command03, 1)
        );
        let tasks = engine.for_shape(Shape::Command03).unwrap();
        assert!(Arc::ptr_eq(tasks.memory(), engine.memory()));
        assert!(!wasmtime::Engine::same(tasks.wasmtime(), engine.wasmtime()));
        assert!(wasmtime::Engine::same(
            engine.for_shape(Shape::Command).unwrap().wasmtime(),
            engine.wasmtime()
        ));
    }

    #[test]
    fn code_for_tasks_is_kept_like_any_other() {
        let place = tempfile::tempdir().unwrap();
        let load = || {
            let engine = engine();
            let cache = CodeCache::open(place.path(), engine.wasmtime()).unwrap();
            let loader = Loader::new(engine, Some(cache));
            let both = [command("x"), guest()];
            both.map(|bytes| loader.load(&bytes).unwrap().compiled_in.is_some())
        };
        assert_eq!(load(), [true, true]);
        assert_eq!(load(), [false, false]);
    }

    #[test]
    fn what_the_table_offers_is_in_the_linker() {
        let engine = engine();
        let tasks = engine.for_shape(Shape::Command03).unwrap();
        for (interface, behind) in interfaces_03() {
            // What is refused is linked as each command declares it.
            let linked = satisfied(tasks, &format!("{interface}@0.3.0"));
            assert!(
                behind == Behind::Nothing || linked.is_ok(),
                "{interface}: {linked:?}"
            );
        }
    }

    #[test]
    fn a_composition_takes_more_stacks() {
        assert_eq!(slots_for(Shape::Command03, &guest()), 1);
        let inner = "(core module $m) (core instance (instantiate $m))";
        let nested = format!("(component (component $c {inner}) (instance (instantiate $c)))");
        let bytes = wat::parse_str(nested).unwrap();
        assert_eq!(slots_for(Shape::Command03, &bytes), SLOTS_COMPOSED);
        assert_eq!(slots_for(Shape::Command, &bytes), 1);
        const { assert!(SLOTS_COMPOSED * STACKS_PER_SLOT >= MAX_CORE_INSTANCES + 2) };
    }

    /// A command that says that files of WASI 0.3 are the same as those of 0.2: it could have them
    /// opened by the one and written to by the other.
    #[test]
    fn nothing_of_wasi_0_2_passes_for_what_is_refused() {
        let text = r#"(component
            (import "wasi:filesystem/types@0.2.6" (instance $old
                (export "descriptor" (type (sub resource)))))
            (alias export $old "descriptor" (type $descriptor))
            (import "wasi:filesystem/types@0.3.0" (instance
                (alias outer 1 $descriptor (type $d'))
                (export "descriptor" (type $d (eq $d')))
                (export "[method]descriptor.set-size" (func async
                    (param "self" (borrow $d)) (param "size" u64) (result (result))))))
            (core module $m (func (export "run") (result i32) unreachable))
            (core instance $i (instantiate $m))
            (core func $ignored (canon task.return (result (result))))
            (func $run async (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.3.0" (instance $exported)))"#;
        let error = loader().load(&wat::parse_str(text).unwrap()).err().unwrap();
        let error = error.to_string();
        assert!(
            error.contains("does not fit") && error.contains("descriptor"),
            "{error}"
        );
    }
}
