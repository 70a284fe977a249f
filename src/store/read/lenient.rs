//! Shapes that read from any JSON value; what does not fit counts as absent.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// More pairs than any document needs are read over.
const MAX_PAIRS: usize = 100;

/// A text, a number, a boolean, or anything else.
#[derive(Default)]
pub(super) enum Scalar<'a> {
    #[default]
    Absent,
    Boolean(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Scalar::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Scalar::Boolean(true))
    }

    fn into_words(self) -> Option<Cow<'static, str>> {
        match self {
            Scalar::Absent => None,
            Scalar::Boolean(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
            Scalar::Number(number) => Some(Cow::Owned(number.to_string())),
            Scalar::Text(text) => Some(Cow::Owned(text.into_owned())),
        }
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Scalar<'de>, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Scalar::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar<'de>, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Scalar::Absent)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'a>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// An object, or the default for any other value.
#[derive(Default)]
pub(super) struct Object<T>(pub(super) T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Object<T>, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| Object::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_unit<E>(self) -> Result<Object<T>, E> {
        Ok(Object::default())
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// Whether an object is there.
#[derive(Default)]
pub(super) struct Present(pub(super) bool);

#[derive(Default)]
struct Seen(bool);

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Seen(true))
    }
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Present, D::Error> {
        Object::<Seen>::deserialize(deserializer).map(|object| Present(object.0.0))
    }
}

/// The keys and scalar values of an object.
#[derive(Default)]
pub(super) struct Pairs<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'static, str>)>);

#[derive(Default)]
struct PairsInside<'a>(Vec<(Cow<'a, str>, Cow<'static, str>)>);

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = PairsInside<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PairsInside<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<Scalar<'de>, Scalar<'de>>()? {
            if let (Scalar::Text(key), Some(value)) = (key, value.into_words())
                && pairs.len() < MAX_PAIRS
            {
                pairs.push((key, value));
            }
        }
        Ok(PairsInside(pairs))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PairsInside<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PairsInside<'a>, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        Object::<PairsInside<'a>>::deserialize(deserializer).map(|object| Pairs(object.0.0))
    }
}

/// The first exception of a `cause` in words.
#[derive(Default)]
pub(super) struct Cause<'a>(pub(super) Option<Cow<'a, str>>);

#[derive(Default, Deserialize)]
struct RawCause<'a> {
    #[serde(default, borrow)]
    exceptions: Option<Vec<RawException<'a>>>,
}

#[derive(Default, Deserialize)]
struct RawException<'a> {
    #[serde(default, rename = "type", borrow)]
    exception_type: Scalar<'a>,
    #[serde(default, borrow)]
    message: Scalar<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Cause<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cause<'a>, D::Error> {
        let Object(cause) = Object::<RawCause<'de>>::deserialize(deserializer)?;
        let first = cause.exceptions.and_then(|exceptions| exceptions.into_iter().next());
        Ok(Cause(first.and_then(|exception| {
            match (exception.exception_type.text(), exception.message.text()) {
                (Some(sort), Some(message)) => Some(Cow::Owned(format!("{sort}: {message}"))),
                (Some(one), None) | (None, Some(one)) => Some(Cow::Owned(one.to_owned())),
                (None, None) => None,
            }
        })))
    }
}
