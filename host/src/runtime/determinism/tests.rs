use std::sync::Arc;

use chacha20::rand_core::Rng as _;

use super::*;
use crate::clock::parse_instant;
use crate::job::{Job, Limits};
use crate::run::{Cause, Run};

fn attempt(number: u32) -> Attempt {
    let started_at = parse_instant("2026-03-01T12:00:00.25Z").unwrap();
    let job = Job {
        deterministic: true,
        limits: Limits {
            timeout: Duration::from_secs(60),
            ..Limits::DEFAULT
        },
        ..Job::by_hand("report".into(), "report.wasm")
    };
    Attempt {
        run: Arc::new(Run {
            id: "01KJMZ7Q8W3D9T6B4RX2VNC5EH".parse().unwrap(),
            job: Arc::new(job),
            cause: Cause::Schedule,
            scheduled_at: started_at,
            max_attempts: 2,
            last_success: None,
        }),
        number,
        started_at,
        run_started_at: started_at,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn randomness_has_known_answers() {
    insta::assert_snapshot!(hex(&seed(&attempt(1), "random")), @"44cf374f562b8af0f6b7ddbd6804241de66be7ecdb0244e1d4109fe027e6064d");
    let first = |number, purpose| {
        let mut bytes = [0; 16];
        generator(&attempt(number), purpose).fill_bytes(&mut bytes);
        hex(&bytes)
    };
    insta::assert_snapshot!(first(1, "random"), @"8f34e1d50035ec5511319cdbb2daf542");
    // Another attempt and another use have other bytes.
    insta::assert_snapshot!(first(2, "random"), @"8a10344cc88059d9fdee63d967407640");
    insta::assert_snapshot!(first(1, "insecure"), @"49a8989cb2352810d099cd514d2f2d7a");
}

#[test]
fn both_clocks_start_with_the_attempt_and_move_together_with_each_look() {
    let time = GuestTime::of(&attempt(1));
    let wall = |time: &GuestTime| HostWallClock::now(time);
    let monotonic = |time: &GuestTime| HostMonotonicClock::now(time);
    let started = Duration::from_millis(1_772_366_400_250);
    assert_eq!(wall(&time), started);
    assert_eq!(monotonic(&time), 1_000);
    assert_eq!(wall(&time), started + Duration::from_micros(2));
    time.move_to(5_000_000);
    // Never back.
    time.move_to(1_000_000);
    assert_eq!(monotonic(&time.clone()), 5_000_000);
    assert_eq!(monotonic(&time), 5_001_000);
    time.move_to(u64::MAX);
    assert_eq!((monotonic(&time), monotonic(&time)), (u64::MAX, u64::MAX));
}

#[tokio::test]
async fn a_wait_for_nothing_but_time_is_over_at_once_unless_the_attempt_is() {
    let time = GuestTime::of(&attempt(1));
    time.wait_until(59_000_000_000).await.unwrap();
    assert_eq!(time.read(), 59_000_000_000);
    time.wait_until(1).await.unwrap();
    assert_eq!(time.read(), 59_000_001_000);
    time.wait_until(60_000_000_000).await.unwrap();
    let error = time.wait_until(60_000_000_001).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Ended::TimedOut));
    assert_eq!(time.read(), 60_000_000_000, "the clock stays");
}

#[tokio::test]
async fn time_that_is_waited_for_beside_something_else_is_really_waited_for() {
    use wasmtime::component::ResourceTable;
    use wasmtime_wasi::p2::subscribe;
    use wasmtime_wasi_io::bindings::wasi::io::poll::Host;

    let time = GuestTime::of(&attempt(1));
    let mut table = ResourceTable::new();
    let mut timer = |at| {
        let time = time.clone();
        let timer = table.push(super::poll::Timer { at, time }).unwrap();
        subscribe(&mut table, timer).unwrap().rep()
    };
    let [hour, millisecond] = [3_600_000_000_000, 1_000_000].map(&mut timer);
    let pipe = crate::runtime::guest::CappedPipe::new(crate::runtime::guest::Pipe::of(1));
    let pipe = table.push(pipe).unwrap();
    let pipe = subscribe(&mut table, pipe).unwrap().rep();
    let mut poll = async |pollables: &[u32]| {
        let borrowed = pollables.iter().copied();
        let borrowed = borrowed.map(wasmtime::component::Resource::new_borrow);
        Host::poll(&mut table, borrowed.collect()).await.unwrap()
    };
    assert_eq!(poll(&[hour, pipe]).await, [1]);
    assert_eq!(time.read(), 0, "what is there already costs no time");
    assert_eq!(poll(&[hour, millisecond]).await, [1]);
    assert_eq!(time.read(), 1_000_000);
    // What is due is ready whenever it is asked for.
    assert_eq!(poll(&[millisecond]).await, [0]);
}
