//! Servers that are child processes and talk over their standard streams.

mod child;
