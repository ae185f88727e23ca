//! The types of events are defined by these macros, so that each field and each name stands in one place: the type itself,
//! what writes it ([`super::put`]), what reads it back, and its schema come from it.

/// Defines an object of the JSON: a struct whose fields are written in the order in which they stand, each described in the
/// schema by its comment. The attributes of a field are serde's; [`put_field`] has those that can stand there. What is not
/// kept in the struct but computed from it when it is written is in `computed { name: Type = function }`.
macro_rules! object {
    (
        $(#[$meta:meta])*
        pub struct $Name:ident { $($fields:tt)* }
    ) => {
        $crate::event::define::object_struct!([$(#[$meta])*] $Name $($fields)*);

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::event::put::serialize(self, serializer)
            }
        }
    };
}

/// The struct of an [`object`], and all of it that depends on the fields.
macro_rules! object_struct {
    (
        [$(#[$meta:meta])*] $Name:ident
        $(
            $(#[doc $($doc:tt)*])*
            $(#[serde($($serde:tt)*)])?
            $(#[schemars($($schemars:tt)*)])?
            pub $field:ident: $type:ty,
        )*
    ) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, schemars::JsonSchema)]
        pub struct $Name {
            $(
                $(#[doc $($doc)*])*
                $(#[serde($($serde)*)])?
                $(#[schemars($($schemars)*)])?
                pub $field: $type,
            )*
        }

        impl $crate::event::put::PutFields for $Name {
            #[inline]
            fn put_fields(&self, out: &mut $crate::event::put::Line) {
                $($crate::event::define::put_field!(out, self.$field, [$($($serde)*)?]);)*
            }
        }
    };
    (
        [$(#[$meta:meta])*] $Name:ident
        $(
            $(#[doc $($doc:tt)*])*
            $(#[serde($($serde:tt)*)])?
            $(#[schemars($($schemars:tt)*)])?
            pub $field:ident: $type:ty,
        )*
        computed {
            $(#[doc $($computed_doc:tt)*])*
            #[schemars($($computed_schemars:tt)*)]
            $computed:ident: $computed_type:ty = $how:expr
        }
        $(
            $(#[doc $($doc_after:tt)*])*
            $(#[serde($($serde_after:tt)*)])?
            $(#[schemars($($schemars_after:tt)*)])?
            pub $field_after:ident: $type_after:ty,
        )*
    ) => {
        $(#[$meta])*
        #[derive(serde::Deserialize)]
        pub struct $Name {
            $(
                $(#[doc $($doc)*])*
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )*
            $(
                $(#[doc $($doc_after)*])*
                $(#[serde($($serde_after)*)])?
                pub $field_after: $type_after,
            )*
        }

        const _: () = {
            #[derive(schemars::JsonSchema)]
            #[expect(dead_code, reason = "it is there for its schema")]
            struct Written {
                $(
                    $(#[doc $($doc)*])*
                    $(#[serde($($serde)*)])?
                    $(#[schemars($($schemars)*)])?
                    $field: $type,
                )*
                $(#[doc $($computed_doc)*])*
                #[schemars($($computed_schemars)*)]
                $computed: $computed_type,
                $(
                    $(#[doc $($doc_after)*])*
                    $(#[serde($($serde_after)*)])?
                    $(#[schemars($($schemars_after)*)])?
                    $field_after: $type_after,
                )*
            }

            impl schemars::JsonSchema for $Name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($Name).into()
                }

                fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    Written::json_schema(generator)
                }
            }
        };

        impl $crate::event::put::PutFields for $Name {
            #[inline]
            fn put_fields(&self, out: &mut $crate::event::put::Line) {
                $($crate::event::define::put_field!(out, self.$field, [$($($serde)*)?]);)*
                let computed: $computed_type = $how(self, out);
                $crate::event::define::put_field!(out, stringify!($computed), computed);
                $($crate::event::define::put_field!(out, self.$field_after, [$($($serde_after)*)?]);)*
            }
        }
    };
}

/// Writes one field of an [`object`] as its serde attribute says, of which these are known.
macro_rules! put_field {
    ($out:ident, $self:ident.$field:ident, []) => {
        $crate::event::define::put_field!($out, stringify!($field), $self.$field);
    };
    ($out:ident, $self:ident.$field:ident, [rename = $name:literal]) => {
        $crate::event::define::put_field!($out, $name, $self.$field);
    };
    ($out:ident, $self:ident.$field:ident, [deserialize_with = $how:literal]) => {
        $crate::event::define::put_field!($out, stringify!($field), $self.$field);
    };
    ($out:ident, $self:ident.$field:ident, [default]) => {
        $crate::event::define::put_field!($out, stringify!($field), $self.$field);
    };
    ($out:ident, $self:ident.$field:ident, [default, skip_serializing_if = "is_default"]) => {
        if !is_default(&$self.$field) {
            $crate::event::define::put_field!($out, stringify!($field), $self.$field);
        }
    };
    ($out:ident, $self:ident.$field:ident, [flatten]) => {
        $crate::event::put::PutFields::put_fields(&$self.$field, $out);
    };
    ($out:ident, $self:ident.$field:ident, [skip]) => {};
    ($out:ident, $name:expr, $value:expr) => {
        if !($out.is_compact && $crate::event::put::Put::is_nothing(&$value)) {
            $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes());
            $crate::event::put::Put::put(&$value, $out);
        }
    };
}

/// Defines values that are one of several names in the JSON, each variant with its name.
macro_rules! names {
    (
        $(#[$meta:meta])*
        pub enum $Name:ident {
            $(
                $(#[doc $($doc:tt)*])*
                $Variant:ident = $name:tt,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $Name {
            $(
                $(#[doc $($doc)*])*
                #[serde(rename = $name)]
                $Variant,
            )*
        }

        impl $Name {
            /// All of them, in the order in which they are defined.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$Variant),*];

            /// The name in the JSON.
            #[must_use]
            pub const fn json_name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)*
                }
            }

            /// The name as the key of a field, with the comma before it and the colon after it.
            pub(in crate::event) const fn json_key(self) -> &'static [u8] {
                match self {
                    $(Self::$Variant => concat!(",\"", $name, "\":").as_bytes(),)*
                }
            }
        }

        impl $crate::event::put::Put for $Name {
            #[inline]
            fn put(&self, out: &mut $crate::event::put::Line) {
                match self {
                    // One by one, so that the length of each copy is known.
                    $(Self::$Variant => {
                        const KEY: &[u8] = $Name::$Variant.json_key();
                        out.extend_from_slice(&KEY[1..KEY.len() - 1]);
                    })*
                }
            }
        }
    };
}

pub(super) use {names, object, object_struct, put_field};
