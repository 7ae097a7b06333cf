//! Unit tests of `types`.

use super::*;
use crate::protocol::message::RpcError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

mod lenient;
mod properties;

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refused<T: DeserializeOwned + fmt::Debug>(json: &str) {
    serde_json::from_str::<T>(json).unwrap_err();
}

/// Reads and writes: known members come first, then the unknown ones in their order.
#[track_caller]
fn round_trip<T: DeserializeOwned + Serialize + PartialEq + fmt::Debug>(json: &str, written: &str) {
    let value: T = read(json);
    assert_eq!(serde_json::to_string(&value).unwrap(), written);
    assert_eq!(read::<T>(written), value);
}

#[track_caller]
fn unchanged<T: DeserializeOwned + Serialize + PartialEq + fmt::Debug>(json: &str) {
    round_trip::<T>(json, json);
}

#[test]
fn schemas_metadata_and_unknown_members_are_kept_to_the_letter() {
    unchanged::<Tool>(concat!(
        r#"{"name":"t","title":"T","description":"d","#,
        r#""inputSchema":{"type": "object", "z":1,"a":{"$ref":"x"},"n":1.0e2,"big":123456789012345678901234567890},"#,
        r#""outputSchema":{},"annotations":{"readOnlyHint":true},"_meta":{"x/y":[null, 1]},"#,
        r#""zulu":1,"alpha":{"b":2,"a":1},"images":[ ]}"#
    ));
}

#[test]
fn unknown_members_come_after_the_known_ones() {
    round_trip::<Tool>(r#"{"zulu":0,"name":"t","alpha":null}"#, r#"{"name":"t","zulu":0,"alpha":null}"#);
    let tool: Tool = read(r#"{"zulu":0,"name":"t","alpha":null}"#);
    assert_eq!(tool.extra.get("alpha").unwrap().text(), "null");
    assert_eq!(tool.extra.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["zulu", "alpha"]);
    assert!(tool.extra.get("name").is_none() && !tool.extra.is_empty());
}

#[test]
fn absent_members_are_read_leniently() {
    let tools: ListToolsResult = read("{}");
    assert!(tools.tools.is_empty() && tools.next_cursor.is_none());
    let result: CallToolResult = read("{}");
    assert!(result.content.is_empty() && !result.is_error && result.text().is_empty());
    assert!(read::<ListResourcesResult>("{}").resources.is_empty());
    assert!(read::<ReadResourceResult>("{}").contents.is_empty());
    assert!(read::<ListPromptsResult>("{}").prompts.is_empty());
    assert!(read::<GetPromptResult>("{}").messages.is_empty());
    let server: InitializeResult = read(r#"{"protocolVersion":"2025-11-25"}"#);
    assert!(server.capabilities == ServerCapabilities::default() && server.server_info.is_none());
    assert!(!read::<PromptArgument>(r#"{"name":"x"}"#).required);
    assert!(read::<Tool>(r#"{"name":"x"}"#).input_schema.is_none());
    assert!(read::<ListToolsResult>(r#"{"nextCursor":null}"#).next_cursor.is_none());
    assert_eq!(read::<ListToolsResult>(r#"{"nextCursor":""}"#).next_cursor.as_deref(), Some(""));
}

#[test]
fn what_cannot_be_used_at_all_is_refused() {
    refused::<Tool>("{}");
    refused::<Tool>("[]");
    refused::<Tool>("null");
    refused::<Tool>(r#"{"name":1}"#);
    refused::<Tool>(r#"{"name":null}"#);
    refused::<ListToolsResult>(r#"{"tools":{}}"#);
    refused::<ListToolsResult>("7");
    refused::<InitializeResult>("{}");
    refused::<Task>(r#"{"status":"working"}"#);
    refused::<CreateTaskResult>(r#"{"task":{}}"#);
    refused::<ElicitForm>(r#"{"message":"m"}"#);
}

#[test]
fn content_is_told_apart_by_its_type() {
    let result: CallToolResult = read(concat!(
        r#"{"content":[{"type":"text","text":"a"},{"type":"image","data":"AA==","mimeType":"image/png"},"#,
        r#"{"type":"audio","data":"AA==","mimeType":"audio/wav"},{"type":"resource_link","uri":"x:y"},"#,
        r#"{"type":"resource","resource":{"uri":"x:y","text":"t"}},{"type":"hologram","x":[1, 2]},{"y":1},"#,
        r#"{"text":"b","type":"\u0074ext"}]}"#
    ));
    let [
        Content::Text(_),
        Content::Image(_),
        Content::Audio(_),
        Content::ResourceLink(_),
        Content::Resource(resource),
        Content::Other(hologram),
        Content::Other(_),
        Content::Text(_),
    ] = &result.content[..]
    else {
        panic!("{result:?}")
    };
    assert_eq!(resource.resource.text.as_deref(), Some("t"));
    assert_eq!(hologram.text(), r#"{"type":"hologram","x":[1, 2]}"#);
    assert_eq!(result.text(), "a\nb");
}

#[test]
fn the_type_of_content_may_be_written_in_any_way() {
    for json in [
        r#"{"type":"text","text":"a"}"#,
        r#"{ "type" : "text", "text" : "a" }"#,
        r#"{"\u0074ype":"text","text":"a"}"#,
        r#"{"type":"\u0074ext","text":"a"}"#,
        r#"{"text":"a","type":"text"}"#,
        r#"{"text":"a","\u0074ype":"\u0074ext"}"#,
    ] {
        let Content::Text(text) = read(json) else { panic!("{json}") };
        assert_eq!(text.text, "a", "{json}");
        assert!(text.extra.is_empty(), "{json}: the variant says it");
    }
    for json in [
        "{}",
        "7",
        "null",
        "[1,2]",
        r#"{"type":"\"text"}"#,
        r#"{"type":""}"#,
        r#"{"type":7}"#,
        r#"{"text":"a","type":7}"#,
        r#"{"type":"image","mimeType":"","data":7}"#,
    ] {
        let Content::Other(other) = read(json) else { panic!("{json}") };
        assert_eq!(other.text(), json);
    }
}

#[test]
fn content_is_kept() {
    round_trip::<Content>(
        r#"{ "type" : "hologram", "x" : [1, 2], "x":3 }"#,
        r#"{"type":"hologram","x":[1, 2],"x":3}"#,
    );
    unchanged::<Content>(r#"{"type":"hologram","x":[1, 2]}"#);
    unchanged::<Content>(r#"{"type":"text","text":"a","_meta":{"b":1},"lang":"de"}"#);
    round_trip::<Content>(r#"{"text":"a","type":"text"}"#, r#"{"type":"text","text":"a"}"#);
    unchanged::<CallToolResult>(r#"{"content":[],"structuredContent":[1, 2],"isError":true,"_meta":{}}"#);
    unchanged::<PromptMessage>(r#"{"role":"user","content":{"type":"text","text":"a"}}"#);
}

#[test]
fn structured_content_may_be_any_json() {
    for json in ["[1, 2]", "\"x\"", "0", "{\"z\":1,\"a\":2}", "null"] {
        let result: CallToolResult = read(&format!(r#"{{"structuredContent":{json}}}"#));
        assert_eq!(result.structured_content.unwrap().text(), json);
    }
}

#[test]
fn big_text_is_kept() {
    let text = "größe\n\"\u{1f600}\"".repeat(200_000);
    let json = serde_json::to_string(&json!({ "content": [{ "type": "text", "text": text }] })).unwrap();
    let result: CallToolResult = read(&json);
    assert_eq!(result.text(), text);
    assert_eq!(read::<CallToolResult>(&serde_json::to_string(&result).unwrap()), result);
}

#[test]
fn deep_nesting_is_kept_without_recursion() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let tool: Tool = read(&format!(r#"{{"name":"t","inputSchema":{deep},"more":{deep}}}"#));
    assert_eq!(tool.input_schema.unwrap().text(), deep);
}

#[test]
fn of_members_that_come_twice_the_last_counts() {
    assert_eq!(read::<Tool>(r#"{"name":"a","name":"b"}"#).name, "b");
}

#[test]
fn json_is_text_that_can_be_looked_into() {
    let json = Json::new(&json!({ "a": [1] })).unwrap();
    assert_eq!(
        (json.text(), format!("{json} {json:?}")),
        (r#"{"a":[1]}"#, r#"{"a":[1]} {"a":[1]}"#.to_owned())
    );
    assert_eq!(json.parse::<Value>().unwrap()["a"][0], 1);
    let error = json.parse::<Vec<u8>>().unwrap_err();
    assert_eq!(error.to_string(), "the JSON does not have the form of `alloc::vec::Vec<u8>`");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("invalid type"));
    Json::new(&std::collections::HashMap::from([((1, 2), 3)])).unwrap_err();
    assert_eq!(read::<Json>(r#"{ "b":1.0, "a":[ ] }"#), read::<Json>(r#"{"a":[],"b":1.0}"#));
    assert_ne!(read::<Json>("{}"), read::<Json>("[]"));
}

#[test]
fn cch_01_hints_are_read_leniently() {
    let hint = |members: &str| {
        let page: ListToolsResult = serde_json::from_str(&format!(r#"{{"tools":[]{members}}}"#)).unwrap();
        let hint = page.extra.cache_hint();
        (hint.ttl.as_millis(), hint.public)
    };
    assert_eq!(hint(r#","ttlMs":300000,"cacheScope":"public""#), (300_000, true));
    assert_eq!(hint(r#","ttlMs":1.5,"cacheScope":"private""#), (1, false));
    for nothing in ["", r#","ttlMs":-1"#, r#","ttlMs":"5""#, r#","ttlMs":null,"cacheScope":7"#] {
        assert_eq!(hint(nothing), (0, false), "{nothing}");
    }
}

/// A host's own types, as hosts write them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Resource(Resource),
    Tool(Tool),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Tool(Tool),
    Result { result: CallToolResult },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    server: String,
    #[serde(flatten)]
    tool: Tool,
}

#[test]
fn types_live_in_untagged_tagged_and_flattened_types() {
    let tool: Tool = read(r#"{"name":"t","inputSchema":{"type":"object"},"_meta":{"a":[null,1]},"new":"x"}"#);
    let result: CallToolResult =
        read(r#"{"content":[{"type":"text","text":"a"},{"x":1}],"structuredContent":null}"#);
    everywhere(&Untagged::Tool(tool.clone()));
    everywhere(&Tagged::Tool(tool.clone()));
    everywhere(&Tagged::Result { result });
    everywhere(&Flattened { server: "s".to_owned(), tool });
}

/// Written and read again, by text, by a reader and by a tree, it is the same.
#[track_caller]
fn everywhere<T: DeserializeOwned + Serialize + PartialEq + fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *value, "{text}");
    assert_eq!(serde_json::from_reader::<_, T>(text.as_bytes()).unwrap(), *value, "{text}");
    let tree = serde_json::to_value(value).unwrap();
    assert_eq!(T::deserialize(&tree).unwrap(), *value, "{tree}");
    assert_eq!(serde_json::from_value::<T>(tree).unwrap(), *value, "{text}");
}

#[test]
fn json_reads_from_every_deserializer() {
    for text in [r#"{"a":[1,-2,2.5,true,null,"ö\n"],"b":{}}"#, "[]", "null", "\"x\"", "18446744073709551615"]
    {
        let json: Json = read(text);
        assert_eq!(json.text(), text);
        everywhere(&json);
        everywhere(&Some(json.clone()).filter(|json| !json.is_null()));
        assert_eq!(Json::from(json.to_value().unwrap()), json);
        assert_eq!(Value::try_from(json.clone()).unwrap(), read::<Value>(text));
    }
    assert_eq!(Json::default().text(), "null");
    // As it is written, where there is text.
    assert_eq!(read::<Json>(" [1 , 2.0e1]").text(), "[1 , 2.0e1]");
}

#[test]
fn json_lives_in_untagged_tagged_and_flattened_types() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Two { a: Json, b: Json },
        One(Json),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Held { json: Json },
        All(BTreeMap<String, Json>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flattened {
        id: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, Json>,
    }

    for text in [r#"{"a":[1,-2,2.5,true,null,"ö\n"]}"#, "[]", "null", "\"x\"", "18446744073709551615", "-0.5"]
    {
        let json: Json = read(text);
        let members = || BTreeMap::from([("x".to_owned(), json.clone()), ("y".to_owned(), Json::default())]);
        everywhere(&Untagged::One(json.clone()));
        everywhere(&Untagged::Two { a: json.clone(), b: json.clone() });
        everywhere(&Tagged::Held { json: json.clone() });
        everywhere(&Tagged::All(members()));
        everywhere(&Flattened { id: 7, rest: members() });
        everywhere(&vec![Some((1, json.clone())), None]);
    }
}

#[test]
fn errors_are_written_and_read_again() {
    let plain = RpcError::new(-32601, "no \"x\"\n");
    assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"code":-32601,"message":"no \"x\"\n"}"#);
    everywhere(&plain);
    everywhere(&RpcError::new(0, ""));
    for data in ["null", "7", r#"{"a":[null,1.5]}"#] {
        let error = RpcError::new(1, "m").with_data(read(data));
        assert_eq!(error.data(), Some(data));
        everywhere(&error);
    }
    assert_eq!(read::<RpcError>(r#"{"code":"7","message":null}"#), RpcError::new(7, ""));
    for json in ["7", "null", "[]", r#""x""#, "{}", r#"{"message":"m"}"#] {
        refused::<RpcError>(json);
    }
}

#[test]
fn a_type_of_the_hosts_that_does_not_fit_is_named() {
    #[derive(Debug, Deserialize)]
    struct Sum {
        #[allow(dead_code, reason = "it is never read")]
        sum: u32,
    }
    let result: CallToolResult = read(r#"{"structuredContent":{"total":3}}"#);
    let error = result.structured::<Sum>().unwrap_err();
    assert!(error.to_string().ends_with("Sum`") && error.expected().ends_with("Sum"), "{error}");
    let error = crate::Error::from(error);
    assert_eq!(format!("{error:#}").matches("missing field").count(), 1, "{error:#}");
    assert!(CallToolResult::default().structured::<Option<Sum>>().unwrap().is_none());
    CallToolResult::default().structured::<Sum>().unwrap_err();
}

#[test]
fn a_tool_that_failed_is_an_error_for_those_who_ask() {
    let fine: CallToolResult = read(r#"{"content":[{"type":"text","text":"ok"}]}"#);
    assert_eq!(fine.clone().into_result().unwrap(), fine);
    let failed = CallToolResult { content: vec!["disk full".into()], is_error: true, ..Default::default() };
    let error = failed.clone().into_result().unwrap_err();
    assert_eq!((error.to_string().as_str(), error.result()), ("the tool failed: disk full", &failed));
}

#[test]
fn names_for_people() {
    let mut tool: Tool = read(r#"{"name":"t"}"#);
    assert_eq!(tool.display_name(), "t");
    tool.annotations = Some(Box::new(ToolAnnotations { title: Some("A".to_owned()), ..Default::default() }));
    assert_eq!(tool.display_name(), "A");
    tool.title = Some("T".to_owned());
    assert_eq!(tool.display_name(), "T");
    assert_eq!(read::<Prompt>(r#"{"name":"p","title":"P"}"#).display_name(), "P");
    assert_eq!(read::<Resource>(r#"{"uri":"x:y"}"#).display_name(), "x:y");
}

#[test]
fn capabilities_annotations_and_words_are_typed() {
    let server: InitializeResult = read(
        r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},
        "logging":{},"experimental":{"x":{}}},"serverInfo":{"name":"s","version":"1","icons":[{"src":"data:,"}]}}"#,
    );
    assert!(server.capabilities.supports_tools() && !server.capabilities.supports_prompts());
    assert!(server.capabilities.tools.unwrap().list_changed);
    assert_eq!(server.server_info.unwrap().icons[0].src, "data:,");
    let tool: Tool = read(
        r#"{"name":"t","annotations":{"readOnlyHint":true,"new":1},"execution":{"taskSupport":"required"}}"#,
    );
    assert_eq!(tool.annotations.unwrap().read_only_hint, Some(true));
    assert_eq!(tool.execution.unwrap().task_support, Some(TaskSupport::Required));
    let text: TextContent = read(
        r#"{"text":"a","annotations":{"audience":["user","robot"],"priority":1,"lastModified":"2026"}}"#,
    );
    let annotations = text.annotations.unwrap();
    assert_eq!(annotations.audience, [Role::User, Role::from("robot")]);
    assert_eq!(annotations.priority, Some(1.0));
    let log: LogMessage = read(r#"{"level":"warning","data":null}"#);
    assert_eq!((log.level, log.data.text()), (LoggingLevel::Warning, "null"));
}

#[test]
fn samples_are_typed_with_tools() {
    let params: CreateMessageParams = read(
        r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"add","input":{"a":1}}]},
        {"role":"user","content":{"type":"tool_result","toolUseId":"1","content":[{"type":"text","text":"3"}]}}],
        "maxTokens":100,"tools":[{"name":"add"}],"toolChoice":{"mode":"auto"},"includeContext":"none",
        "modelPreferences":{"hints":[{"name":"big"}],"costPriority":0}}"#,
    );
    let [Content::ToolUse(used)] = &params.messages[0].content.0[..] else { panic!("{params:?}") };
    assert_eq!((&*used.name, used.input.text()), ("add", r#"{"a":1}"#));
    let [Content::ToolResult(_)] = &params.messages[1].content.0[..] else { panic!("{params:?}") };
    everywhere(&params);
    let answer = CreateMessageResult::new("m", "hi");
    let written =
        r#"{"role":"assistant","content":{"type":"text","text":"hi"},"model":"m","stopReason":"endTurn"}"#;
    assert_eq!(serde_json::to_string(&answer).unwrap(), written);
    let error = RpcError::new(1, "x");
    assert_eq!(error.code(), 1);
}

/// Where the type comes last, each member is read by a reader of its own, whose limit does not help.
#[test]
fn results_of_tools_in_each_other_cost_no_stack() {
    for (open, close) in [
        (r#"{"type":"tool_result","toolUseId":"1","content":["#, "]}"),
        (r#"{"content":["#, r#"],"toolUseId":"1","type":"tool_result"}"#),
    ] {
        let depth = |levels: usize| {
            let text = format!(r#"{{"content":[{}{}]}}"#, open.repeat(levels), close.repeat(levels));
            let mut found = 0;
            let result: CallToolResult = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&result).unwrap().matches("tool_result").count(), levels);
            let mut content = result.content;
            while let Some(Content::ToolResult(inner)) = content.pop() {
                (found, content) = (found + 1, inner.content);
            }
            found
        };
        assert_eq!((depth(8), depth(9)), (8, 8), "what is deeper is JSON");
    }
    let (open, close) = (r#"{"content":"#, r#","toolUseId":"1","type":"tool_result"}"#);
    let text = format!(r#"{{"content":[{}[]{}]}}"#, open.repeat(5_000), close.repeat(5_000));
    let result: CallToolResult = serde_json::from_str(&text).unwrap();
    assert!(matches!(result.content[0], Content::ToolResult(_)));
}

/// As the readers of other languages take it, too.
#[test]
fn truth_may_be_written_as_a_string() {
    let result: CallToolResult = serde_json::from_str(r#"{"content":[],"isError":"true"}"#).unwrap();
    assert!(result.is_error);
    for odd in [r#""yes""#, r#""""#, r#""TRUE""#, "1"] {
        let text = format!(r#"{{"content":[],"isError":{odd}}}"#);
        let result: CallToolResult = serde_json::from_str(&text).unwrap();
        assert!(!result.is_error && result.extra.get("isError").is_some(), "{odd}");
    }
}
