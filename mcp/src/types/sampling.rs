//! Sampling: a server uses the client's model.

use super::object::object;
use super::words::{Role, words};
use super::{Blocks, Json, Tool};

object! {
    /// What a server asks of a model (`sampling/createMessage`).
    pub struct CreateMessageParams needs messages: "messages" {
        /// The conversation so far.
        messages: "messages" => Vec<SamplingMessage>,
        /// Which model the server would like.
        model_preferences: "modelPreferences" => Option<ModelPreferences>,
        /// The system prompt that the server would like.
        system_prompt: "systemPrompt" => Option<String>,
        /// Whether to add the context of servers: only with the capability `context`.
        include_context: "includeContext" => Option<IncludeContext>,
        /// The temperature.
        temperature: "temperature" => Option<f64>,
        /// How many tokens to sample at most.
        max_tokens: "maxTokens" => Option<u64>,
        /// What ends the sampling.
        stop_sequences: "stopSequences" => Option<Vec<String>>,
        /// For the model's provider, in its own form.
        metadata: "metadata" => Option<Json>,
        /// The tools that the model may use: only with the capability `tools`.
        tools: "tools" => Option<Vec<Tool>>,
        /// How it is to use them.
        tool_choice: "toolChoice" => Option<ToolChoice>,
        /// That a task is to be made of it (2025-11-25).
        task: "task" => Option<Json>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// A message of a conversation with a model.
    pub struct SamplingMessage {
        /// Who says it.
        role: "role" => Role,
        /// What is said.
        content: "content" => Blocks,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

object! {
    /// What a model has answered.
    ///
    /// ```
    /// use shared_fate_mcp::types::CreateMessageResult;
    ///
    /// let answer = CreateMessageResult::new("my-model", "Hello!");
    /// assert_eq!(answer.content.text(), "Hello!");
    /// ```
    pub struct CreateMessageResult {
        /// Who says it: the model, as a rule.
        role: "role" => Role,
        /// What is said.
        content: "content" => Blocks,
        /// The model's name.
        model: "model" => String,
        /// Why it stopped.
        stop_reason: "stopReason" => Option<StopReason>,
        /// Metadata.
        meta: "_meta" => Option<Json>,
    }
}

impl CreateMessageResult {
    /// A model's answer that has come to its end.
    pub fn new(model: impl Into<String>, content: impl Into<Blocks>) -> Self {
        Self {
            role: Role::Assistant,
            content: content.into(),
            model: model.into(),
            stop_reason: Some(StopReason::EndTurn),
            ..Self::default()
        }
    }
}

object! {
    /// Which model a server would like. Priorities are from 0 to 1.
    pub struct ModelPreferences {
        /// Names, or parts of names, the best one first.
        hints: "hints" => Option<Vec<ModelHint>>,
        /// How much the cost matters.
        cost_priority: "costPriority" => Option<f64>,
        /// How much the speed matters.
        speed_priority: "speedPriority" => Option<f64>,
        /// How much the model's abilities matter.
        intelligence_priority: "intelligencePriority" => Option<f64>,
    }
}

object! {
    /// A model that a server would like.
    pub struct ModelHint {
        /// A part of its name.
        name: "name" => Option<String>,
    }
}

object! {
    /// How a model is to use tools.
    pub struct ToolChoice {
        /// Whether it must; absent: if it likes.
        mode: "mode" => Option<ToolChoiceMode>,
    }
}

words! {
    /// Whether a model is to use tools.
    pub enum ToolChoiceMode {
        /// If it likes.
        Auto = "auto",
        /// At least one.
        Required = "required",
        /// None.
        None = "none",
    }
}

words! {
    /// Whose context a model is to be given.
    pub enum IncludeContext {
        /// Nobody's.
        None = "none",
        /// The asking server's.
        ThisServer = "thisServer",
        /// That of all servers.
        AllServers = "allServers",
    }
}

words! {
    /// Why a model stopped.
    pub enum StopReason {
        /// It had said all.
        EndTurn = "endTurn",
        /// It came to a stop sequence.
        StopSequence = "stopSequence",
        /// It had no tokens left.
        MaxTokens = "maxTokens",
        /// It wants a tool to be used.
        ToolUse = "toolUse",
    }
}
