//! Words of the protocol as enums, and hints.

use super::Json;
use super::object::object;

/// A word: one of those that the protocol knows, or another. `omitted_if_none`: an empty list of them need not be written.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(($omitted:ident))? {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
            /// A word that this crate does not know.
            Other(Box<str>),
        }

        impl $name {
            /// The protocol's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = $crate::protocol::json::object::Key::deserialize(deserializer)?;
                Ok(Self::from(&*word.0))
            }
        }

        impl $crate::types::member::Scalar for $name {
            $(const LIST_IS_OPTIONAL: bool = stringify!($omitted).len() > 0;)?

            fn from_str(text: &str) -> Option<Self> {
                Some(Self::from(text))
            }
        }

        $crate::types::member::scalar_member!($name);
    };
}
pub(super) use words;

words! {
    /// Who says something, or whom it is for.
    #[derive(Default)]
    pub enum Role (omitted_if_none) {
        /// The user.
        #[default]
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

words! {
    /// How grave a line of a log is (RFC 5424).
    #[derive(Default)]
    pub enum LoggingLevel {
        /// For those who look for a fault.
        Debug = "debug",
        /// All is well.
        #[default]
        Info = "info",
        /// All is well, and it matters.
        Notice = "notice",
        /// Something may go wrong.
        Warning = "warning",
        /// Something went wrong.
        Error = "error",
        /// A part has failed.
        Critical = "critical",
        /// Somebody must act at once.
        Alert = "alert",
        /// Nothing works.
        Emergency = "emergency",
    }
}

object! {
    /// Hints about a resource or a block of content.
    pub struct Annotations {
        /// Whom it is for.
        audience: "audience" => Vec<Role>,
        /// How much it matters, from 0 to 1.
        priority: "priority" => Option<f64>,
        /// When it last changed (ISO 8601).
        last_modified: "lastModified" => Option<String>,
    }
}

object! {
    /// A file or folder that a server may work in.
    pub struct Root needs uri: "uri" {
        /// Its address, a `file://` URI.
        uri: "uri" => String,
        /// Its name for people.
        name: "name" => Option<String>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl Root {
    /// A root without a name.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), ..Self::default() }
    }
}
