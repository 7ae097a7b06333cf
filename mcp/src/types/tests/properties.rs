//! Every type, written and read again by every way there is, is the same; whatever a server sends.

use super::*;
use crate::types::object::Object;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

/// Names that no object of this crate knows.
const UNKNOWN: [&str; 3] = ["x-new", "", "n\u{e9}\n"];

const WORDS: [&str; 12] = [
    "text",
    "image",
    "audio",
    "resource",
    "resource_link",
    "tool_use",
    "tool_result",
    "user",
    "working",
    "",
    "x",
    "\u{1f600}\n",
];

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
            prop::collection::vec((prop::sample::select(names()), inner), 0..6).prop_map(|members| {
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

/// An object of this type, as far as its members' names go: most of them are there, and a few others.
fn object_of<T: Object>() -> impl Strategy<Value = Value> {
    let others = prop::collection::vec((prop::sample::select(&UNKNOWN[..]), value()), 0..2);
    let text = prop::sample::select(&WORDS[..]).prop_map(Value::from);
    let member = prop_oneof![1 => text, 2 => value()];
    let known = prop::collection::vec((prop::bool::weighted(0.7), member), T::MEMBERS.len());
    (known, others).prop_map(|(known, others)| {
        let known = T::MEMBERS.iter().zip(known).filter(|(_, (is_there, _))| *is_there);
        let known = known.map(|(name, (_, value))| (*name, value));
        known.chain(others).map(|(name, value)| (name.to_owned(), value)).collect()
    })
}

/// It holds for objects of this type, and not because all of them are refused.
fn object_holds<T: Object + DeserializeOwned + Serialize + PartialEq + fmt::Debug>() {
    let taken = Cell::new(0);
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    let result = runner.run(&object_of::<T>(), |value| {
        holds::<T>(&value);
        if let Ok(object) = serde_json::from_value::<T>(value.clone()) {
            taken.set(taken.get() + 1);
            let written = serde_json::to_value(&object).expect("it is JSON");
            let lost = UNKNOWN.into_iter().find(|name| value.get(name) != written.get(name));
            assert_eq!(lost, None, "{value} became {written}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{}: {error}", T::NAME));
    assert!(taken.get() >= 5, "{}: only {} are taken", T::NAME, taken.get());
}

macro_rules! all_types {
    (objects: $($object:ident),*; others: $($type:ident),*; without_default: $($word:ident),* $(,)?) => {
        /// The names of all members of all objects, and some others.
        fn names() -> Vec<&'static str> {
            let known = [$(<$object as Object>::MEMBERS),*];
            let mut names: Vec<_> = known.into_iter().flatten().copied().chain(["type"]).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().chain(UNKNOWN).collect()
        }

        const TESTED: &[&str] = &[$(stringify!($object),)* $(stringify!($type),)* $(stringify!($word)),*];

        fn all_hold(value: &Value) {
            $(holds::<$object>(value);)*
            $(holds::<$type>(value);)*
            $(holds::<$word>(value);)*
        }

        #[test]
        fn every_object_round_trips_with_its_own_members() {
            $(object_holds::<$object>();)*
        }

        #[test]
        fn defaults_are_written_and_read_again() {
            // What cannot be used is refused when it is read, and so is a default without a name.
            fn holds<T: DeserializeOwned + Serialize + Default + PartialEq + fmt::Debug>() {
                let text = serde_json::to_string(&T::default()).unwrap();
                if let Ok(value) = serde_json::from_str::<T>(&text) {
                    assert_eq!(value, T::default());
                }
            }
            $(holds::<$object>();)*
            $(holds::<$type>();)*
        }
    };
}

all_types!(
    objects:
    Annotations,
    AudioContent,
    CallToolResult,
    ClientCapabilities,
    CompleteResult,
    Completion,
    CreateMessageParams,
    CreateMessageResult,
    DiscoverResult,
    ElicitForm,
    ElicitUrl,
    ElicitationCapability,
    EmbeddedResource,
    GetPromptResult,
    Icon,
    ImageContent,
    Implementation,
    InitializeResult,
    ListCapability,
    ListPromptsResult,
    ListResourceTemplatesResult,
    ListResourcesResult,
    ListTasksResult,
    ListToolsResult,
    LogMessage,
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
    Root,
    SamplingCapability,
    SamplingMessage,
    ServerCapabilities,
    Task,
    TasksCapability,
    TextContent,
    Tool,
    ToolAnnotations,
    ToolChoice,
    ToolExecution,
    ToolResultContent,
    ToolUseContent;
    others:
    Blocks,
    Content,
    CreateTaskResult,
    Extra,
    Json,
    LoggingLevel,
    Role,
    TaskStatus;
    without_default:
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
    fn objects_of_known_members_do(members in prop::collection::vec((prop::sample::select(names()), value()), 0..10)) {
        all_hold(&members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }
}

/// Public types that are not JSON themselves: errors, a view of members, and an answer that is written by its handler.
const NOT_JSON: [&str; 4] = ["CacheHint", "Elicited", "FormError", "ToolError"];

#[test]
fn every_type_is_tested() {
    let source: String =
        include_str!("../../types.rs").lines().filter(|line| !line.starts_with("//!")).collect();
    let declarations = source.split(';').filter_map(|line| line.split_once("use ")).map(|(_, path)| path);
    let mut count = 0;
    for path in declarations {
        let names = path.rsplit("::").next().unwrap_or(path);
        let names =
            names.split(|it: char| !it.is_alphanumeric()).filter(|it| it.starts_with(char::is_uppercase));
        for name in names.filter(|name| !["Findings", "DeserializeOwned"].contains(name)) {
            assert!(TESTED.contains(&name) != NOT_JSON.contains(&name), "{name} is not in the list");
            count += 1;
        }
    }
    assert_eq!(count, TESTED.len() + NOT_JSON.len(), "the list has more than there is");
}
