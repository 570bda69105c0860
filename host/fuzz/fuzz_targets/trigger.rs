//! Any text as a trigger: refused at a place inside of it, or a schedule that keeps its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quarterjack_fuzz::trigger::{Dst, Reading, Trigger, Zone};

fuzz_target!(|input: (&str, i64, u8, bool)| {
    let (text, second, zone, skip) = input;
    let zones = [
        "UTC",
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
    ];
    let zone = zones[usize::from(zone) % zones.len()];
    let reading = Reading {
        zone: Zone::parse(zone).unwrap(),
        dst: if skip { Dst::Skip } else { Dst::RunAfter },
        job: Some("fuzz"),
    };
    let trigger = match Trigger::parse(text, reading) {
        Ok(trigger) => trigger,
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some() || error.span.start <= text.len() + 1);
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert_eq!(Trigger::parse(text, reading).as_ref(), Ok(&trigger));
    let _ = trigger.to_string();
    let _ = trigger.never_fires();
    // 1970 to 2100 and a bit on either side.
    let second = second.rem_euclid(4_300_000_000) - 100_000_000;
    let mut after = chrono::DateTime::from_timestamp(second, 0).unwrap();
    for _ in 0..5 {
        let Some(next) = trigger.next_after(after) else {
            break;
        };
        assert!(next > after);
        // From anywhere in between, the same answer; and back.
        let middle = after + (next - after) / 2;
        if middle < next {
            assert_eq!(trigger.next_after(middle), Some(next));
        }
        assert_eq!(trigger.latest_in(after, next), Some(next));
        after = next;
    }
});
