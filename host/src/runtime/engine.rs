//! The engine: the only wasmtime configuration, the pool that instances live in, and the
//! ticker that lets the host look at a guest that computes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{
    Config, InstanceAllocationStrategy, Linker as CoreLinker, OptLevel, PoolingAllocationConfig,
};
use wasmtime_wasi::I32Exit;

use super::capability;
use super::determinism;
use super::guest::{GuestState, HostMemory};
use super::shape::Shape;
#[cfg(feature = "wasi-03")]
use super::wasi03;

/// How often the host looks at a guest that computes: how late a timeout can strike, and the
/// longest that one guest keeps a thread from another.
const TICK: Duration = Duration::from_millis(2);

/// How many ticks without a guest before the ticker sleeps.
const IDLE_TICKS: u32 = 50;

/// The most instances that the pool can be made for: beyond it the memory maps of the pool
/// pass Linux's usual `vm.max_map_count` of 65530.
pub const MAX_RUNNING: usize = 10_000;

/// The largest linear memory that pools are made for, in bytes: all of a 32-bit one.
pub const WHOLE_MEMORY: u64 = 4 << 30;

/// What one slot of the pool covers; a plugin that needs more takes several.
const MEMORIES_PER_SLOT: u32 = 1;
const TABLES_PER_SLOT: u32 = 4;

/// The most of each that one plugin may have.
const MAX_MEMORIES: u32 = 8;
const MAX_TABLES: u32 = 32;
const MAX_CORE_INSTANCES: u32 = 128;
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// What stays committed of a slot's memory and tables between two runs. Without it every run
/// returns its pages to the kernel, and two threads that do so wait for each other.
const KEEP_RESIDENT: usize = 64 << 10;

/// Fuel is handed out in slices of this size. A guest keeps count of its slice in a register,
/// which is lost when it is ended from outside: so what is recorded of such a run is exact to
/// one slice. About a third of a millisecond of computing.
const FUEL_SLICE: u64 = 1_000_000;

/// The largest image that is made of the beginning of a memory whatever little data it holds, in
/// bytes; a larger one must be half full. A file of a few bytes per memory could ask for GiBs.
const SPARSE_IMAGE: u64 = 1 << 20;

/// Stack of a guest, and of the fiber it runs on with the host functions it calls.
const GUEST_STACK: usize = 512 << 10;
const FIBER_STACK: usize = 1 << 20;

/// Bytes that may cross from guest to host in one call.
const HOSTCALL_FUEL: usize = 128 << 20;

/// The engine that compiles and runs all guests. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    components: ComponentLinker<GuestState>,
    modules: CoreLinker<GuestState>,
    slots: Arc<Semaphore>,
    ticker: Arc<Ticker>,
    memory: Arc<HostMemory>,
    /// The engine for guests with tasks, once one was met.
    #[cfg(feature = "wasi-03")]
    for_tasks: wasi03::Later,
}

/// What an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One call at a time: all up to WASI 0.2.
    Calls,
    /// Tasks beside each other, as WASI 0.3 has them. What that needs costs every instance
    /// microseconds.
    #[cfg(feature = "wasi-03")]
    Tasks,
}

impl Kind {
    /// The kind of engine for guests of a shape.
    pub(super) fn of(shape: Shape) -> Kind {
        match shape {
            #[cfg(feature = "wasi-03")]
            Shape::Command03 => Kind::Tasks,
            _ => Kind::Calls,
        }
    }
}

/// What an engine may hold.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// How many guests at once.
    pub running: usize,
    /// The most bytes of one linear memory.
    pub largest_memory: u64,
    /// The most bytes of memory and tables of all guests together.
    pub memory: u64,
}

/// Why the engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// More runs at once than the pool can serve.
    #[error(
        "{0} runs at once are more than the pool of instances can serve; at most {MAX_RUNNING} (each needs memory maps, of which Linux allows a process 65530)"
    )]
    TooMany(usize),
    /// The pool does not fit the machine.
    #[error(
        "cannot reserve address space for {slots} runs at once: {reason}; try a smaller --max-running, or raise `ulimit -v` and `vm.max_map_count`"
    )]
    Pool {
        /// How many were asked for.
        slots: usize,
        /// What the system said.
        reason: String,
    },
    /// The host functions could not be linked, or the ticker could not start.
    #[error("cannot start the WebAssembly engine: {0}")]
    Start(String),
}

impl Engine {
    /// An engine that holds no more than this.
    ///
    /// # Errors
    /// If the address space for it cannot be had.
    pub fn new(capacity: Capacity) -> Result<Engine, EngineError> {
        let memory = Arc::new(HostMemory::new(capacity.memory));
        Engine::make(Kind::Calls, capacity, memory)
    }

    /// An engine of a kind, whose guests share `memory` with those of others.
    ///
    /// # Errors
    /// If the address space for it cannot be had.
    pub(super) fn make(
        kind: Kind,
        capacity: Capacity,
        memory: Arc<HostMemory>,
    ) -> Result<Engine, EngineError> {
        let slots = capacity.running.max(1);
        if slots > MAX_RUNNING {
            return Err(EngineError::TooMany(slots));
        }
        // A plugin that needs several slots must fit even a small pool.
        let pool = slots.max(MAX_MEMORIES as usize);
        let config = config(kind, pool, capacity.largest_memory);
        let wasmtime = wasmtime::Engine::new(&config).map_err(|error| EngineError::Pool {
            slots,
            reason: format!("{error:#}"),
        })?;
        let start = |error: wasmtime::Error| EngineError::Start(format!("{error:#}"));

        let mut components = ComponentLinker::new(&wasmtime);
        wasmtime_wasi::p2::add_to_linker_async(&mut components).map_err(start)?;
        capability::add_to_linker(&mut components).map_err(start)?;
        let mut modules = CoreLinker::new(&wasmtime);
        capability::filesystem::add_to_module_linker(&mut modules).map_err(start)?;

        // WASI's own lets nothing but 0 to 125 be an exit code, and programs have others.
        modules
            .allow_shadowing(true)
            .func_wrap(
                "wasi_snapshot_preview1",
                "proc_exit",
                |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) },
            )
            .map_err(start)?;
        determinism::add_to_linkers(&mut components, &mut modules).map_err(start)?;
        #[cfg(feature = "wasi-03")]
        if kind == Kind::Tasks {
            wasi03::add_to_linker(&mut components).map_err(start)?;
        }

        let ticker = Ticker::start(wasmtime.weak())
            .map_err(|error| EngineError::Start(error.to_string()))?;
        Ok(Engine {
            inner: Arc::new(Inner {
                wasmtime,
                components,
                modules,
                slots: Arc::new(Semaphore::new(pool)),
                ticker,
                memory,
                #[cfg(feature = "wasi-03")]
                for_tasks: wasi03::Later::new(capacity),
            }),
        })
    }

    /// The engine that runs guests of a shape: this one, or for WASI 0.3 another, which is made
    /// when it is first asked for.
    ///
    /// # Errors
    /// If the address space for it cannot be had.
    pub(super) fn for_shape(&self, shape: Shape) -> Result<&Engine, EngineError> {
        match Kind::of(shape) {
            Kind::Calls => Ok(self),
            #[cfg(feature = "wasi-03")]
            Kind::Tasks => self.inner.for_tasks.get(&self.inner.memory),
        }
    }

    #[cfg(all(test, feature = "wasi-03"))]
    pub(super) fn for_tasks(&self) -> &wasi03::Later {
        &self.inner.for_tasks
    }

    /// The memory of all its guests.
    pub fn memory(&self) -> &Arc<HostMemory> {
        &self.inner.memory
    }

    /// wasmtime's own engine.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    /// What components can import.
    pub fn components(&self) -> &ComponentLinker<GuestState> {
        &self.inner.components
    }

    /// What core modules can import.
    pub fn modules(&self) -> &CoreLinker<GuestState> {
        &self.inner.modules
    }

    /// How many slots of the pool a guest takes that needs this much at once.
    ///
    /// # Errors
    /// What it has too much of.
    pub fn slots_for(&self, needs: &wasmtime::ResourcesRequired) -> Result<u32, String> {
        let (memories, tables) = (needs.num_memories, needs.num_tables);
        for (what, has, most) in [
            ("memories", memories, MAX_MEMORIES),
            ("tables", tables, MAX_TABLES),
        ] {
            if has > most {
                return Err(format!("it has {has} {what}, and a job may have {most}"));
            }
        }
        Ok((memories.div_ceil(MEMORIES_PER_SLOT))
            .max(tables.div_ceil(TABLES_PER_SLOT))
            .max(1))
    }

    /// Waits until the pool has room for a guest, and has the ticker look at it while it runs.
    pub async fn enter(&self, slots: u32) -> Entered {
        // The semaphore is never closed, so that an error cannot happen; without a permit the
        // pool itself would refuse the instance.
        let permit = self
            .inner
            .slots
            .clone()
            .acquire_many_owned(slots)
            .await
            .ok();
        self.inner.ticker.enter();
        Entered {
            _permit: permit,
            ticker: self.inner.ticker.clone(),
        }
    }

    /// A fresh store for one run.
    pub fn store(&self, state: GuestState, fuel: u64) -> wasmtime::Store<GuestState> {
        let mut store = wasmtime::Store::new(&self.inner.wasmtime, state);
        store.limiter(|state| state.meter());
        // Both only fail where the engine was configured without fuel.
        let _ = store.set_fuel(fuel);
        let _ = store.fuel_async_yield_interval(Some(FUEL_SLICE));
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| context.data_mut().on_tick());
        store
    }
}

/// A place in the pool; given back when dropped.
pub struct Entered {
    _permit: Option<OwnedSemaphorePermit>,
    ticker: Arc<Ticker>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.ticker.leave();
    }
}

/// An engine that compiles what every [`Engine`] of a kind runs, and runs nothing: it reserves no
/// address space.
pub(super) fn compile_only(kind: Kind) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&code_config(kind))
}

fn config(kind: Kind, slots: usize, max_memory: u64) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    let count = |per_slot: u32| {
        u32::try_from(slots)
            .unwrap_or(u32::MAX)
            .saturating_mul(per_slot)
    };
    // Instances themselves are only counted; memories, tables and stacks take address space.
    pool.total_component_instances(count(MAX_CORE_INSTANCES))
        .total_core_instances(count(MAX_CORE_INSTANCES))
        .total_memories(count(MEMORIES_PER_SLOT))
        .total_tables(count(TABLES_PER_SLOT))
        .total_stacks(count(1))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(max_memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .decommit_batch_size(32);
    #[cfg(feature = "wasi-03")]
    if kind == Kind::Tasks {
        pool.total_stacks(count(wasi03::STACKS_PER_SLOT))
            .max_core_instances_per_component(wasi03::MAX_CORE_INSTANCES);
    }

    let mut config = code_config(kind);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// All that shapes code.
fn code_config(kind: Kind) -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(SPARSE_IMAGE)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_component_model(true)
        .concurrency_support(kind != Kind::Calls)
        .cranelift_opt_level(OptLevel::Speed)
        // The same job gives the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// A thread that advances the engine's epoch while guests run.
struct Ticker {
    guests: AtomicUsize,
    asleep: AtomicBool,
    thread: Thread,
}

impl Ticker {
    /// Starts the thread. It ends when the engine is gone.
    fn start(engine: wasmtime::EngineWeak) -> std::io::Result<Arc<Ticker>> {
        let (hand_over, take) = std::sync::mpsc::channel::<std::sync::Weak<Ticker>>();
        let handle = std::thread::Builder::new()
            .name("epoch-ticker".into())
            .spawn(move || {
                let Ok(ticker) = take.recv() else { return };
                let mut idle = 0;
                loop {
                    std::thread::sleep(TICK);
                    let (Some(engine), Some(ticker)) = (engine.upgrade(), ticker.upgrade()) else {
                        return;
                    };
                    engine.increment_epoch();
                    if ticker.guests.load(Ordering::SeqCst) > 0 {
                        idle = 0;
                        continue;
                    }
                    idle += 1;
                    if idle < IDLE_TICKS {
                        continue;
                    }
                    idle = 0;
                    ticker.asleep.store(true, Ordering::SeqCst);
                    // A guest that came in between has either seen `asleep`, or is seen here.
                    if ticker.guests.load(Ordering::SeqCst) > 0 {
                        ticker.asleep.store(false, Ordering::SeqCst);
                        continue;
                    }
                    // Neither the engine nor the ticker is held while asleep; wake now and
                    // then to see whether they are gone.
                    drop((engine, ticker));
                    std::thread::park_timeout(Duration::from_secs(5));
                }
            })?;
        let ticker = Arc::new(Ticker {
            guests: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            thread: handle.thread().clone(),
        });
        // The thread waits for this, so that the other end is there.
        let _ = hand_over.send(Arc::downgrade(&ticker));
        Ok(ticker)
    }

    fn enter(&self) {
        self.guests.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn leave(&self) {
        self.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
