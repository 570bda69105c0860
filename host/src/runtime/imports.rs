//! What guests may import: the interfaces that this host has, in which versions, and which grant
//! puts something behind each.

use wasmparser::TypeRef;

/// Something that a file needs from its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// An interface such as `wasi:cli/stdout@0.2.6`, or for a core module its module and name.
    pub name: String,
    /// Whether this host has it.
    pub known: bool,
    /// The key of a job's definition that puts something behind it; nothing for what every job
    /// may use, or none.
    pub needs: Option<&'static str>,
    /// Whether every use of it is refused: it is of WASI 0.3, and the host has only WASI 0.2's.
    pub refused: bool,
}

/// Which versions of an interface the host has.
#[derive(Debug, Clone, Copy)]
enum Versions {
    /// Any 0.1 of the jobs' own package, and any 0.2 of WASI: interfaces only ever grow.
    Any(&'static str),
    /// This one, of an interface that is still a draft.
    Only(&'static str),
}

const OWN: Versions = Versions::Any("0.1.");
const WASI: Versions = Versions::Any("0.2.");
const DIRS: Option<&str> = Some("grants.dirs");
const HTTP: Option<&str> = Some("grants.http");
const SOCKETS: Option<&str> = Some("grants.sockets");
const STATE: Option<&str> = Some("grants.state");

/// What the host offers to components. Kept in step with the linker by a test.
const COMPONENT_INTERFACES: &[(&str, Versions, Option<&str>)] = &[
    ("quarterjack:job/control", OWN, None),
    ("quarterjack:job/log", OWN, None),
    ("quarterjack:job/schedule", OWN, Some("grants.schedule")),
    ("quarterjack:job/secrets", OWN, Some("grants.secrets")),
    ("quarterjack:job/state", OWN, STATE),
    ("quarterjack:job/types", OWN, None),
    ("wasi:cli/environment", WASI, None),
    ("wasi:cli/exit", WASI, None),
    ("wasi:cli/stderr", WASI, None),
    ("wasi:cli/stdin", WASI, None),
    ("wasi:cli/stdout", WASI, None),
    ("wasi:cli/terminal-input", WASI, None),
    ("wasi:cli/terminal-output", WASI, None),
    ("wasi:cli/terminal-stderr", WASI, None),
    ("wasi:cli/terminal-stdin", WASI, None),
    ("wasi:cli/terminal-stdout", WASI, None),
    ("wasi:clocks/monotonic-clock", WASI, None),
    ("wasi:clocks/wall-clock", WASI, None),
    (
        "wasi:config/store",
        Versions::Only("0.2.0-rc.1"),
        Some("grants.config"),
    ),
    ("wasi:filesystem/preopens", WASI, DIRS),
    ("wasi:filesystem/types", WASI, DIRS),
    ("wasi:http/outgoing-handler", WASI, HTTP),
    ("wasi:http/types", WASI, HTTP),
    ("wasi:io/error", WASI, None),
    ("wasi:io/poll", WASI, None),
    ("wasi:io/streams", WASI, None),
    (
        "wasi:keyvalue/atomics",
        Versions::Only("0.2.0-draft"),
        STATE,
    ),
    ("wasi:keyvalue/batch", Versions::Only("0.2.0-draft"), STATE),
    ("wasi:keyvalue/store", Versions::Only("0.2.0-draft"), STATE),
    ("wasi:logging/logging", Versions::Only("0.1.0-draft"), None),
    ("wasi:random/insecure", WASI, None),
    ("wasi:random/insecure-seed", WASI, None),
    ("wasi:random/random", WASI, None),
    ("wasi:sockets/instance-network", WASI, SOCKETS),
    ("wasi:sockets/ip-name-lookup", WASI, SOCKETS),
    ("wasi:sockets/network", WASI, SOCKETS),
    ("wasi:sockets/tcp", WASI, SOCKETS),
    ("wasi:sockets/tcp-create-socket", WASI, SOCKETS),
    ("wasi:sockets/udp", WASI, SOCKETS),
    ("wasi:sockets/udp-create-socket", WASI, SOCKETS),
];

/// The versions of WASI 0.3, which only its commands have.
const WASI_03: Versions = Versions::Any("0.3.");

/// What the host has in WASI 0.3, and what of it does nothing yet but deny. Kept in step with the
/// linker by a test.
#[rustfmt::skip]
const INTERFACES_03: &[(&str, Behind)] = &[
    ("wasi:cli/environment", Behind::All),
    ("wasi:cli/exit", Behind::All),
    ("wasi:cli/stderr", Behind::All),
    ("wasi:cli/stdin", Behind::All),
    ("wasi:cli/stdout", Behind::All),
    ("wasi:cli/terminal-input", Behind::All),
    ("wasi:cli/terminal-output", Behind::All),
    ("wasi:cli/terminal-stderr", Behind::All),
    ("wasi:cli/terminal-stdin", Behind::All),
    ("wasi:cli/terminal-stdout", Behind::All),
    ("wasi:cli/types", Behind::All),
    ("wasi:clocks/monotonic-clock", Behind::All),
    ("wasi:clocks/system-clock", Behind::All),
    ("wasi:clocks/types", Behind::All),
    ("wasi:filesystem/preopens", Behind::Nothing),
    ("wasi:filesystem/types", Behind::Nothing),
    ("wasi:http/client", Behind::Nothing),
    ("wasi:http/types", Behind::Nothing),
    ("wasi:random/insecure", Behind::All),
    ("wasi:random/insecure-seed", Behind::All),
    ("wasi:random/random", Behind::All),
    ("wasi:sockets/ip-name-lookup", Behind::Grant("grants.sockets")),
    ("wasi:sockets/types", Behind::Grant("grants.sockets")),
];

/// What is behind an interface of WASI 0.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// All that it is for.
    All,
    /// What a key of a job's definition puts there.
    Grant(&'static str),
    /// Nothing: whoever calls it is told that there is only WASI 0.2's.
    Nothing,
}

/// What is behind an import of WASI 0.3; nothing if the host does not have it.
pub(super) fn behind_03(name: &str) -> Option<Behind> {
    let (interface, version) = name.split_once('@')?;
    let (_, behind) = INTERFACES_03
        .iter()
        .find(|(known, _)| *known == interface)?;
    WASI_03.fit(version).then_some(*behind)
}

/// Whether an interface is of WASI 0.3 itself, and not of a draft.
pub(super) fn is_03(name: &str) -> bool {
    let version = name.split_once('@').map(|(_, version)| version);
    version.is_some_and(|version| WASI_03.fit(version))
}

/// An import that a WASI 0.3 command may have, and nothing else.
pub(super) fn component_import_03(name: &str) -> Option<Import> {
    let behind = behind_03(name)?;
    Some(Import {
        name: name.to_owned(),
        known: true,
        needs: match behind {
            Behind::Grant(key) => Some(key),
            Behind::All | Behind::Nothing => None,
        },
        refused: behind == Behind::Nothing,
    })
}

impl Versions {
    fn fit(self, version: &str) -> bool {
        match self {
            // A release candidate such as 0.2.0-rc-2023-11-10 is another interface.
            Versions::Any(prefix) => version
                .strip_prefix(prefix)
                .is_some_and(|patch| patch.bytes().all(|byte| byte.is_ascii_digit())),
            Versions::Only(only) => version == only,
        }
    }
}

/// An import of a component.
pub(super) fn component_import(name: &str) -> Import {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let entry = COMPONENT_INTERFACES
        .iter()
        .find(|(known, ..)| *known == interface);
    Import {
        name: name.to_owned(),
        known: entry.is_some_and(|(_, versions, _)| versions.fit(version)),
        needs: entry.and_then(|(.., needs)| *needs),
        refused: false,
    }
}

/// An import of a core module.
pub(super) fn core_import(module: &str, name: &str, ty: TypeRef) -> Import {
    let preview1 = module == "wasi_snapshot_preview1";
    Import {
        name: format!("{module}.{name}"),
        known: preview1 && matches!(ty, TypeRef::Func(_)),
        needs: (preview1 && (name.starts_with("path_") || name.starts_with("fd_prestat")))
            .then_some("grants.dirs"),
        refused: false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::runtime::engine::Engine;

    /// The interfaces of WASI 0.3.
    #[cfg(feature = "wasi-03")]
    pub(in crate::runtime) fn interfaces_03() -> impl Iterator<Item = (&'static str, Behind)> {
        INTERFACES_03.iter().copied()
    }

    /// Whether an engine can link an import: an instance without anything in it is satisfied, as
    /// instances are by those that have more.
    pub(in crate::runtime) fn satisfied(engine: &Engine, name: &str) -> wasmtime::Result<()> {
        let text = format!("(component (import \"{name}\" (instance)))");
        let bytes = wat::parse_str(text).unwrap();
        let component = wasmtime::component::Component::new(engine.wasmtime(), bytes)?;
        engine.components().instantiate_pre(&component).map(drop)
    }

    #[test]
    fn a_release_candidate_of_wasi_is_not_wasi() {
        assert!(component_import("wasi:cli/stdout@0.2.6").known);
        assert!(!component_import("wasi:cli/stdout@0.2.0-rc-2023-11-10").known);
        assert!(!component_import("wasi:cli/stdout@0.3.0").known);
        assert!(component_import("wasi:keyvalue/store@0.2.0-draft").known);
        assert!(!component_import("wasi:keyvalue/store@0.2.0-draft2").known);
    }

    #[test]
    fn what_the_table_offers_is_in_the_linker() {
        let engine = crate::runtime::plugin::tests::engine();
        for (interface, versions, _) in COMPONENT_INTERFACES {
            let version = match versions {
                Versions::Any(prefix) => format!("{prefix}0"),
                Versions::Only(only) => (*only).to_owned(),
            };
            let linked = satisfied(&engine, &format!("{interface}@{version}"));
            assert!(linked.is_ok(), "{interface}: {:?}", linked.err());
        }
    }

    #[test]
    fn a_draft_of_wasi_0_3_is_not_wasi_0_3() {
        let refused = |name| component_import_03(name).map(|import| import.refused);
        assert_eq!(refused("wasi:cli/stdout@0.3.0"), Some(false));
        assert_eq!(refused("wasi:sockets/types@0.3.1"), Some(false));
        assert_eq!(refused("wasi:http/types@0.3.1"), Some(true));
        assert_eq!(refused("wasi:cli/stdout@0.3.0-rc-2025-09-16"), None);
        assert_eq!(refused("wasi:cli/stdout@0.2.6"), None);
        assert_eq!(refused("wasi:made/up@0.3.0"), None);
    }
}
