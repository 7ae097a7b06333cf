//! The handshake of the revisions 2024-11-05 to 2025-11-25 (INI-01 to INI-15).

use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;

/// A protocol revision of the Model Context Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Revision {
    /// 2024-11-05: HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, batches.
    V2025_03_26,
    /// 2025-06-18: no batches, the version header, elicitation.
    V2025_06_18,
    /// 2025-11-25: polling, tasks.
    V2025_11_25,
    /// 2026-07-28: no handshake and no session; every request says what it needs.
    V2026_07_28,
}

impl Revision {
    /// The newest one that this client speaks.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The newest one with a handshake: what `initialize` offers.
    pub const LATEST_WITH_HANDSHAKE: Self = Self::V2025_11_25;

    const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether it does without a handshake.
    pub fn is_stateless(self) -> bool {
        self >= Self::V2026_07_28
    }

    /// The revision of that name, if this client speaks it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == name)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) const INITIALIZE: &str = "initialize";
pub(crate) const INITIALIZED: &str = "notifications/initialized";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams<'a, C, I> {
    protocol_version: &'static str,
    capabilities: &'a C,
    client_info: &'a I,
}

/// The parameters of `initialize` (INI-01, INI-02).
pub(crate) fn initialize_params(
    offer: Revision,
    capabilities: &impl Serialize,
    client_info: &impl Serialize,
) -> Box<RawValue> {
    let params = InitializeParams { protocol_version: offer.as_str(), capabilities, client_info };
    serde_json::value::to_raw_value(&params).expect("strings and JSON")
}

#[cfg(test)]
mod tests;
