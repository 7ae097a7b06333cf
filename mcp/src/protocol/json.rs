//! JSON objects, member by member.

pub(crate) mod members;
pub(crate) mod object;
