//! The modules under test, as they stand in the host.

#![allow(missing_docs, dead_code, unused_imports, unreachable_pub)]

#[path = "../src/job/mod.rs"]
pub mod job;
#[path = "../src/suggest.rs"]
pub mod suggest;
#[path = "../src/trigger/mod.rs"]
pub mod trigger;
#[path = "../src/units.rs"]
pub mod units;
