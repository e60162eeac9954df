//! Variables that a tool should have filled in.

/// The cure for a text that looks like a variable.
pub const UNFILLED: &str = "an unfilled variable? write its value";

/// Whether a text looks like a variable: `$X`, `${X}`, `$(X)`, `{{ x }}`, `<X>`, `%X%`, `@X@` or `__X__`.
pub fn is_variable(text: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte))
    };
    let within = |before, after| text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(word);
    ["${", "$(", "{{", "<%"].iter().any(|opening| text.contains(opening))
        || text.strip_prefix('$').is_some_and(word)
        || [("<", ">"), ("%", "%"), ("@", "@"), ("__", "__")].into_iter().any(|(before, after)| within(before, after))
}
