//! How messages become frames: as tonic-prost does it, with buffers of the size of our messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes that each side of a call sets aside for what it writes and for what it reads; they grow where a message is longer. tonic's
/// default is 8 KiB, which is dearer to allocate than most of our messages, of some hundred bytes, are to encode.
const BUFFER: usize = 1024;
/// Bytes of a stream that are encoded before they are passed on: tonic's default.
const YIELD: usize = 32 * 1024;

/// What generated code names.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, YIELD))
    }
}
