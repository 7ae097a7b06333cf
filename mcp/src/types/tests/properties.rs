//! Every type, written and read again by every way there is, is the same; whatever a server sends.

use super::*;
use proptest::prelude::*;

/// Names of members: those of the schemas, and some others.
const NAMES: [&str; 40] = [
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
    "_meta",
    "icons",
    "execution",
    "tools",
    "content",
    "structuredContent",
    "isError",
    "type",
    "text",
    "data",
    "mimeType",
    "uri",
    "resource",
    "resources",
    "contents",
    "blob",
    "size",
    "prompts",
    "arguments",
    "messages",
    "role",
    "completion",
    "values",
    "total",
    "taskId",
    "status",
    "ttl",
    "task",
    "capabilities",
    "protocolVersion",
    "level",
    "nextCursor",
    "x-new",
    "resultType",
];

const WORDS: [&str; 10] =
    ["text", "image", "resource", "resource_link", "tool_use", "user", "working", "", "x", "\u{1f600}\n"];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1_000_000..1_000_000).prop_map(|number| Value::from(f64::from(number) / 4.0)),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// What is read is written and read again as the same value, in all ways; and no way reads what another refuses.
fn holds<T: DeserializeOwned + Serialize + PartialEq + fmt::Debug>(value: &Value) {
    let text = value.to_string();
    let by_text = serde_json::from_str::<T>(&text).ok();
    let by_reader = serde_json::from_reader::<_, T>(text.as_bytes()).ok();
    let by_tree = serde_json::from_value::<T>(value.clone()).ok();
    assert_eq!(by_text, by_reader, "{text}");
    assert_eq!(by_text, by_tree, "{text}");
    if let Some(value) = by_text {
        everywhere(&value);
    }
}

macro_rules! all_types {
    ($($type:ty),*; $($word:ty),* $(,)?) => {
        fn all_hold(value: &Value) {
            $(holds::<$type>(value);)*
            $(holds::<$word>(value);)*
        }

        #[test]
        fn defaults_are_written_and_read_again() {
            $(
                // What cannot be used is refused when it is read, and so is a default without a name.
                let text = serde_json::to_string(&<$type>::default()).unwrap();
                if let Ok(value) = serde_json::from_str::<$type>(&text) {
                    assert_eq!(value, <$type>::default());
                }
            )*
        }
    };
}

all_types!(
    Annotations,
    AudioContent,
    Blocks,
    CallToolResult,
    ClientCapabilities,
    CompleteResult,
    Completion,
    Content,
    CreateMessageParams,
    CreateMessageResult,
    ElicitForm,
    ElicitationCapability,
    ElicitUrl,
    EmbeddedResource,
    Extra,
    GetPromptResult,
    Icon,
    ImageContent,
    Implementation,
    InitializeResult,
    Json,
    ListCapability,
    ListPromptsResult,
    ListResourceTemplatesResult,
    ListResourcesResult,
    ListTasksResult,
    ListToolsResult,
    LogMessage,
    LoggingLevel,
    ModelHint,
    ModelPreferences,
    Progress,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceResult,
    Resource,
    ResourceContents,
    ResourceLink,
    ResourceTemplate,
    ResourcesCapability,
    Role,
    Root,
    SamplingCapability,
    SamplingMessage,
    ServerCapabilities,
    Task,
    TaskStatus,
    TasksCapability,
    TextContent,
    Tool,
    ToolAnnotations,
    ToolChoice,
    ToolExecution,
    ToolResultContent,
    ToolUseContent;
    // They have no default.
    CompletionTarget,
    IncludeContext,
    StopReason,
    TaskSupport,
    ToolChoiceMode,
);

proptest! {
    #[test]
    fn all_types_round_trip_by_text_reader_and_tree(value in value()) {
        all_hold(&value);
    }

    #[test]
    fn objects_of_known_members_do(members in prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..10)) {
        all_hold(&members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }
}
