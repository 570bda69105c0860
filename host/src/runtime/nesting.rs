//! How deep the components and types of a file are nested. Whoever reads a file follows each type
//! into the ones inside of it, with a frame of the stack for each; so this is looked at first,
//! without recursion.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentExternName, ComponentImport,
    ComponentType, ComponentTypeRef, CoreType, Parser, Payload, WasmFeatures,
};

/// The deepest nesting that is read. Tools make three or four levels.
pub(super) const MAX_NESTING: usize = 100;

/// Where a file is nested deeper than that, as an offset; nothing if it is not, or if it is broken
/// before: what is wrong then is the validator's to say.
pub(super) fn too_deep(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    // An error ends it: nobody reads on behind it.
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::Version { range, .. } => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Some(range.start);
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentTypeSection(section) => {
                let range = section.range();
                let content = bytes.get(range.clone())?;
                let features = WasmFeatures::default();
                let mut types = BinaryReader::new_features(content, range.start, features);
                if let Ok(place @ Some(_)) = deep_type(&mut types) {
                    return place;
                }
            }
            _ => {}
        }
    }
    None
}

/// What is read next of a type.
#[derive(Clone, Copy)]
enum Within {
    /// So many types.
    Section(u32),
    /// So many declarations in the type of a component or instance.
    Declarations(u32),
}

/// Where a section of types is nested too deep.
fn deep_type(reader: &mut BinaryReader<'_>) -> Result<Option<usize>, BinaryReaderError> {
    let mut open = vec![Within::Section(reader.read_var_u32()?)];
    while let Some(within) = open.last_mut() {
        let is_type = match within {
            Within::Section(0) | Within::Declarations(0) => {
                open.pop();
                continue;
            }
            Within::Section(left) => {
                *left -= 1;
                true
            }
            Within::Declarations(left) => {
                *left -= 1;
                declares_type(reader)?
            }
        };
        if !is_type {
            continue;
        }
        let place = reader.original_position();
        if matches!(reader.clone().read_u8()?, 0x41 | 0x42) {
            // The type of a component or of an instance.
            reader.read_u8()?;
            open.push(Within::Declarations(reader.read_var_u32()?));
            if open.len() > MAX_NESTING {
                return Ok(Some(place));
            }
        } else {
            reader.read::<ComponentType<'_>>()?;
        }
    }
    Ok(None)
}

/// Reads a declaration, or only its beginning if it declares a type. What is none is passed over:
/// the validator finds it there as well.
fn declares_type(reader: &mut BinaryReader<'_>) -> Result<bool, BinaryReaderError> {
    match reader.read_u8()? {
        0x00 => {
            reader.read::<CoreType<'_>>()?;
        }
        0x01 => return Ok(true),
        0x02 => {
            reader.read::<ComponentAlias<'_>>()?;
        }
        0x03 => {
            reader.read::<ComponentImport<'_>>()?;
        }
        0x04 => {
            reader.read::<ComponentExternName<'_>>()?;
            reader.read::<ComponentTypeRef>()?;
        }
        _ => {}
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

    fn of(text: &str) -> Option<usize> {
        too_deep(&wat::parse_str(text).unwrap())
    }

    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn component(id: u8, content: &[u8]) -> Vec<u8> {
        [HEADER, &[id], &leb(content.len()), content].concat()
    }

    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(HEADER.to_vec(), |inner, _| component(4, &inner))
    }

    /// Types in each other, so many in all; 0x41 is a component's, 0x42 an instance's.
    fn types(depth: usize, kind: u8) -> Vec<u8> {
        let mut section = vec![1];
        section.extend([kind, 1, 1].repeat(depth - 1));
        section.extend([kind, 0]);
        section
    }

    #[test]
    fn components_may_be_nested_so_deep_and_no_deeper() {
        // The outermost is one of them.
        assert_eq!(too_deep(&nested(MAX_NESTING - 1)), None);
        assert!(too_deep(&nested(MAX_NESTING)).is_some());
        let beside = "(component (component))".repeat(MAX_NESTING);
        assert_eq!(of(&format!("(component {beside})")), None);
    }

    #[test]
    fn so_may_their_types() {
        for kind in [0x41, 0x42] {
            // The section counts as one.
            assert_eq!(too_deep(&component(7, &types(MAX_NESTING - 1, kind))), None);
            let deep = too_deep(&component(7, &types(MAX_NESTING, kind)));
            assert!(deep.is_some());
        }
        assert!(too_deep(&component(7, &types(1_000_000, 0x41))).is_some());
    }

    #[test]
    fn they_are_found_behind_all_that_may_be_declared() {
        let all = r#"(component
            (type (component
                (type $r (record (field "a" u8) (field "b" (list string))))
                (type $i (instance (export "x" (func (param "p" string) (result u8)))))
                (import "one" (instance $one (export "r" (type (sub resource)))))
                (alias export $one "r" (type $s))
                (import "two" (func (param "s" (borrow $s))))
                (export "three" (type (eq $r))))))"#;
        let wasm = wat::parse_str(all).unwrap();
        assert_eq!(too_deep(&wasm), None);
        let section = Parser::new(0)
            .parse_all(&wasm)
            .find_map(|payload| match payload.unwrap() {
                Payload::ComponentTypeSection(section) => Some(section.range()),
                _ => None,
            });
        let section = &wasm[section.unwrap()];
        // More declarations in the same type, by hand: of core types, and of one that is deep.
        let (kind, declared) = (section[1], section[2]);
        assert_eq!((section[0], kind), (1, 0x41));
        let function = [0, 0x60, 1, 0x7f, 0];
        let module = [0, 0x50, 1, 1, 0x60, 0, 0];
        let deep = &types(MAX_NESTING, 0x42)[1..];
        let declarations = [&section[3..], &function, &module, &[1], deep].concat();
        let more = [&[1, kind, declared + 3], &*declarations].concat();
        assert!(too_deep(&component(7, &more)).is_some());
    }

    #[test]
    fn what_is_broken_is_not_judged() {
        let whole = nested(2 * MAX_NESTING);
        for cut in 0..whole.len() {
            let _ = too_deep(&whole[..cut]);
        }
        assert_eq!(too_deep(b""), None);
        let ends_early = component(7, b"\x01\x41\x01\x01");
        assert_eq!(too_deep(&ends_early), None);
        let no_declaration = component(7, b"\x01\x41\x02\x09\x09");
        assert_eq!(too_deep(&no_declaration), None);
    }
}
