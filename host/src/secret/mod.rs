//! Secrets: what the operator keeps for jobs, who has it, and how it is kept out of everything
//! that a job prints, returns or logs.
//!
//! ```text
//! names that a job is granted ─▶ Providers ─▶ Resolved ─▶ the run: handles, environment
//!                                (environment,   │
//!                                 files,         └─▶ Redactor ─▶ all that the run says
//!                                 systemd)
//! ```
//!
//! Blotting out guards against slips: a program that prints its configuration, an error that
//! quotes a request. A program that means harm can always write a secret backwards; what it may
//! reach at all is for its grants to say.

mod forms;
mod matcher;
mod providers;
mod redactor;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use providers::{CurrentSettings, Provider, Providers, Resolved, Settings};
pub use redactor::{Redactor, Stream, TooLarge};

/// The fewest bytes that a secret may have, white space around it not counted. What is shorter
/// comes up by chance, and would be blotted out of words that have nothing to do with it.
pub const SHORTEST: usize = 4;

/// The most bytes that a secret may have.
pub const LONGEST: usize = 64 << 10;

/// A secret: bytes that are never printed, and are overwritten when nobody has them any more.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// A secret.
    ///
    /// # Errors
    /// Why it cannot be one: it is shorter than [`SHORTEST`] or longer than [`LONGEST`].
    pub fn new(value: Vec<u8>) -> Result<Secret, Unfit> {
        let value = Zeroizing::new(value);
        if value.trim_ascii().len() < SHORTEST {
            Err(Unfit::TooShort)
        } else if value.len() > LONGEST {
            Err(Unfit::TooLong)
        } else {
            Ok(Secret(Arc::new(value)))
        }
    }

    /// The secret itself.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, if it is a text that a variable of an environment can hold.
    pub fn reveal_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0)
            .ok()
            .filter(|text| !text.contains('\0'))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Secret(…)")
    }
}

/// Why a value cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer bytes than [`SHORTEST`].
    #[error("it is too short to be blotted out of what a job prints: at least {SHORTEST} bytes")]
    TooShort,
    /// More bytes than [`LONGEST`].
    #[error("it is too long: at most {} KiB", LONGEST >> 10)]
    TooLong,
}

/// Why a secret cannot be had. Never tells anything of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No secret can have such a name.
    #[error("{0}")]
    Name(String),
    /// Nobody is asked for secrets.
    #[error("there is no secret {name:?}: this host asks nobody for secrets")]
    NoProviders {
        /// The secret's name.
        name: String,
    },
    /// All providers were asked, and none has it.
    #[error("there is no secret {name:?}: {asked}; {help}")]
    NotFound {
        /// The secret's name.
        name: String,
        /// Who was asked, and what each said.
        asked: String,
        /// What would make it be found.
        help: String,
    },
    /// A provider has it, and it cannot be used.
    #[error("the secret {name:?} cannot be used: {place}: {why}")]
    Unusable {
        /// The secret's name.
        name: String,
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new(b"hunter22".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.reveal(), b"hunter22");
    }

    #[test]
    fn what_would_come_up_by_chance_is_no_secret() {
        insta::assert_snapshot!(
            Secret::new(b" abc\n".to_vec()).unwrap_err(),
            @"it is too short to be blotted out of what a job prints: at least 4 bytes"
        );
        insta::assert_snapshot!(
            Secret::new(vec![b'a'; LONGEST + 1]).unwrap_err(),
            @"it is too long: at most 64 KiB"
        );
        assert!(Secret::new(vec![b'a'; LONGEST]).is_ok());
    }

    #[test]
    fn a_variable_holds_text_only() {
        let text = |value: &[u8]| Secret::new(value.to_vec()).unwrap().reveal_text().is_some();
        assert!(text("schlüssel".as_bytes()));
        assert!(!text(b"abc\0def"));
        assert!(!text(b"abc\xffdef"));
    }
}
