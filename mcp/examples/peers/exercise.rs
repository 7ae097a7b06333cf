//! What is claimed of every server: each typed method does what it should.

use super::{Report, SLOW, Seen};
use futures::future::{Either, join, select};
use serde_json::{Value, json};
use shared_fate_mcp::types::{CallToolResult, CompletionTarget, TaskStatus};
use shared_fate_mcp::{CallOptions, Change, Client, Error, Interest};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A tool's result, where it did not fail.
fn good(result: Result<CallToolResult, Error>) -> Result<String, String> {
    match result {
        Ok(result) if result.is_error => Err(format!("the tool failed: {}", result.text())),
        Ok(result) => Ok(result.text()),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn says(text: Result<String, String>, wanted: &str) -> Result<(), String> {
    match text? {
        text if text.contains(wanted) => Ok(()),
        text => Err(format!("no {wanted:?} in {text:?}")),
    }
}

/// Every typed method that the server declares.
pub(super) async fn exercise(client: &Client, seen: &Seen, report: &mut Report) {
    let declared = serde_json::to_value(&client.server().capabilities).expect("JSON");
    let modern = client.revision().is_stateless();
    let has = |pointer: &str| declared.pointer(pointer).is_some_and(|it| *it != Value::Bool(false));
    report.note("ping", client.ping().await);

    let tools = report.note("list_tools", client.list_tools().await).unwrap_or_default();
    report.note("list_tools_page", client.list_tools_page(None).await);
    let tool = |name: &str| tools.iter().any(|tool| tool.name == name);
    let echo = good(client.call_tool("echo", json!({ "message": "here" })).await);
    report.note("call_tool", says(echo, "here"));

    let counted = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&counted);
    let options = CallOptions::default().on_progress(move |_| {
        counting.fetch_add(1, Ordering::SeqCst);
    });
    let slow = client.with_options(options);
    let result = good(slow.call_tool(SLOW, json!({ "duration": 0.6, "steps": 3 })).await);
    let reports = counted.load(Ordering::SeqCst);
    report.note(
        "progress",
        result.and_then(|_| if reports > 0 { Ok(()) } else { Err("no report".to_owned()) }),
    );

    if has("/resources") {
        let resources = report.note("list_resources", client.list_resources().await).unwrap_or_default();
        report.note("list_resources_page", client.list_resources_page(None).await);
        let templates = client.list_resource_templates().await;
        let templates = report.note("list_resource_templates", templates).unwrap_or_default();
        report.note("list_resource_templates_page", client.list_resource_templates_page(None).await);
        if let Some(resource) = resources.first() {
            report.note("read_resource", client.read_resource(&resource.uri).await);
            changes(client, seen, &resource.uri, has("/resources/subscribe"), tool("touch"), report).await;
        }
        if templates.iter().any(|it| it.uri_template.starts_with("demo://resource/dynamic/text/")) {
            let text = client.read_resource("demo://resource/dynamic/text/1").await;
            report.note("read_resource by template", text);
        }
    } else {
        report.absent.push("resources");
    }

    if has("/prompts") {
        report.note("list_prompts", client.list_prompts().await);
        report.note("list_prompts_page", client.list_prompts_page(None).await);
        report.note("get_prompt", client.get_prompt("simple-prompt", ()).await);
        let arguments = json!({ "department": "Engineering", "name": "Alice" });
        report.note("get_prompt with arguments", client.get_prompt("completable-prompt", arguments).await);
    } else {
        report.absent.push("prompts");
    }
    if has("/completions") {
        let target = CompletionTarget::Prompt { name: "completable-prompt".to_owned() };
        let found = client.complete(&target, "department", "Eng", &BTreeMap::new()).await;
        let found = found.map(|it| it.completion.values.join(" ")).map_err(|error| format!("{error:#}"));
        report.note("complete", says(found, "Engineering"));
    } else {
        report.absent.push("completions");
    }
    match has("/logging") && !modern {
        true => drop(report.note("set_logging_level", client.set_logging_level("warning").await)),
        false => report.absent.push("logging/setLevel"),
    }

    if tool("trigger-sampling-request") {
        let result = good(client.call_tool("trigger-sampling-request", json!({ "prompt": "?" })).await);
        report.note("sampling handler", says(result, "forty-two"));
    } else {
        report.absent.push("sampling");
    }
    if tool("trigger-elicitation-request") {
        let result = good(client.call_tool("trigger-elicitation-request", json!({})).await);
        report.note("elicitation handler, form", says(result, "Ada"));
    } else {
        report.absent.push("elicitation by form");
    }
    if tool("trigger-url-elicitation") {
        let url = json!({ "url": "http://127.0.0.1/consent" });
        let result = good(client.call_tool("trigger-url-elicitation", url).await);
        report.note("elicitation handler, URL", says(result, "decline"));
    } else {
        report.absent.push("elicitation by URL");
    }
    if tool("get-roots-list") {
        let result = good(client.call_tool("get-roots-list", json!({})).await);
        report.note("roots", says(result, "file:///srv/project"));
    } else {
        report.absent.push("roots");
    }
    if !modern {
        report.note("set_roots", client.set_roots([]).await);
    }
    match has("/tasks") && tool("simulate-research-query") {
        true => tasks(client, has("/tasks/list"), has("/tasks/cancel"), report).await,
        false => report.absent.push("tasks"),
    }
}

/// `resources/subscribe`, or `subscriptions/listen` where that is in its place.
async fn changes(client: &Client, seen: &Seen, uri: &str, subscribe: bool, touch: bool, report: &mut Report) {
    const WAIT: Duration = Duration::from_secs(5);
    if !client.revision().is_stateless() {
        if subscribe {
            report.note("subscribe_resource", client.subscribe_resource(uri).await);
            if touch {
                report.note("touch", good(client.call_tool("touch", json!({ "uri": uri })).await));
                let start = Instant::now();
                while seen.updates.load(Ordering::SeqCst) == 0 && start.elapsed() < WAIT {
                    smol::Timer::after(Duration::from_millis(10)).await;
                }
                report.claim("resource updated", seen.updates.load(Ordering::SeqCst) > 0, "no news");
            }
            report.note("unsubscribe_resource", client.unsubscribe_resource(uri).await);
        } else {
            report.absent.push("resources/subscribe");
        }
        return;
    }
    let mut interest = Interest::default();
    interest.tools_list_changed = true;
    interest.resource_subscriptions = vec![uri.to_owned()];
    let subscription = match client.listen(&interest).await {
        Err(error) if error.rpc().is_some_and(|rpc| rpc.code() == -32601) => {
            return report.absent.push("subscriptions/listen");
        }
        result => report.note("listen", result),
    };
    let (Some(mut subscription), true) = (subscription, touch) else { return };
    let granted = subscription.acknowledged().text().contains(uri);
    if !granted {
        return report.absent.push("resource subscriptions");
    }
    let news = async {
        let mut next = pin!(futures::StreamExt::next(&mut subscription));
        match select(&mut next, pin!(smol::Timer::after(WAIT))).await {
            Either::Left((Some(Ok(Change::Resource { .. })), _)) => Ok(()),
            Either::Left((other, _)) => Err(format!("{other:?}")),
            Either::Right(_) => Err("no news".to_owned()),
        }
    };
    let (touched, news) = join(client.call_tool("touch", json!({ "uri": uri })), news).await;
    report.note("touch", good(touched));
    report.note("resource updated", news);
}

async fn tasks(client: &Client, list: bool, cancel: bool, report: &mut Report) {
    const NAME: &str = "simulate-research-query";
    let topic = json!({ "topic": "shared fate" });
    let ttl = Some(Duration::from_secs(60));
    let Some(task) = report.note("call_tool_as_task", client.call_tool_as_task(NAME, &topic, ttl).await)
    else {
        return;
    };
    report.note("get_task", client.get_task(&task.id).await);
    if list {
        let tasks = client.list_tasks().await;
        let found = tasks.as_ref().is_ok_and(|tasks| tasks.iter().any(|it| it.id == task.id));
        report.claim("list_tasks", found, format!("{tasks:?}"));
    }
    if let Some(done) = report.note("wait_task", client.wait_task(&task.id, Duration::from_secs(30)).await) {
        report.claim("task completed", done.status == TaskStatus::Completed, format!("{done:?}"));
        let result = client.task_result(&task.id).await.and_then(|it| Ok(it.parse::<CallToolResult>()?));
        report.note("task_result", says(good(result), "shared fate"));
    }
    if cancel {
        if let Ok(task) = client.call_tool_as_task(NAME, &topic, ttl).await {
            let cancelled = client.cancel_task(&task.id).await;
            let done = cancelled.as_ref().is_ok_and(|it| it.status == TaskStatus::Cancelled);
            report.claim("cancel_task", done, format!("{cancelled:?}"));
        }
    }
}
