//! The fields of a snapshot's records, and its checksum as it is written.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::LARGEST;
use crate::counter::Counter;
use crate::fixed::{Opened, Page};
use crate::gcra::Bucket;
use crate::window::{Slot, Spent};

const WINDOW: u8 = 1;
const GCRA: u8 = 2;
const OPENED: u8 = 3;
const PAGE: u8 = 4;

/// What is yet to be read.
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.number().map(u8::from_le_bytes)
    }

    pub(super) fn short(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

pub(super) fn put_counter(record: &mut Vec<u8>, counter: &Counter) {
    let mut put = |kind: u8, numbers: &[u64]| {
        record.push(kind);
        record.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    match counter {
        Counter::Window(spent) => {
            let slots: Vec<&Slot> = spent.slots().collect();
            put(WINDOW, &[slots.len() as u64]);
            for slot in slots {
                record.extend(slot.at.to_le_bytes());
                record.extend(slot.tokens.to_le_bytes());
            }
        }
        Counter::Gcra(bucket) => put(GCRA, &bucket.parts()),
        Counter::Opened(opened) => put(OPENED, &[opened.at, opened.tokens]),
        Counter::Page(page) => put(PAGE, &[page.number.into(), page.ends.into(), page.tokens]),
    }
}

pub(super) fn take_counter(fields: &mut Fields<'_>) -> Option<Counter> {
    Some(match fields.byte()? {
        WINDOW => {
            let slots = fields.long()?;
            let slots = (0..slots).map(|_| {
                Some(Slot {
                    at: fields.long()?,
                    tokens: fields.long()?,
                })
            });
            Counter::Window(Spent::of(slots.collect::<Option<_>>()?)?)
        }
        GCRA => Counter::Gcra(Bucket::of([fields.long()?, fields.long()?])?),
        OPENED => Counter::Opened(Opened {
            at: fields.long()?,
            tokens: fields.long()?,
        }),
        PAGE => Counter::Page(Page {
            number: u32::try_from(fields.long()?).ok()?,
            ends: u32::try_from(fields.long()?).ok()?,
            tokens: fields.long()?,
        }),
        _ => return None,
    })
}

/// Writes, and sums up what it wrote.
pub(super) struct Summed<W> {
    out: W,
    sum: Sha256,
    written: u64,
}

impl<W: Write> Summed<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            sum: Sha256::new(),
            written: 0,
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        if self.written > LARGEST {
            let why = format!("a snapshot would be larger than {} GiB", LARGEST >> 30);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }

    /// Writes the sum.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.sum.finalize())?;
        self.out.flush()
    }
}
