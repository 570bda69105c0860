//! What a WASI 0.3 command may import and the host does not offer in that version: files and HTTP.
//! A command that never uses them runs all the same; one that does is told, with an error where the
//! function has one and else with its end, and so is the run's log.
//!
//! Each is linked as the command itself declares it, with resources of which there are none.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType, Val};
use wasmtime::{Result, bail};

use crate::job::Grants;
use crate::run::Denial;
use crate::runtime::guest::GuestState;
use crate::runtime::imports::{Behind, behind_03};

/// The resources of what is not offered. There are none.
struct NotOffered;

/// The errors by which a guest is told, the first of these that a function knows.
const ERRORS: [&str; 4] = [
    "access-denied",
    "not-permitted",
    "HTTP-request-denied",
    "unsupported",
];

/// Links what a component imports of WASI 0.3 and is not offered.
///
/// # Errors
/// If the linker knows it already.
pub(super) fn add_to_linker(
    linker: &mut Linker<GuestState>,
    engine: &wasmtime::Engine,
    component: &Component,
) -> Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else {
            continue;
        };
        if behind_03(name) != Some(Behind::Nothing) {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(func) => {
                    refuse(&mut instance, name, item, func.async_())?;
                }
                ComponentItem::Resource(_) => {
                    let resource = ResourceType::host::<NotOffered>();
                    instance.resource(item, resource, |_, _| Ok(()))?;
                }
                // Types carry nothing, and WASI has nothing else.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Links a function that refuses to do anything.
fn refuse(
    instance: &mut LinkerInstance<'_, GuestState>,
    interface: &str,
    func: &str,
    is_async: bool,
) -> Result<()> {
    let refused = Refused {
        package: package(interface).to_owned(),
        name: format!("{interface} {func}"),
    };
    if is_async {
        instance.func_new_concurrent(func, move |guest, ty, _, results| {
            let answer = guest.with(|mut access| refused.answer(access.get(), &ty, results));
            Box::pin(std::future::ready(answer))
        })
    } else {
        instance.func_new(func, move |mut store, ty, _, results| {
            refused.answer(store.data_mut(), &ty, results)
        })
    }
}

/// The package of an interface, without its version: `wasi:sockets`.
fn package(interface: &str) -> &str {
    interface.split(['/', '@']).next().unwrap_or(interface)
}

/// A function that is refused.
struct Refused {
    package: String,
    /// Its interface and its own name.
    name: String,
}

impl Refused {
    /// Tells the run's log, and the guest.
    fn answer(
        &self,
        state: &mut GuestState,
        ty: &ComponentFunc,
        results: &mut [Val],
    ) -> Result<()> {
        let result = ty.results().next();
        // An empty list is the truth where nothing is granted.
        if let (Some(Type::List(_)), [answer]) = (&result, &mut *results) {
            *answer = Val::List(Vec::new());
            if self.is_granted(&state.desk().attempt.run.job.grants) {
                self.tell(state);
            }
            return Ok(());
        }
        let told = self.tell(state);
        match (error_of(result), results) {
            (Some(error), [answer]) => *answer = Val::Result(Err(Some(Box::new(error)))),
            _ => bail!("{told}"),
        }
        Ok(())
    }

    fn tell(&self, state: &mut GuestState) -> String {
        let package = &self.package;
        state.desk().refuse(Denial {
            what: format!(
                "{}: {package} of WASI 0.3 is not offered yet, and that of WASI 0.2 is: build the job for WASI 0.2",
                self.name
            ),
            grant: None,
            ceiling: None,
        })
    }

    /// Whether the job is granted what the package is for.
    fn is_granted(&self, grants: &Grants) -> bool {
        match &*self.package {
            "wasi:filesystem" => !grants.dirs.is_empty(),
            _ => true,
        }
    }
}

/// The error that a function gives whose call is refused, if its result has one.
fn error_of(result: Option<Type>) -> Option<Val> {
    let Some(Type::Result(result)) = result else {
        return None;
    };
    match result.err()? {
        Type::Enum(errors) => ERRORS
            .iter()
            .find(|error| errors.names().any(|name| name == **error))
            .map(|error| Val::Enum((*error).to_owned())),
        Type::Variant(errors) => ERRORS
            .iter()
            .find(|error| {
                errors
                    .cases()
                    .any(|case| case.name == **error && case.ty.is_none())
            })
            .map(|error| Val::Variant((*error).to_owned(), None)),
        _ => None,
    }
}
