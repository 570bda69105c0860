//! The signatures of what is sent, as Standard Webhooks has them: an HMAC with SHA-256 over the id,
//! the time and the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// How a secret begins that is written in Base64.
const ENCODED: &[u8] = b"whsec_";

/// The value of the header `webhook-signature`.
pub(super) fn signature(secret: &[u8], id: &str, time: &str, body: &str) -> String {
    let secret = secret.trim_ascii();
    let decoded = secret
        .strip_prefix(ENCODED)
        .and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = decoded.as_deref().unwrap_or(secret);
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    for part in [id, ".", time, ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_specification_says() {
        // The example of its reference implementations.
        let signature = signature(
            b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn any_secret_is_a_key() {
        let of = |secret: &[u8]| signature(secret, "a", "1", "{}");
        assert_ne!(of(b"open sesame"), of(b"open sesami"));
        assert_eq!(of(b"open sesame\n"), of(b"open sesame"));
        assert!(of(b"whsec_*").starts_with("v1,"));
        // RFC 4231, the second case, in Base64.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        assert_eq!(
            STANDARD.encode(mac.finalize().into_bytes()),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="
        );
    }
}
