//! Tests of the parts that no server sees.

mod tokens;
