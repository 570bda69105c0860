//! Any bytes as a plugin's file: refused with a reason, or a job whose imports are told. Begin
//! with the guests of the tests as a corpus: their mutations are sound for longer than noise is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quarterjack_fuzz::shape::inspect;

fuzz_target!(|bytes: &[u8]| {
    match inspect(bytes) {
        Ok(seen) => {
            assert_eq!(seen.size, bytes.len() as u64);
            assert!(!seen.exports.is_empty());
            for import in seen.unknown_imports() {
                assert!(!import.known);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
