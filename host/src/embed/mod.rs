//! The scheduler as a library: what a program has of it that has it inside.
//!
//! ```text
//! SchedulerBuilder ──start──▶ a thread with the host (app::Assembly)
//!                                 ▲            │
//! Scheduler ──Control, Natives────┘            └──Events──▶ EventStream
//! ```
//!
//! It is the same host that the command line serves. Jobs that are added are definitions among the
//! host's own; those that are functions name them, and the functions stay here.

mod builder;
mod context;
mod error;
mod events;
mod job;
mod scheduler;
#[cfg(test)]
mod tests;
mod thread;
mod trigger;

pub use builder::SchedulerBuilder;
pub use context::{IntoOutput, RunContext};
pub use error::{Error, Failure};
pub use events::{EventStream, RecvError};
pub use job::Job;
pub use scheduler::{JobInfo, RunHandle, Scheduler};
pub use trigger::Trigger;
