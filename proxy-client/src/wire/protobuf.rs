//! Protobuf bytes, written front to back into one buffer.

use bytes::Bytes;

/// Writes fields; every method writes its field even when the value is the default, since most are members of a oneof.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn finish(self) -> Bytes {
        self.buffer.into()
    }

    /// Fields written elsewhere.
    pub(crate) fn raw(&mut self, fields: &[u8]) {
        self.buffer.extend_from_slice(fields);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    pub(crate) fn sint(&mut self, field: u32, value: i64) {
        self.uint(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    /// A plain `int64`: two's complement, ten bytes when negative.
    pub(crate) fn int(&mut self, field: u32, value: i64) {
        self.uint(field, value as u64);
    }

    pub(crate) fn bool(&mut self, field: u32, value: bool) {
        self.uint(field, u64::from(value));
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, FIXED64);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A nested message (or packed list). One byte is kept for its length; what is longer than 127 bytes is moved up.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, LENGTH);
        let start = self.buffer.len();
        self.buffer.push(0);
        write(self);
        let mut length = self.buffer.len() - start - 1;
        let more = varint_bytes(length as u64) - 1;
        if more > 0 {
            self.buffer.resize(self.buffer.len() + more, 0);
            self.buffer
                .copy_within(start + 1..start + 1 + length, start + 1 + more);
        }
        for byte in &mut self.buffer[start..start + more] {
            *byte = (length & 0x7f) as u8 | 0x80;
            length >>= 7;
        }
        self.buffer[start + more] = length as u8;
    }

    /// A bare number, as packed lists hold them.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.buffer.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }
}

/// Lets serde_json write into a field.
impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use mixer_proto::v1;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn nested_messages_of_any_length_read_back(texts in proptest::collection::vec(".{0,200}", 0..200)) {
            let mut writer = Writer::default();
            writer.message(11, |list| texts.iter().for_each(|text| list.string(1, text)));
            let read = v1::Attribute::decode(writer.finish()).unwrap();
            let list = v1::StringList { values: texts };
            prop_assert_eq!(read.value, Some(v1::attribute::Value::List(list)));
        }

        #[test]
        fn numbers_read_back(number in any::<i64>(), double in any::<f64>()) {
            let mut writer = Writer::default();
            writer.sint(4, number);
            let read = v1::Attribute::decode(writer.finish()).unwrap();
            prop_assert_eq!(read.value, Some(v1::attribute::Value::Int(number)));
            let mut writer = Writer::default();
            writer.int(4, number);
            writer.double(6, double);
            let read = v1::Ask::decode(writer.finish()).unwrap();
            prop_assert_eq!((read.cost, read.per_second.to_bits()), (number, double.to_bits()));
        }
    }
}
