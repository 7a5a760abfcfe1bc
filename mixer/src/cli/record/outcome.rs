//! What became of a recorded request.

use super::Record;

/// Whether it passed, as far as the record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Outcome {
    /// Policies let it pass; what the application said is another matter.
    Allowed,
    /// Policies denied it.
    Denied,
    /// A limit refused it.
    OverLimit,
    /// Something failed before it was decided.
    Failed,
    /// The record does not say.
    Unknown,
}

impl Record {
    /// By Mixer's own field, else by Envoy's flags and details, else by the status.
    pub(in crate::cli) fn outcome(&self) -> Outcome {
        let code = self.text(&["response_code", "response.code", "status"]);
        let code = code.flatten().unwrap_or_default();
        match self
            .text(&["decision", "check.decision", "check_decision"])
            .flatten()
            .as_deref()
        {
            Some("allow") => return Outcome::Allowed,
            Some("deny") if code == "429" => return Outcome::OverLimit,
            Some("deny") => return Outcome::Denied,
            Some(_) => return Outcome::Failed,
            // Who asks nobody passes it on; the status is somebody else's.
            None if self.is_own() => return Outcome::Allowed,
            None => {}
        }
        let flags = self.text(&["response_flags", "response.flags"]);
        let details = self.text(&["response_code_details"]);
        if flags.is_some() || details.is_some() {
            let flags = flags.flatten().unwrap_or_default();
            let details = details.flatten().unwrap_or_default();
            let has = |flag: &str| flags.split(',').any(|one| one == flag);
            if has("UAEX")
                || details.starts_with("ext_authz_denied")
                || details.contains("rbac_access_denied")
            {
                return Outcome::Denied;
            }
            if has("RL") || details.contains("rate_limited") {
                return Outcome::OverLimit;
            }
            if details.starts_with("ext_authz_error") || has("RLSE") {
                return Outcome::Failed;
            }
            return match code.as_str() {
                "" | "0" => Outcome::Unknown,
                _ => Outcome::Allowed,
            };
        }
        match code.as_str() {
            "" | "0" => Outcome::Unknown,
            "401" | "403" => Outcome::Denied,
            "429" => Outcome::OverLimit,
            _ => Outcome::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_knows_best_is_believed() {
        for (line, outcome) in [
            (
                r#"{"decision":"allow","response_code":403}"#,
                Outcome::Allowed,
            ),
            (
                r#"{"decision":"deny","response_code":403}"#,
                Outcome::Denied,
            ),
            (
                r#"{"decision":"deny","response_code":429}"#,
                Outcome::OverLimit,
            ),
            (
                r#"{"decision":"unreachable","response_code":503}"#,
                Outcome::Failed,
            ),
            (
                r#"{"reporter":"source","destination_service":"a.b","response_code":403}"#,
                Outcome::Allowed,
            ),
            (r#"{"check":{"decision":"deny"}}"#, Outcome::Denied),
            (
                r#"{"response_code":403,"response_flags":"UAEX"}"#,
                Outcome::Denied,
            ),
            (
                r#"{"response_code":403,"response_flags":"-"}"#,
                Outcome::Allowed,
            ),
            (
                r#"{"response_code":"403","response_flags":"-","response_code_details":"rbac_access_denied_matched_policy[none]"}"#,
                Outcome::Denied,
            ),
            (
                r#"{"response_code":429,"response_flags":"RL"}"#,
                Outcome::OverLimit,
            ),
            (r#"{"response_code":403}"#, Outcome::Denied),
            (r#"{"status":200}"#, Outcome::Allowed),
            (
                r#"{"response_code":0,"response_flags":"DC"}"#,
                Outcome::Unknown,
            ),
            ("{}", Outcome::Unknown),
        ] {
            assert_eq!(Record::read(line).unwrap().outcome(), outcome, "{line}");
        }
    }
}
