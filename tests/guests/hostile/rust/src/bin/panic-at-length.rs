//! Panics, and has more to say than anybody keeps.
// outcome: failed|trapped
// limits: {"memory": "64MiB"}

fn main() {
    let mut words = String::new();
    while words.len() < 8 << 20 {
        words.push_str("\u{1b}[31mno end \u{202e}");
    }
    panic!("{words}");
}
