//! rumqttc's `EventLoop` in a loop of one's own, against mosquitto, before and after.
//!
//! Needs `INTEGRATIONS_MOSQUITTO`, the path of the program.

mod drain;
mod ends;
mod kit;
mod lines;
mod reconnects;

/// mosquitto. The test is skipped where it is not.
const VARIABLE: &str = "INTEGRATIONS_MOSQUITTO";
