//! The OpenAPI document, made of the table of routes that also serves them.

use serde_json::{Map, Value, json};

use super::access::Role;
use super::problem;
use super::routes::{Route, Sent, all};

/// The document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in all() {
        let path = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(path) = path {
            path.insert(route.method.as_str().to_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quarterjack",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running host can be asked and told.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": { "type": "string" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "detail": { "type": "string" },
                    "problems": { "type": "array", "items": { "type": "object" } },
                },
            } },
            "responses": { "Problem": {
                "description": "Why it was not done.",
                "content": { problem::MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.names().map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let in_query = route.query.iter().map(|(name, kind, about)| {
        json!({ "name": name, "in": "query", "description": about, "schema": { "type": kind } })
    });
    let header =
        |name: &str| json!({ "name": name, "in": "header", "schema": { "type": "string" } });
    let mut parameters: Vec<Value> = in_path.chain(in_query).collect();
    if route.once {
        parameters.push(header("Idempotency-Key"));
    }
    if route.conditional {
        parameters.extend([header("If-Match"), header("If-None-Match")]);
    }
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    let content: Map<String, Value> = (route.media_types.iter())
        .map(|name| ((*name).to_owned(), json!({})))
        .collect();
    let told = json!({ "description": "It is so.", "content": content });
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "description": match route.role {
            Some(role) => format!("For the role {} and those above it.", role.as_str()),
            None => "For everybody.".to_owned(),
        },
        "parameters": parameters,
        "responses": { "200": told, "4XX": problem, "5XX": problem },
        "security": match route.role {
            // Where there are no tokens, looking needs none.
            Some(Role::Read) => json!([{}, { "token": [] }]),
            Some(_) => json!([{ "token": [] }]),
            None => json!([]),
        },
    });
    let body = match route.sent {
        Sent::Nothing => None,
        Sent::Json { required } => Some((required, json!({ "type": "object" }))),
        Sent::Definition => Some((true, json!({ "type": "object" }))),
    };
    if let (Value::Object(operation), Some((required, schema))) = (&mut operation, body) {
        let content = json!({ "application/json": { "schema": schema } });
        let body = json!({ "required": required, "content": content });
        operation.insert("requestBody".to_owned(), body);
        if matches!(route.sent, Sent::Definition)
            && let Some(Value::Object(responses)) = operation.get_mut("responses")
        {
            responses.insert("201".to_owned(), told);
        }
    }
    operation
}
