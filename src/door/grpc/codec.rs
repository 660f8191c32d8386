//! Messages from and to bytes, with a look at what a large one would become before it is decoded.

use std::marker::PhantomData;

use bytes::Buf;
use pid1_sdk::wire::Census;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{Codec as TonicCodec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::proto;

/// Of a method that takes `U` and answers `T`.
pub(crate) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Codec(PhantomData)
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Checked<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Checked { census: None, message: PhantomData }
    }
}

/// Decodes what is not too many elements.
pub(crate) struct Checked<U> {
    /// Made for the first large message.
    census: Option<Census>,
    message: PhantomData<U>,
}

impl<U: Message + Default + Name> Decoder for Checked<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Not copied: what is in it goes on as parts of this.
        let message = buffer.copy_to_bytes(buffer.remaining());
        if message.len() > Census::SMALL_BYTES {
            let census = self.census.get_or_insert_with(|| Census::of(proto::DESCRIPTOR, &U::full_name()));
            census.check(&message).map_err(|error| Status::resource_exhausted(error.to_string()))?;
        }
        let size_bytes = message.len();
        let decoded = U::decode(message).map_err(|error| {
            Status::invalid_argument(format!("a message of {size_bytes} bytes is no {}: {error}", U::NAME))
        })?;
        Ok(Some(decoded))
    }
}
