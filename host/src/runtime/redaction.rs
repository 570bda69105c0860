//! Taking secrets out of what a guest hands over in one piece, which may be a large one.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::secret::Redactor;

/// From how many bytes on a piece is large: what is smaller takes a few milliseconds at most.
const LARGE: usize = 1 << 20;

/// A text without secrets.
pub(super) fn clean(redactor: &Redactor, text: String) -> String {
    aside(text.len(), || redactor.redact_text(text))
}

/// The name of the first secret that bytes hold.
pub(super) fn first_in<'a>(redactor: &'a Redactor, bytes: &[u8]) -> Option<&'a str> {
    aside(bytes.len(), || redactor.name_of_first(bytes))
}

/// Does work on so many bytes. If they are many, the tasks that wait for this thread go to
/// another one meanwhile.
pub(super) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    if bytes >= LARGE && flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_text_is_cleaned_wherever_that_is_done() {
        let secret = crate::secret::Secret::new(b"hunter22".to_vec()).unwrap();
        let redactor = Redactor::new([(&"key".into(), &secret)]).unwrap().unwrap();
        let check = || {
            let text = format!("{}hunter22", " ".repeat(LARGE));
            assert_eq!(first_in(&redactor, text.as_bytes()), Some("key"));
            assert!(clean(&redactor, text).ends_with(" [secret key]"));
        };
        check();
        let mut here = tokio::runtime::Builder::new_current_thread();
        here.build().unwrap().block_on(async { check() });
        let mut many = tokio::runtime::Builder::new_multi_thread();
        let many = many.worker_threads(1).build().unwrap();
        many.block_on(async { check() });
    }
}
