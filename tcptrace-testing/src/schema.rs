//! Validates lines of JSON against the checked-in schema. For any test that produces events.

use jsonschema::Validator;
use serde_json::Value;

/// The schema as users get it.
pub const CHECKED_IN: &str = include_str!("../../tcptrace/schema/events.schema.json");

/// A validator of one line.
pub fn validator() -> Validator {
    let schema: Value = serde_json::from_str(CHECKED_IN).expect("the schema is JSON");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is a JSON Schema")
}

/// Panics, saying which line and why, unless every line of `text` is an event by the schema.
pub fn assert_valid(text: &str) {
    let validator = validator();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}\nis not as the schema says:\n{}", errors.join("\n"));
    }
}
