//! JSON objects, member by member; and what is JSON and no Unicode.

pub(crate) mod members;
pub(crate) mod object;
pub(crate) mod surrogates;
