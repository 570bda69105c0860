//! The integration tests: the real executable, driven from outside, with real guests.
//!
//! One binary, a module for each theme. Guests are text in `guests/`, among them hostile ones,
//! and are compiled by the tests. Nothing here sleeps for a fixed time: a test waits for an
//! event, with a deadline that only a broken host reaches.

// Clippy lets tests unwrap only inside of `#[test]` functions; this crate is nothing but tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod api;
mod architecture;
mod bombs;
mod cache;
mod capabilities;
mod cli;
mod compile;
mod control;
mod data;
mod definitions;
mod durable;
mod escape;
mod foresight;
mod grants;
mod history;
mod hooks;
mod hostile;
mod limits;
mod lock;
mod logs;
mod network;
mod outcomes;
mod own;
mod plugins;
mod policies;
mod policy;
mod reload;
mod rerun;
mod schedule;
mod secrets;
mod serve;
mod shapes;
mod signals;
mod sources;
mod support;
mod triggers;
#[cfg(feature = "wasi-03")]
mod wasi03;
