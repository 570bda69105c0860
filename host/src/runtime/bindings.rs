//! The contract of `wit/job.wit` as Rust types, generated.
#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "job",
    exports: { default: async },
});
