//! JSON-RPC errors as values that a host keeps and makes.

use super::Json;
use crate::protocol::json::members::members;
use crate::protocol::message::RpcError;
use serde::{Deserialize, Deserializer, de};

impl RpcError {
    /// This error with additional data, for the server to read.
    ///
    /// ```
    /// use shared_fate_mcp::RpcError;
    /// use shared_fate_mcp::types::Json;
    ///
    /// let error = RpcError::new(-32602, "no such folder").with_data(Json::new("file:///srv")?);
    /// assert_eq!(error.data(), Some(r#""file:///srv""#));
    /// # Ok::<(), shared_fate_mcp::Error>(())
    /// ```
    #[must_use]
    pub fn with_data(self, data: Json) -> Self {
        self.carrying(data.into_raw())
    }
}

impl<'de> Deserialize<'de> for RpcError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        match members(json.text(), ["code"]) {
            Ok([Some(_)]) => Ok(Self::read(json.as_raw())),
            Ok([None]) => Err(de::Error::missing_field("code")),
            Err(_) => Err(de::Error::custom("an error is an object")),
        }
    }
}
