//! `wasi:sockets` of WASI 0.3: connections to the same peers, by the same checks, which the
//! library makes for its sockets of both versions. Datagrams are not offered: of those that wait
//! to be sent, the library keeps as many as the guest has tasks.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::ErrorCode as LookupError;
use wasmtime_wasi::p3::bindings::sockets::types::{
    ErrorCode, HostTcpSocket as _, IpAddress, IpAddressFamily,
};
use wasmtime_wasi::p3::sockets::SocketError;
use wasmtime_wasi::sockets::{TcpSocket, UdpSocket, WasiSocketsView as _};

use super::{Addresses, State};
use crate::run::Denial;
use crate::runtime::guest::GuestState;

/// The version that the engine's library has; others that fit it are served by it too.
const VERSION: &str = "0.3.0";

/// Links the library's sockets, and what is not its own: the lookup of names, which it allows for
/// all names or for none, and the making of sockets, which it refuses without a word.
///
/// # Errors
/// If the linker does not take it.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::sockets::add_to_linker(linker)?;
    linker.allow_shadowing(true);
    let mut types = linker.instance(&format!("wasi:sockets/types@{VERSION}"))?;
    types.func_wrap(
        "[static]tcp-socket.create",
        |mut store: State<'_>, (family,): (IpAddressFamily,)| {
            let state = store.data_mut();
            let made = match state.may_have_sockets("TCP", "tcp") {
                true => state.sockets().create(family),
                false => Err(ErrorCode::AccessDenied.into()),
            };
            told(made)
        },
    )?;
    types.func_wrap(
        "[static]udp-socket.create",
        |mut store: State<'_>, (_,): (IpAddressFamily,)| {
            store.data_mut().desk().refuse(Denial {
                what: "a UDP socket of WASI 0.3: those are not offered yet, and those of WASI 0.2 are: build the job for WASI 0.2".to_owned(),
                grant: None,
                ceiling: None,
            });
            let made: Result<Resource<UdpSocket>, ErrorCode> = Err(ErrorCode::AccessDenied);
            Ok((made,))
        },
    )?;
    linker
        .instance(&format!("wasi:sockets/ip-name-lookup@{VERSION}"))?
        .func_wrap_concurrent("resolve-addresses", |guest, (name,): (String,)| {
            Box::pin(async move {
                let asked = guest.with(|mut access| access.get().begin_look_up(&name));
                let found = match asked {
                    Ok(addresses) => addresses.all().await,
                    Err(error) => Err(error),
                };
                // What it leads to and may not is told now.
                guest.with(|mut access| access.get().desk().collect());
                Ok((found.map_err(lookup_error),))
            })
        })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A result as a guest is told of it, unless it is one that ends the guest.
#[allow(clippy::type_complexity)]
fn told(
    result: Result<Resource<TcpSocket>, SocketError>,
) -> wasmtime::Result<(Result<Resource<TcpSocket>, ErrorCode>,)> {
    match result {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

impl Addresses {
    /// All addresses, once they are there.
    async fn all(self) -> Result<Vec<IpAddress>, super::ErrorCode> {
        let found = match self {
            Addresses::Asked(asked) => asked.await?,
            Addresses::Found(found) => found.collect(),
            Addresses::Failed(error) => return Err(error),
        };
        Ok(found.into_iter().map(IpAddress::from).collect())
    }
}

/// The error of a lookup in the words of WASI 0.3.
fn lookup_error(error: super::ErrorCode) -> LookupError {
    match error {
        super::ErrorCode::InvalidArgument => LookupError::InvalidArgument,
        super::ErrorCode::NameUnresolvable => LookupError::NameUnresolvable,
        super::ErrorCode::TemporaryResolverFailure => LookupError::TemporaryResolverFailure,
        _ => LookupError::PermanentResolverFailure,
    }
}
