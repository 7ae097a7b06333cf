//! What a server gets wrong in one place decides over nothing else.

use super::*;

/// The value, and what was told of it.
fn told_of<T: DeserializeOwned>(json: &str) -> (T, Vec<String>) {
    let (value, findings) = decode(json, 1 << 20);
    (value.unwrap_or_else(|error| panic!("{json}: {error}")), findings.oddities)
}

#[test]
fn null_is_absence_where_the_schema_has_no_null() {
    let (tools, told): (ListToolsResult, _) = told_of(r#"{"tools":null,"nextCursor":null,"_meta":null}"#);
    assert_eq!(tools, ListToolsResult::default());
    assert_eq!(told, [] as [String; 0]);
    let result: CallToolResult =
        read(r#"{"content":null,"isError":null,"structuredContent":null,"_meta":null}"#);
    assert_eq!(result.structured_content.as_ref().unwrap().text(), "null", "any JSON value");
    assert_eq!((result.content.len(), result.is_error, result.meta), (0, false, None));
    let task: Task = read(r#"{"taskId":"t","status":"working","ttl":null,"pollInterval":null}"#);
    assert_eq!((task.ttl, task.poll_interval), (None, None));
    let prompt: Prompt = read(r#"{"name":"p","arguments":null,"title":null,"icons":null}"#);
    assert_eq!(prompt, Prompt { name: "p".to_owned(), ..Prompt::default() });
}

#[test]
fn an_odd_member_is_kept_as_it_came_and_told() {
    let json = r#"{"tools":[{"name":"a"},{"name":"b","description":7,"title":{"x":[1]},"annotations":"no"},{"name":"c"}]}"#;
    let (list, told): (ListToolsResult, _) = told_of(json);
    let names: Vec<_> = list.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(list.tools[1].description, None);
    assert_eq!(list.tools[1].extra.get("description").unwrap().text(), "7");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("Tool.description") && told[0].contains('7'), "{told:?}");
    everywhere(&list);
}

#[test]
fn an_item_that_cannot_be_used_is_left_out_and_told() {
    let (list, told): (ListToolsResult, _) =
        told_of(r#"{"tools":[{"name":"a"},{},null,7,{"name":2},{"name":"b"}]}"#);
    assert_eq!(list.tools.len(), 2);
    assert_eq!(told.len(), 5, "one of them for the name: {told:?}");
    let (list, _): (ListResourcesResult, _) = told_of(r#"{"resources":[{"uri":"x:y","size":12.0},[],"s"]}"#);
    assert_eq!(list.resources.len(), 1);
    assert_eq!(list.resources[0].size, Some(12));
}

#[test]
fn a_block_that_cannot_be_read_is_kept_as_json() {
    let json = r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":5},{"type":"image"},7,"plain",
        {"type":"text"}]}"#;
    let (result, told): (CallToolResult, _) = told_of(json);
    let [
        Content::Text(_),
        Content::Other(five),
        Content::Other(image),
        Content::Other(seven),
        Content::Text(plain),
        Content::Text(_),
    ] = &result.content[..]
    else {
        panic!("{result:?}")
    };
    assert_eq!(read::<Value>(five.text()), json!({ "type": "text", "text": 5 }));
    assert_eq!(read::<Value>(image.text())["type"], "image");
    assert_eq!((seven.text(), &*plain.text), ("7", "plain"));
    assert!(told.len() >= 4, "{told:?}");
    everywhere(&result);
}

#[test]
fn one_block_may_stand_where_a_list_belongs() {
    for json in [r#"{"content":{"type":"text","text":"a"}}"#, r#"{"content":"a"}"#] {
        let (result, told): (CallToolResult, _) = told_of(json);
        assert_eq!(result.text(), "a");
        assert!(!told.is_empty());
    }
    let (result, _): (CallToolResult, _) =
        told_of(r#"{"content":{"type":"text","text":"a"},"isError":"yes"}"#);
    assert!(!result.is_error && result.extra.get("isError").is_some());
}

#[test]
fn a_host_that_reads_by_itself_is_told_nothing() {
    read::<ListToolsResult>(r#"{"tools":[7]}"#);
    let (_, told): (ListToolsResult, _) = told_of(r#"{"tools":[]}"#);
    assert!(told.is_empty());
}

#[test]
fn what_is_told_is_bounded() {
    let items = vec!["7"; 10_000].join(",");
    let (_, told): (ListToolsResult, _) = told_of(&format!(r#"{{"tools":[{items}]}}"#));
    assert_eq!(told.len(), 16);
    let (_, told): (ListToolsResult, _) = told_of(&format!(r#"{{"tools":[["{}"]]}}"#, "x".repeat(100_000)));
    assert!(told[0].len() < 200);
}

#[test]
fn a_limit_is_kept_to_the_byte() {
    let json = r#"{"tools":[{"name":"a"},{"name":"b"}]}"#;
    let (value, findings) = decode::<ListToolsResult>(json, 1 << 20);
    value.unwrap();
    let taken = findings.taken;
    assert!(taken > 2 * size_of::<Tool>() && !findings.exceeded);
    let (value, findings) = decode::<ListToolsResult>(json, taken);
    assert!(value.is_ok() && !findings.exceeded && findings.taken == taken);
    let (value, findings) = decode::<ListToolsResult>(json, taken - 1);
    assert!(value.is_err() && findings.exceeded);
}
