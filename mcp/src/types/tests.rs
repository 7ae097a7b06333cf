use super::*;

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refused<T: DeserializeOwned + fmt::Debug>(json: &str) {
    let raw = RawValue::from_string(json.to_owned()).unwrap();
    let error = decode::<T>(&raw).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{json}: {error:#}");
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
        r#""zulu":1,"alpha":{"b":2,"a":1},"icons":[ ]}"#
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
    assert!(server.capabilities.is_none() && server.server_info.is_none());
    assert!(!read::<PromptArgument>(r#"{"name":"x"}"#).required);
    assert!(read::<Tool>(r#"{"name":"x"}"#).input_schema.is_none());
    assert!(read::<ListToolsResult>(r#"{"nextCursor":null}"#).next_cursor.is_none());
    assert_eq!(read::<ListToolsResult>(r#"{"nextCursor":""}"#).next_cursor.as_deref(), Some(""));
}

#[test]
fn what_has_another_form_is_refused_with_the_reason() {
    refused::<Tool>("{}");
    refused::<Tool>("[]");
    refused::<Tool>("null");
    refused::<Tool>(r#"{"name":1}"#);
    refused::<ListToolsResult>(r#"{"tools":{}}"#);
    refused::<ListToolsResult>(r#"{"tools":[{}]}"#);
    refused::<ListToolsResult>(r#"{"nextCursor":7}"#);
    refused::<InitializeResult>("{}");
    refused::<CallToolResult>(r#"{"isError":"yes"}"#);
    refused::<CallToolResult>(r#"{"content":[{"type":"text"}]}"#);
    refused::<CallToolResult>(r#"{"content":["text"]}"#);
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
        assert_eq!(text.extra.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["type"], "{json}");
    }
    refused::<Content>(r#"{"type":7}"#);
    refused::<Content>(r#"{"text":"a","type":7}"#);
    refused::<Content>(r#"{"type":"image","data":7}"#);
    refused::<Content>(r#"{"data":7,"type":"image"}"#);
    for json in ["{}", r#"{"type":"\"text"}"#, r#"{"type":""}"#] {
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
    unchanged::<Content>(r#"{"text":"a","_meta":{"b":1},"type":"text","lang":"de"}"#);
    round_trip::<Content>(r#"{"type":"text","text":"a"}"#, r#"{"text":"a","type":"text"}"#);
    unchanged::<CallToolResult>(r#"{"content":[],"structuredContent":[1, 2],"isError":true,"_meta":{}}"#);
    unchanged::<PromptMessage>(r#"{"role":"user","content":{"text":"a","type":"text"}}"#);
}

#[test]
fn structured_content_may_be_any_json() {
    for json in ["[1, 2]", "\"x\"", "0", "{\"z\":1,\"a\":2}"] {
        let result: CallToolResult = read(&format!(r#"{{"structuredContent":{json}}}"#));
        assert_eq!(result.structured_content.unwrap().text(), json);
    }
}

#[test]
fn big_text_is_kept() {
    let text = "größe\n\"\u{1f600}\"".repeat(200_000);
    let json =
        serde_json::to_string(&serde_json::json!({ "content": [{ "text": text, "type": "text" }] })).unwrap();
    let result: CallToolResult = read(&json);
    assert_eq!(result.text(), text);
    let written = serde_json::to_string(&result).unwrap();
    assert_eq!(written, json);
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
    let json = Json::new(&serde_json::json!({ "a": [1] })).unwrap();
    assert_eq!(
        (json.text(), format!("{json} {json:?}")),
        (r#"{"a":[1]}"#, r#"{"a":[1]} {"a":[1]}"#.to_owned())
    );
    assert_eq!(json.parse::<serde_json::Value>().unwrap()["a"][0], 1);
    let error = json.parse::<Vec<u8>>().unwrap_err();
    assert!(format!("{error:#}").contains("invalid type"), "{error:#}");
    Json::new(&std::collections::HashMap::from([((1, 2), 3)])).unwrap_err();
    assert_ne!(read::<Json>("{ }"), read::<Json>("{}"));
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
