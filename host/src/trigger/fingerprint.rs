//! A number that tells triggers apart, over restarts of the host too.

use std::fmt::{self, Write};

use super::Trigger;

impl Trigger {
    /// A number that equal triggers share, and that two different ones hardly ever do. It outlives
    /// the process, not a change of how triggers are made: a host that finds another number than
    /// it left counts the job's schedule from its start.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use quarterjack::trigger::Trigger;
    /// let minute = || Trigger::every(Duration::from_secs(60)).unwrap();
    /// let hour = Trigger::every(Duration::from_secs(3600)).unwrap();
    /// assert_eq!(minute().fingerprint(), minute().fingerprint());
    /// assert_ne!(minute().fingerprint(), hour.fingerprint());
    /// ```
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        // Writing into a number does not fail.
        let _ = write!(hash, "{self:?}");
        hash.0
    }
}

/// The hash FNV-1a, of 64 bits: the same everywhere and for ever.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
