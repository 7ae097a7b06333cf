//! The protocol as plain functions over bytes: no `async`, no clock, no I/O below this line.
