//! Unit tests of `protocol::headers`.

use super::*;

fn header_arguments(schema: &str) -> Result<Vec<HeaderArgument>, &'static str> {
    super::header_arguments(schema, usize::MAX)
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[test]
fn par_05_par_06_what_is_not_plain_is_encoded() {
    for plain in ["", "a", "a b", "/x?y=1", "=?base64?x", "100%"] {
        assert_eq!(header_value(plain), plain);
    }
    for encoded in [" a", "a ", "a\tb", "a\r\nb", "é", "\u{7f}", "=?base64?YQ==?="] {
        let value = header_value(encoded);
        assert!(value.starts_with("=?base64?") && value.ends_with("?="), "{encoded:?} -> {value}");
    }
}

#[test]
fn mod_05_mod_06_the_name_of_each_method() {
    let params = raw(r#"{"name":"n","uri":"u","taskId":"t"}"#);
    for (method, name) in [
        ("tools/call", Some("n")),
        ("prompts/get", Some("n")),
        ("resources/read", Some("u")),
        ("tasks/get", Some("t")),
        ("tools/list", None),
    ] {
        assert_eq!(name_of(method, Some(&params)).as_deref(), name, "{method}");
    }
    assert_eq!(name_of("tools/call", None), None);
}

fn schema(property: &str) -> String {
    format!(r#"{{"type":"object","properties":{{"a":{property}}}}}"#)
}

#[test]
fn par_03_valid_annotations() {
    let found = header_arguments(
        r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},
            "deep":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"Method"}}},
            "x-mcp-header":{"type":"string"}}}"#,
    )
    .unwrap();
    let headers: Vec<_> = found.iter().map(|mirrored| &*mirrored.header).collect();
    assert_eq!(headers, ["A", "Method"]);
}

#[test]
fn par_03_invalid_annotations() {
    for property in [
        r#"{"type":"string","x-mcp-header":""}"#,
        r#"{"type":"string","x-mcp-header":"a b"}"#,
        r#"{"type":"string","x-mcp-header":"a:b"}"#,
        r#"{"type":"string","x-mcp-header":"é"}"#,
        r#"{"type":"string","x-mcp-header":7}"#,
        r#"{"type":"number","x-mcp-header":"A"}"#,
        r#"{"type":"object","x-mcp-header":"A"}"#,
        r#"{"type":["string","null"],"x-mcp-header":"A"}"#,
        r#"{"x-mcp-header":"A"}"#,
        r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#,
        r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#,
        r#"{"if":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}"#,
    ] {
        assert!(header_arguments(&schema(property)).is_err(), "{property}");
    }
    let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},
        "b":{"type":"string","x-mcp-header":"a"}}}"#;
    assert!(header_arguments(twice).is_err());
}

#[test]
fn par_03_an_argument_may_be_called_like_the_annotation() {
    let found = header_arguments(
        r#"{"properties":{"x-mcp-header":{"properties":{"type":{"type":"string","x-mcp-header":"A"}}}}}"#,
    );
    assert_eq!(found.unwrap()[0].path(), ["x-mcp-header", "type"]);
    for schema in [r#"{"x-mcp-header":"A"}"#, r#"{"properties":{"x-mcp-header":"A"}}"#] {
        assert!(header_arguments(schema).is_err(), "{schema}");
    }
    for nothing in ["{}", "7", "[]", r#"{"properties":7,"x-mcp-header":{}}"#, "nonsense"] {
        assert_eq!(header_arguments(nothing), Ok(Vec::new()), "{nothing}");
    }
}

#[test]
fn par_03_no_more_annotations_than_the_limit() {
    let schema = |count: usize| {
        let property = |n| format!(r#""{n}":{{"x-mcp-header":"h{n}","type":"string"}}"#);
        let properties: Vec<_> = (0..count).map(property).collect();
        format!(r#"{{"properties":{{{}}}}}"#, properties.join(","))
    };
    assert_eq!(super::header_arguments(&schema(3), 3).unwrap().len(), 3);
    assert!(super::header_arguments(&schema(4), 3).is_err());
}

#[test]
fn par_03_arguments_share_what_is_above_them() {
    let property = |n| format!(r#""{n}":{{"x-mcp-header":"h{n}","type":"string"}}"#);
    let properties: Vec<_> = (0..64).map(property).collect();
    let long = "p".repeat(4_000);
    let schema = format!(
        r#"{{"properties":{{"{long}":{{"properties":{{"b":{{"properties":{{{}}}}}}}}}}}}}"#,
        properties.join(",")
    );
    let found = header_arguments(&schema).unwrap();
    for (n, argument) in found.iter().enumerate() {
        assert_eq!(argument.path(), [&*long, "b", &*n.to_string()]);
        let above = |argument: &HeaderArgument| argument.path.above.clone().unwrap();
        assert!(Arc::ptr_eq(&above(argument), &above(&found[0])));
    }
    let arguments = raw(&format!(r#"{{"{long}":{{"b":{{"7":"x"}}}}}}"#));
    assert_eq!(header_of(&found[7], &arguments), Ok(Some("x".to_owned())));
    assert_eq!(header_of(&found[8], &arguments), Ok(None));
    assert_eq!(header_of(&found[7], &raw(&format!(r#"{{"{long}":7}}"#))), Ok(None));
}

#[test]
fn par_03_an_annotation_and_the_way_to_it_have_no_more_than_4_kib() {
    let schema = |header: usize, path: usize| {
        let (header, name) = ("h".repeat(header), "p".repeat(path / 2));
        format!(
            r#"{{"properties":{{"{name}":{{"properties":{{"{name}":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}}}"#
        )
    };
    for (header, path, valid) in
        [(4_096, 0, true), (4_097, 0, false), (96, 4_000, true), (97, 4_000, false), (1, 4_096, false)]
    {
        let found = header_arguments(&schema(header, path)).map(|found| found.len());
        let why = "x-mcp-header and the names on the way to it are longer than 4 KiB";
        assert_eq!(found, if valid { Ok(1) } else { Err(why) }, "{header} {path}");
    }
}

#[test]
fn par_03_deep_schemas_take_no_stack_and_hide_nothing_above() {
    let nested = |depth: usize| format!("{}7{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
    let schema = |depth| {
        format!(
            r#"{{"anyOf":{},"properties":{{"a":{{"type":"string","x-mcp-header":"A"}}}}}}"#,
            nested(depth)
        )
    };
    for depth in [1, 47, 48, 10_000] {
        assert_eq!(header_arguments(&schema(depth)).map(|found| found.len()), Ok(1), "{depth}");
    }
}

#[test]
fn par_04_par_05_par_07_values() {
    let mirrored = &header_arguments(&schema(r#"{"type":"string","x-mcp-header":"A"}"#)).unwrap()[0];
    for (arguments, header) in [
        (r#"{"a":"x y"}"#, Ok(Some("x y"))),
        (r#"{"a":""}"#, Ok(Some(""))),
        (r#"{"a":"é"}"#, Ok(Some("=?base64?w6k=?="))),
        (r#"{"a":-7}"#, Ok(Some("-7"))),
        (r#"{"a":7.0}"#, Ok(Some("7"))),
        (r#"{"a":9007199254740991}"#, Ok(Some("9007199254740991"))),
        (r#"{"a":true}"#, Ok(Some("true"))),
        (r#"{"a":null}"#, Ok(None)),
        ("{}", Ok(None)),
    ] {
        assert_eq!(
            header_of(mirrored, &raw(arguments)),
            header.map(|header: Option<&str>| header.map(str::to_owned))
        );
    }
    for arguments in [r#"{"a":9007199254740992}"#, r#"{"a":1e300}"#, r#"{"a":1.5}"#] {
        assert!(header_of(mirrored, &raw(arguments)).is_err(), "{arguments}");
    }
}

#[test]
fn par_09_what_is_odd_on_a_page_decides_over_nothing_else() {
    let schema = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#;
    let page = |tools: &str, next: &str| {
        let mut names = Vec::new();
        let page = format!(r#"{{"tools":{tools},"nextCursor":{next}}}"#);
        let next = read_page(&page, usize::MAX, |name, arguments| {
            names.push((name.to_owned(), arguments.map(|it| it.len())));
        });
        next.map(|next| (next, names)).ok()
    };
    let tools = format!(
        r#"[7,null,{{}},{{"name":7}},{{"name":"x","description":7,"inputSchema":{schema}}},{{"name":"y"}}]"#
    );
    let found = vec![("x".to_owned(), Ok(1)), ("y".to_owned(), Ok(0))];
    assert_eq!(page(&tools, r#""2""#), Some((Some("2".to_owned()), found.clone())));
    for no_cursor in ["null", "7", "{}"] {
        assert_eq!(page(&tools, no_cursor), Some((None, found.clone())), "{no_cursor}");
    }
    assert_eq!(page("null", "null"), Some((None, Vec::new())));
    for no_list in ["7", "{}", r#""x""#] {
        assert_eq!(page(no_list, "null"), None, "{no_list}");
    }
}
