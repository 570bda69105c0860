//! Spreading jobs over time: a value that looks random, and is always the same for the same job.

use sha2::{Digest as _, Sha256};

/// A number between 0 and `bound` (exclusive; 0 for a bound of 0) that depends on `job` and
/// `salt` alone: the same in every version, on every machine, after every restart.
pub(super) fn spread(job: &str, salt: &[u8], bound: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(job.as_bytes());
    hash.update([0]); // no id holds a NUL: it and the salt cannot run into each other
    hash.update(salt);
    let digest = hash.finalize();
    let head = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    head.checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_place_for_ever() {
        // SHA-256 of "nightly\0minute", its first eight bytes, modulo 60.
        assert_eq!(spread("nightly", b"minute", 60), NIGHTLY_MINUTE);
        assert_ne!(
            spread("nightly", b"minute", u64::MAX),
            spread("nightly", b"hour", u64::MAX)
        );
        assert_eq!(spread("nightly", b"minute", 0), 0);
        assert_eq!(spread("nightly", b"minute", 1), 0);
    }

    /// Taken once, and never to change: jobs would move.
    const NIGHTLY_MINUTE: u64 = 42;

    #[test]
    fn jobs_are_spread_evenly() {
        let mut minutes = [0_u32; 60];
        for n in 0..6_000 {
            minutes[spread(&format!("job-{n}"), b"minute", 60) as usize] += 1;
        }
        assert!(
            minutes.iter().all(|count| (50..200).contains(count)),
            "{minutes:?}"
        );
    }
}
