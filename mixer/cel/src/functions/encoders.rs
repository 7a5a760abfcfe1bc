//! The encoders extension: base64 of RFC 4648 section 4.

use super::{Definition, Result, Sort};
use crate::budget::Budget;
use crate::val::{Blob, Text};
use crate::{EvalError, Val};

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "base64.encode",
        member: false,
        signatures: &[(&[Sort::Bytes], Sort::String)],
        run: encode,
    },
    Definition {
        name: "base64.decode",
        member: false,
        signatures: &[(&[Sort::String], Sort::Bytes)],
        run: decode,
    },
];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at > chunk.len() { '=' } else { letter.into() });
        }
    }
    text
}

/// With or without padding; `None` when it is no base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=');
    if text.len() - letters.len() > 2
        || (text.len() > letters.len() && !text.len().is_multiple_of(4))
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len());
    let (mut group, mut bits) = (0_u32, 0);
    for letter in letters.bytes() {
        let value = ALPHABET.iter().position(|held| *held == letter)?;
        group = group << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    (bits != 6 && group == 0).then_some(bytes)
}

fn encode<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let Val::Bytes(bytes) = &args[0] else {
        return Err(EvalError::NoOverload("base64.encode"));
    };
    budget.build(bytes.len().saturating_mul(4) / 3 + 4)?;
    Ok(Val::String(Text::from(base64(bytes))))
}

fn decode<'a>(args: &mut [Val<'a>], budget: &mut Budget) -> Result<Val<'a>> {
    let Val::String(text) = &args[0] else {
        return Err(EvalError::NoOverload("base64.decode"));
    };
    budget.build(text.len())?;
    let bytes = from_base64(text)
        .ok_or_else(|| EvalError::Invalid("base64.decode", "this is no base64".into()))?;
    Ok(Val::Bytes(Blob::from(bytes)))
}
