//! The contract of `wit/` as Rust types, generated: the jobs' own package, and the interfaces of
//! WASI that the engine's library does not bring.
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
    imports: {
        "quarterjack:job/state": async | trappable,
        "quarterjack:job/secrets": async | trappable,
        "quarterjack:job/schedule": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "quarterjack:job/secrets.secret": crate::runtime::capability::secrets::Secret,
    },
});

/// The interfaces that portable components bring along.
pub mod portable {
    wasmtime::component::bindgen!({
        inline: "
            package quarterjack:host;
            world portable {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:logging/logging@0.1.0-draft;
            }
        ",
        path: ["../wit/deps/config", "../wit/deps/keyvalue", "../wit/deps/logging"],
        imports: {
            "wasi:keyvalue/store": async | trappable,
            "wasi:keyvalue/atomics": async | trappable,
            "wasi:keyvalue/batch": async | trappable,
            default: trappable,
        },
        with: {
            "wasi:keyvalue/store.bucket": crate::runtime::capability::keyvalue::Bucket,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::runtime::capability::keyvalue::Refused,
        },
    });
}
