//! Timers of WASI 0.1: `poll_oneoff`, which both makes them and waits for them.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker, Memory};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1 as _};
use wiggle::GuestMemory;

use super::GuestTime;
use crate::runtime::guest::GuestState;

/// Puts the function in the place of WASI's own.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |caller: Caller<'_, GuestState>, arguments: (i32, i32, i32, i32)| {
            Box::new(poll_oneoff(caller, arguments))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A subscription as it lies in memory: 8 bytes of the guest's own, the kind (0: a clock), and
/// for a clock its id at 16, the time at 24 and at 40 whether the time is absolute.
type Subscription = [u8; 48];

/// What happened, as it lies in memory: the guest's own 8 bytes, the error, and at 10 the kind.
type Event = [u8; 32];

const SUBSCRIPTION: usize = size_of::<Subscription>();
const EVENT: usize = size_of::<Event>();

/// An error as WASI 0.1 numbers it.
type Errno = i32;
const SUCCESS: Errno = 0;
const FAULT: Errno = 21;
const INVALID: Errno = 28;

/// The most subscriptions in one call, as many as what may cross from guest to host has room for.
const MOST: u32 = 1 << 20;

async fn poll_oneoff(
    mut caller: Caller<'_, GuestState>,
    (subscriptions, events, count, result): (i32, i32, i32, i32),
) -> wasmtime::Result<i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("missing required memory export");
    };
    if let Some(time) = caller.data_mut().timers().map(|timers| timers.time.clone()) {
        let asked = match read(memory.data(&caller), subscriptions, count, &time) {
            Ok(asked) => asked,
            Err(error) => return Ok(error),
        };
        if !asked.timers.is_empty() {
            return wait(&mut caller, memory, asked, &time, (events, result)).await;
        }
    }
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let wasi = state.wasi_p1();
    wasi.set_hostcall_fuel(fuel);
    let mut bytes = GuestMemory::Unshared(bytes);
    original::poll_oneoff(wasi, &mut bytes, subscriptions, events, count, result).await
}

/// What a guest asks to be woken for.
struct Asked {
    /// The guest's own 8 bytes of each timer, and when it is due.
    timers: Vec<([u8; 8], u64)>,
    /// Everything else.
    others: Vec<Subscription>,
}

fn read(memory: &[u8], at: i32, count: i32, time: &GuestTime) -> Result<Asked, Errno> {
    let count = count.cast_unsigned();
    if count == 0 || count > MOST {
        return Err(INVALID);
    }
    let place = place(at, count as usize * SUBSCRIPTION);
    let (all, _) = memory.get(place).ok_or(FAULT)?.as_chunks();
    let now = time.read();
    let mut asked = Asked {
        timers: Vec::new(),
        others: Vec::new(),
    };
    for subscription in all {
        match when(subscription, now, time)? {
            Some((own, at)) => asked.timers.push((own, at)),
            None => asked.others.push(*subscription),
        }
    }
    Ok(asked)
}

/// The guest's own bytes of a timer, and when it is due; nothing if it is no timer.
fn when(
    subscription: &Subscription,
    now: u64,
    time: &GuestTime,
) -> Result<Option<([u8; 8], u64)>, Errno> {
    let bytes = |at: usize| -> [u8; 8] {
        let found = subscription.get(at..).and_then(<[u8]>::first_chunk);
        found.copied().unwrap_or_default()
    };
    if bytes(8)[0] != 0 {
        return Ok(None);
    }
    let timeout = u64::from_le_bytes(bytes(24));
    let absolute = bytes(40)[0] & 1 != 0;
    let [id, ..] = bytes(16);
    let at = match (id, absolute) {
        (0 | 1, false) => now.saturating_add(timeout),
        (1, true) => timeout,
        // The time of day: both clocks move together.
        (0, true) => timeout.saturating_sub(super::nanoseconds(time.0.start)),
        _ => return Err(INVALID),
    };
    Ok(Some((bytes(0), at)))
}

/// Waits for the first of what is asked for, and writes down what has happened.
async fn wait(
    caller: &mut Caller<'_, GuestState>,
    memory: Memory,
    asked: Asked,
    time: &GuestTime,
    (events, result): (i32, i32),
) -> wasmtime::Result<Errno> {
    let first = asked.timers.iter().map(|(_, at)| *at).min().unwrap_or(0);
    let mut happened = if asked.others.is_empty() {
        if !time.left(first).is_zero() {
            time.wait_until(first).await?;
        } else {
            tokio::task::yield_now().await;
        }
        Vec::new()
    } else {
        tokio::select! {
            // What is there already has been there before.
            biased;
            answer = ask_for(caller, &asked.others) => match answer? {
                Ok(happened) => happened,
                Err(error) => return Ok(error),
            },
            () = tokio::time::sleep(time.left(first)) => {
                time.move_to(first);
                Vec::new()
            }
        }
    };
    for (own, at) in &asked.timers {
        if time.left(*at).is_zero() {
            // Success and the kind of a clock are zeros.
            let mut event: Event = [0; EVENT];
            event[..8].copy_from_slice(own);
            happened.push(event);
        }
    }
    Ok(write(memory.data_mut(caller), &happened, events, result))
}

/// Asks WASI's own function for what is no timer, in a memory of our own.
async fn ask_for(
    caller: &mut Caller<'_, GuestState>,
    others: &[Subscription],
) -> wasmtime::Result<Result<Vec<Event>, Errno>> {
    let mut bytes = others.as_flattened().to_vec();
    let events = bytes.len();
    let result = events + others.len() * EVENT;
    bytes.resize(result + 4, 0);
    let at = |at: usize| i32::try_from(at).unwrap_or(-1);
    let (events_at, result_at, count) = (at(events), at(result), at(others.len()));
    let fuel = caller.as_context_mut().hostcall_fuel();
    let wasi = caller.data_mut().wasi_p1();
    wasi.set_hostcall_fuel(fuel);
    let mut own = GuestMemory::Unshared(&mut bytes);
    let error = original::poll_oneoff(wasi, &mut own, 0, events_at, count, result_at).await?;
    if error != SUCCESS {
        return Ok(Err(error));
    }
    let (written, count) = bytes.split_at(result);
    let count = count.first_chunk().copied().map_or(0, u32::from_le_bytes);
    let (all, _) = written.get(events..).unwrap_or_default().as_chunks();
    Ok(Ok(all.iter().take(count as usize).copied().collect()))
}

/// Writes down what has happened, and how much of it.
fn write(memory: &mut [u8], happened: &[Event], events: i32, result: i32) -> Errno {
    let written = happened.as_flattened();
    let Some(to) = memory.get_mut(place(events, written.len())) else {
        return FAULT;
    };
    to.copy_from_slice(written);
    let Some(to) = memory.get_mut(place(result, 4)) else {
        return FAULT;
    };
    // As many as were asked for at most.
    let count = u32::try_from(happened.len()).unwrap_or(u32::MAX);
    to.copy_from_slice(&count.to_le_bytes());
    SUCCESS
}

/// So many bytes from an address of the guest's on.
fn place(address: i32, length: usize) -> std::ops::Range<usize> {
    let start = address.cast_unsigned() as usize;
    start..start.saturating_add(length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::runtime::determinism::Moving;

    /// A minute since 1970, and 5 µs into the attempt.
    fn time() -> GuestTime {
        GuestTime(Arc::new(Moving {
            start: Duration::from_secs(60),
            limit: u64::MAX,
            elapsed: AtomicU64::new(5_000),
        }))
    }

    fn timer(id: u8, timeout: u64, flags: u8) -> Subscription {
        let mut bytes = [0; SUBSCRIPTION];
        bytes[0] = 7;
        bytes[16] = id;
        bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
        bytes[40] = flags;
        bytes
    }

    #[test]
    fn timers_are_due_on_either_clock() {
        let due = |timer| when(&timer, 5_000, &time()).map(|found| found.unwrap().1);
        assert_eq!(due(timer(1, 100, 0)), Ok(5_100));
        assert_eq!(due(timer(0, 100, 0)), Ok(5_100));
        assert_eq!(due(timer(1, 100, 1)), Ok(100));
        assert_eq!(due(timer(0, 60_000_000_100, 1)), Ok(100));
        assert_eq!(due(timer(0, 100, 1)), Ok(0), "long ago");
        assert_eq!(due(timer(1, u64::MAX, 0)), Ok(u64::MAX));
        assert_eq!(due(timer(2, 100, 0)), Err(INVALID), "the time of a process");
        let mut other = timer(1, 100, 0);
        other[8] = 1;
        assert_eq!(when(&other, 5_000, &time()), Ok(None));
    }

    #[test]
    fn a_guest_that_points_outside_of_its_memory_is_told() {
        let memory = timer(1, 100, 0).repeat(2);
        let read = |at, count| {
            let asked = read(&memory, at, count, &time());
            asked.map(|asked| asked.timers.len())
        };
        assert_eq!(read(0, 2), Ok(2));
        assert_eq!(read(48, 1), Ok(1));
        assert_eq!(read(0, 0), Err(INVALID));
        assert_eq!(read(0, -1), Err(INVALID));
        for (at, count) in [(0, 3), (49, 1), (-1, 1), (i32::MIN, 1)] {
            assert_eq!(read(at, count), Err(FAULT), "{count} at {at}");
        }
        let mut memory = [0xff; 70];
        assert_eq!(write(&mut memory, &[[1; EVENT]; 2], 0, 64), SUCCESS);
        assert_eq!((memory[63], &memory[64..69]), (1, &[2, 0, 0, 0, 0xff][..]));
        assert_eq!(write(&mut memory, &[[1; EVENT]; 2], 7, 0), FAULT);
        assert_eq!(write(&mut memory, &[], 0, 67), FAULT);
    }
}
