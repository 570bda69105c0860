//! Maps whose keys are runs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::RunId;

/// A map whose keys are runs, with a hash that costs next to nothing.
pub type RunMap<V> = HashMap<RunId, V, BuildHasherDefault<RandomBits>>;

/// Hashes the ids of runs, most of whose bits are random already.
#[derive(Debug, Default)]
pub struct RandomBits(u64);

impl Hasher for RandomBits {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        #[allow(clippy::cast_possible_truncation)] // the lower half is random
        let bits = id as u64;
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
