//! What a running host offers to other programs: HTTP/1.1 with JSON.
//!
//! ```text
//! connection ──transport──▶ method, path, body ──routes──▶ Control ──▶ the host
//!      ◀──────────────────── JSON, or a problem ◀──────────────┘
//! ```
//!
//! What a request does knows nothing of how it came. For now it comes over a [`socket`] in the
//! host's data directory, which its owner alone may use. Everything is bounded: the size of a
//! request, the time that it may take, how many there are at once. A mistake of the client's is
//! answered with a status of 4xx and a [`problem`] that says what would be right.

pub mod problem;
mod routes;
pub mod socket;

/// Where all paths begin.
pub const BASE: &str = "/api/v1";

/// Writes one segment of a path: all but letters, digits and `-._~` as `%XX`.
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Reads one segment of a path; nothing if that is not text.
fn decode_segment(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = others.split_at_checked(2)?;
            // Not from_str_radix alone, which takes a sign.
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_a_segment(text in any::<String>()) {
            let segment = encode_segment(&text);
            prop_assert!(!segment.contains(['/', '?', '#', ' ']));
            prop_assert_eq!(decode_segment(&segment), Some(text));
        }

        #[test]
        fn no_segment_is_too_strange_to_be_read_or_refused(segment in any::<String>()) {
            let _ = decode_segment(&segment);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for segment in ["%", "%4", "%+1", "%zz", "a%ff"] {
            assert_eq!(decode_segment(segment), None, "{segment}");
        }
        assert_eq!(decode_segment("sync%2Fa%20b").as_deref(), Some("sync/a b"));
    }
}
