//! The JSON Schema of a job file, for editors that complete and check while one types.

/// The schema, as JSON text (draft 2020-12). It describes every key; the host itself checks
/// more than a schema can say.
pub fn json_schema() -> &'static str {
    include_str!("schema.json")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use serde_json::Value;

    use super::super::document;
    use super::super::keys::{
        CALENDAR, DAYS, DEFAULTS, DIR, FILE, GRANTS, GROUP, HTTP, JOB, Keys, LIMITS, RETRY,
        SOCKETS, STATE, TRIGGER,
    };
    use super::super::manifest::{Manifest, Options};
    use super::super::{
        Failure, HttpGrant, Limits, OnRemoval, Policies, RetryPolicy, ScheduleGrant, SourceText,
        StateQuota,
    };
    use super::json_schema;

    fn schema() -> Value {
        serde_json::from_str(json_schema()).unwrap()
    }

    /// The keys of a definition, whether it is an object or a choice of some.
    fn keys(definition: &Value) -> BTreeSet<&str> {
        let own = definition["properties"].as_object().into_iter().flatten();
        let choices = definition["oneOf"].as_array().into_iter().flatten();
        own.map(|(key, _)| key.as_str())
            .chain(choices.flat_map(keys))
            .collect()
    }

    #[test]
    fn the_schema_and_the_decoder_know_the_same_keys() {
        let schema = schema();
        let pairs: [(&str, &Keys); 14] = [
            ("file", &FILE),
            ("defaults", &DEFAULTS),
            ("job", &JOB),
            ("trigger", &TRIGGER),
            ("calendar", &CALENDAR),
            ("days", &DAYS),
            ("limits", &LIMITS),
            ("grants", &GRANTS),
            ("dir", &DIR),
            ("http", &HTTP),
            ("sockets", &SOCKETS),
            ("state", &STATE),
            ("retry", &RETRY),
            ("group", &GROUP),
        ];
        for (name, table) in pairs {
            let known: BTreeSet<&str> = table.known.iter().copied().collect();
            assert_eq!(keys(&schema["$defs"][name]), known, "{name}");
        }
    }

    #[test]
    fn every_key_of_the_tables_is_read_and_no_other() {
        // Each table's keys in an object of its kind: none may be called unknown. The values are
        // wrong on purpose; what is said about them is not looked at.
        let cases: [(&Keys, &str); 14] = [
            (&FILE, r#"{"jobs": [], KEYS}"#),
            (&DEFAULTS, r#"{"jobs": [], "defaults": {KEYS}}"#),
            (&JOB, "[{KEYS}]"),
            (&TRIGGER, r#"[{"trigger": {KEYS}}]"#),
            (&DAYS, r#"{"jobs": [], "calendars": {"a": {KEYS}}}"#),
            (&CALENDAR, r#"[{"trigger": {"calendar": {KEYS}}}]"#),
            (&LIMITS, r#"[{"limits": {KEYS}}]"#),
            (&GRANTS, r#"[{"grants": {KEYS}}]"#),
            (&DIR, r#"[{"grants": {"dirs": [{KEYS}]}}]"#),
            (&HTTP, r#"[{"grants": {"http": {KEYS}}}]"#),
            (&SOCKETS, r#"[{"grants": {"sockets": {KEYS}}}]"#),
            (&STATE, r#"[{"grants": {"state": {KEYS}}}]"#),
            (&RETRY, r#"[{"retry": {KEYS}}]"#),
            (&GROUP, r#"{"jobs": [], "groups": {"a": {KEYS}}}"#),
        ];
        for (table, form) in cases {
            let keys = table.known.iter().chain(&["zzzzzz"]);
            let keys: Vec<_> = keys.map(|key| format!("\"{key}\": null")).collect();
            let text = form.replace("KEYS", &keys.join(", "));
            let source = Arc::new(SourceText::new("jobs.json", text));
            let problems = match Manifest::parse(source, &Options::default()) {
                Ok(manifest) => manifest.problems().into_iter().cloned().collect(),
                Err(problems) => problems,
            };
            let unknown: Vec<_> = problems
                .iter()
                .filter(|problem| problem.message.starts_with("unknown key"))
                .map(|problem| problem.message.clone())
                .collect();
            assert_eq!(unknown.len(), 1, "{}: {unknown:?}", table.of);
            assert!(unknown[0].contains("zzzzzz"));
        }
    }

    #[test]
    fn every_key_and_definition_is_described_and_every_reference_leads_somewhere() {
        fn walk(value: &Value, path: &str, root: &Value) {
            if let Some(target) = value["$ref"].as_str() {
                let pointer = target.trim_start_matches('#');
                assert!(root.pointer(pointer).is_some(), "{path}: {target}");
            }
            for holder in ["properties", "$defs"] {
                for (key, item) in value[holder].as_object().into_iter().flatten() {
                    let described = item["description"].is_string() || item["$ref"].is_string();
                    assert!(described, "{path}/{holder}/{key} has no description");
                }
            }
            match value {
                Value::Object(members) => {
                    for (key, member) in members {
                        walk(member, &format!("{path}/{key}"), root);
                    }
                }
                Value::Array(elements) => elements.iter().for_each(|it| walk(it, path, root)),
                _ => {}
            }
        }
        let schema = schema();
        walk(&schema, "#", &schema);
    }

    #[test]
    fn the_defaults_it_states_are_those_of_the_host() {
        let schema = schema();
        let stated = schema["$defs"]["limits"]["properties"].as_object().unwrap();
        let text = |key: &str| stated[key]["default"].as_str().unwrap();
        let limits = Limits::DEFAULT;
        assert_eq!(
            crate::units::parse_duration(text("timeout")).ok(),
            Some(limits.timeout)
        );
        assert_eq!(
            crate::units::parse_count(text("fuel")).ok(),
            Some(limits.fuel)
        );
        assert_eq!(
            crate::units::parse_size(text("memory")).ok(),
            Some(limits.memory)
        );
        assert_eq!(
            crate::units::parse_size(text("output")).ok(),
            Some(limits.output)
        );
        assert_eq!(
            crate::units::parse_size(text("log_rate")).ok(),
            Some(limits.log_rate)
        );
        assert_eq!(stated["handles"]["default"], limits.handles);
        let defaults = Policies::default();
        let stated = &schema["$defs"];
        assert_eq!(stated["misfire_grace_time"]["default"], "1h");
        assert_eq!(defaults.misfire_grace_time, Some(Policies::GRACE));
        assert_eq!(Policies::GRACE.as_secs(), 3600);
        let word = |key: &str| stated[key]["default"].as_str().unwrap().to_owned();
        assert_eq!(word("coalesce"), defaults.coalesce.to_string());
        assert_eq!(word("overlap"), defaults.overlap.to_string());
        assert_eq!(word("on_lost"), defaults.on_lost.to_string());
        assert_eq!(stated["priority"]["default"], defaults.priority);
        assert_eq!(stated["priority"]["maximum"], Policies::HIGHEST_PRIORITY);
        let retry = &stated["retry"]["properties"];
        let length = |key: &str| {
            crate::units::parse_duration(retry[key]["default"].as_str().unwrap()).unwrap()
        };
        assert_eq!(retry["attempts"]["default"], defaults.retry.attempts);
        assert_eq!(retry["attempts"]["maximum"], RetryPolicy::MOST);
        assert_eq!(length("backoff"), defaults.retry.backoff);
        assert_eq!(length("max_backoff"), defaults.retry.max_backoff);
        assert_eq!(retry["factor"]["default"], defaults.retry.factor);
        assert_eq!(retry["jitter"]["default"], defaults.retry.jitter);
        let words = retry["on"]["items"]["enum"].as_array().unwrap();
        assert_eq!(*words, Failure::ALL.map(Failure::as_str).as_slice());
        let http = &schema["$defs"]["http"]["properties"];
        assert_eq!(http["requests"]["default"], HttpGrant::REQUESTS);
        assert_eq!(http["timeout"]["default"], "30s");
        assert_eq!(HttpGrant::TIMEOUT.as_secs(), 30);
        assert_eq!(http["body"]["default"], "16MiB");
        assert_eq!(HttpGrant::BODY, 16 << 20);
        let state = &schema["$defs"]["state"]["properties"];
        assert_eq!(state["keys"]["default"], StateQuota::DEFAULT.keys);
        assert_eq!(state["keys"]["maximum"], StateQuota::MAXIMUM.keys);
        assert_eq!(state["size"]["default"], "1MiB");
        assert_eq!(StateQuota::DEFAULT.size, 1 << 20);
        let schedule = &schema["$defs"]["schedule"]["properties"];
        assert_eq!(schedule["max_jobs"]["default"], ScheduleGrant::MAX_JOBS);
        assert_eq!(schedule["max_jobs"]["maximum"], ScheduleGrant::MOST_JOBS);
        let on_removal = OnRemoval::default().as_str();
        assert_eq!(schedule["on_removal"]["default"], on_removal);
    }

    #[test]
    fn the_examples_use_only_keys_of_the_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/jobs.json");
        let text = std::fs::read_to_string(path).unwrap();
        let source = Arc::new(SourceText::new("examples/jobs.json", text));
        let document = document::parse(&source).unwrap();
        let mut json = String::new();
        document.root.write_json(source.text(), &mut json);
        let file: Value = serde_json::from_str(&json).unwrap();
        let schema = schema();
        let within = |object: &Value, definition: &str| {
            let known = keys(&schema["$defs"][definition]);
            for key in object.as_object().into_iter().flatten().map(|(key, _)| key) {
                assert!(
                    known.contains(key.as_str()),
                    "{key} is no key of {definition}"
                );
            }
        };
        within(&file, "file");
        within(&file["defaults"], "defaults");
        let jobs = file["jobs"].as_array().unwrap();
        assert!(!jobs.is_empty());
        for job in jobs {
            within(job, "job");
            within(&job["trigger"], "trigger");
            within(&job["limits"], "limits");
            within(&job["grants"], "grants");
        }
    }
}
