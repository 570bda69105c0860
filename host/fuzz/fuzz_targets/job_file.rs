//! Any text as a job file: refused with a place inside of it, or jobs.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use quarterjack_fuzz::job::manifest::Options;
use quarterjack_fuzz::job::{Manifest, SourceText};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = SourceText::from_bytes("fuzz.json", bytes.to_vec()) else {
        return;
    };
    let problems = match Manifest::parse(Arc::new(source), &Options::default()) {
        Ok(manifest) => manifest.problems().into_iter().cloned().collect(),
        Err(problems) => problems,
    };
    for problem in problems {
        assert!(!problem.message.is_empty());
        let _ = problem.render(false);
    }
});
