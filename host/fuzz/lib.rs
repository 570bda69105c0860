//! The modules under test, as they stand in the host.

#![allow(missing_docs, dead_code, unused_imports, unreachable_pub)]

#[path = "../src/job/mod.rs"]
pub mod job;
#[path = "../src/runtime/imports.rs"]
pub mod imports;
#[path = "../src/runtime/nesting.rs"]
pub mod nesting;
/// Stands in for the host's module of runs, of which `shape` names one type.
pub mod run {
    /// SHA-256 of a plugin's file.
    pub struct PluginDigest(pub [u8; 32]);
}
#[path = "../src/runtime/shape.rs"]
pub mod shape;
#[path = "../src/suggest.rs"]
pub mod suggest;
#[path = "../src/trigger/mod.rs"]
pub mod trigger;
#[path = "../src/units.rs"]
pub mod units;
