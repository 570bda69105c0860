//! Keeps every number in a map, with a text of its own, until there is no memory.
// outcome: out_of_memory
// limits: {"memory": "16MiB", "fuel": "unlimited", "timeout": "20s"}

use std::collections::HashMap;

fn main() {
    let mut map = HashMap::new();
    for number in 0_u64.. {
        map.insert(number, "x".repeat(usize::from(number as u8)));
        if map.len() as u64 != number + 1 {
            break;
        }
    }
    println!("{}", map.len());
}
