//! The bytes that `serde_json` makes of an event, made with less: a general serializer takes a branch for every character
//! of every name, which takes as long as all else.

use serde::{
    Serialize,
    ser::{Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer},
};
use std::fmt;

/// Appends one value; with `NAME`, the name of a field or state: these are identifiers, and copied unseen.
pub(super) struct Line<'a, const NAME: bool = false>(pub(super) &'a mut Vec<u8>);

impl<const NAME: bool> Line<'_, NAME> {
    #[expect(clippy::unnecessary_wraps, reason = "what every method of a serializer returns")]
    fn bytes(self, bytes: &[u8]) -> fmt::Result {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// What is rare is left to those who know all of JSON.
    fn general(self, value: &impl Serialize) -> fmt::Result {
        serde_json::to_writer(self.0, value).map_err(|_| fmt::Error)
    }

    #[expect(clippy::unnecessary_wraps, reason = "what every method of a serializer returns")]
    fn quoted(self, text: &str) -> fmt::Result {
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(())
    }
}

macro_rules! integers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> fmt::Result {
            self.bytes(itoa::Buffer::new().format(value).as_bytes())
        })*
    };
}

impl<'a, const NAME: bool> Serializer for Line<'a, NAME> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    // Nothing of these is in an event.
    type SerializeTupleStruct = Impossible<(), fmt::Error>;
    type SerializeTupleVariant = Impossible<(), fmt::Error>;
    type SerializeStructVariant = Impossible<(), fmt::Error>;

    integers!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64
    );

    fn serialize_bool(self, value: bool) -> fmt::Result {
        self.bytes(if value { b"true" } else { b"false" })
    }

    fn serialize_f32(self, value: f32) -> fmt::Result {
        self.general(&value)
    }

    fn serialize_f64(self, value: f64) -> fmt::Result {
        self.general(&value)
    }

    fn serialize_char(self, value: char) -> fmt::Result {
        self.general(&value)
    }

    fn serialize_str(self, text: &str) -> fmt::Result {
        // RFC 8259 §7: what must be escaped.
        if !NAME && text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            return self.general(&text);
        }
        self.quoted(text)
    }

    fn serialize_bytes(self, _: &[u8]) -> fmt::Result {
        Err(fmt::Error)
    }

    fn serialize_none(self) -> fmt::Result {
        self.bytes(b"null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> fmt::Result {
        self.bytes(b"null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> fmt::Result {
        self.bytes(b"null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> fmt::Result {
        self.quoted(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> fmt::Result {
        Err(fmt::Error)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, fmt::Error> {
        Ok(Parts { out: self.0, before: b'[', end: b']' })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, fmt::Error> {
        Ok(Parts { out: self.0, before: b'{', end: b'}' })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, fmt::Error> {
        self.serialize_map(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, fmt::Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), fmt::Error>, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), fmt::Error>, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), fmt::Error>, fmt::Error> {
        Err(fmt::Error)
    }
}

/// The parts of an array or an object.
pub(super) struct Parts<'a> {
    out: &'a mut Vec<u8>,
    /// What comes before the next part: the opening bracket, then commas.
    before: u8,
    end: u8,
}

impl Parts<'_> {
    #[inline]
    fn separate(&mut self) {
        self.out.push(self.before);
        self.before = b',';
    }

    #[expect(clippy::unnecessary_wraps, reason = "what every method of a serializer returns")]
    fn close(self) -> fmt::Result {
        if self.before != b',' {
            self.out.push(self.before);
        }
        self.out.push(self.end);
        Ok(())
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.separate();
        value.serialize(Line::<false>(self.out))
    }

    fn end(self) -> fmt::Result {
        self.close()
    }
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> fmt::Result {
        self.close()
    }
}

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> fmt::Result {
        self.separate();
        key.serialize(Line::<true>(self.out))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.out.push(b':');
        value.serialize(Line::<false>(self.out))
    }

    fn end(self) -> fmt::Result {
        self.close()
    }
}

impl SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> fmt::Result {
        self.separate();
        Line::<true>(self.out).quoted(key)?;
        self.out.push(b':');
        value.serialize(Line::<false>(self.out))
    }

    fn end(self) -> fmt::Result {
        self.close()
    }
}
