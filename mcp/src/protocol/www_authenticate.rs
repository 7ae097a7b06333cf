//! `WWW-Authenticate` (RFC 9110, 11.6.1), read leniently (SEC-04).

/// What a server wants before it answers: one challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub(super) scheme: String,
    /// A value without a name, which some schemes have in place of parameters, has an empty one.
    pub(super) params: Vec<(String, String)>,
}

impl Challenge {
    /// The scheme, such as `Bearer`. Compare without regard to case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// A parameter's value by its name in lower case, such as `realm`, `scope`, `error`,
    /// `error_description` or `resource_metadata`.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// The challenges of one header value. What cannot be read is left out.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = take(rest, is_token);
        if name.is_empty() {
            // Not a name: as far as the next comma there is nothing to read.
            match rest.split_once(',') {
                Some((_, after)) => rest = after,
                None => return found,
            }
            continue;
        }
        let spaced = after.trim_start_matches([' ', '\t']);
        match (spaced.strip_prefix('='), found.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
                challenge.params.push((name.to_ascii_lowercase(), value));
                rest = after;
            }
            // A parameter of nothing.
            (Some(value), None) => rest = value_of(value.trim_start_matches([' ', '\t'])).1,
            (None, _) => {
                let mut challenge = Challenge { scheme: name.to_owned(), params: Vec::new() };
                rest = after;
                let (word, after) = take(spaced, |c| is_token(c) || matches!(c, '/' | '='));
                let bare = after.trim_start_matches([' ', '\t']);
                let inner = word.trim_end_matches('=');
                if !word.is_empty() && !inner.contains('=') && (bare.is_empty() || bare.starts_with(',')) {
                    challenge.params.push((String::new(), word.to_owned()));
                    rest = after;
                }
                found.push(challenge);
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = take(text, |c| !matches!(c, ',' | ' ' | '\t'));
        return (token.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn take(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests;
