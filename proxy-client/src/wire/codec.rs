//! The gRPC codec: bytes that are already protobuf go out, generated messages come in.

use std::marker::PhantomData;

use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Sends [`Bytes`], receives `M`.
#[derive(Debug)]
pub(crate) struct BytesCodec<M>(PhantomData<M>);

impl<M> BytesCodec<M> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: Message + Default + 'static> Codec for BytesCodec<M> {
    type Encode = Bytes;
    type Decode = M;
    type Encoder = Sends;
    type Decoder = Receives<M>;

    fn encoder(&mut self) -> Sends {
        Sends
    }

    fn decoder(&mut self) -> Receives<M> {
        Receives(PhantomData)
    }
}

#[derive(Debug)]
pub(crate) struct Sends;

impl Encoder for Sends {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Receives<M>(PhantomData<M>);

impl<M: Message + Default + 'static> Decoder for Receives<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
