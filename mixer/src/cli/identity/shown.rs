//! Certificates for people and for programs.

use std::fmt;
use std::time::SystemTime;

use mixer_identity::{Described, Timestamp};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

/// A chain, and whether it holds.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    certificates: Vec<Certificate>,
    /// Whether it verifies against a bundle, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifies: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    untrusted: Option<String>,
}

#[derive(Debug, Serialize)]
struct Certificate {
    kind: &'static str,
    names: Vec<String>,
    subject: String,
    serial: String,
    not_before: String,
    not_after: String,
    /// How long it is valid still.
    left: String,
    /// The rule it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl Shown {
    pub(super) fn of(
        chain: &[CertificateDer<'_>],
        verified: Option<Result<(), String>>,
        now: SystemTime,
    ) -> Self {
        let certificates = chain.iter().map(|der| Certificate::of(der, now)).collect();
        Self {
            certificates,
            verifies: verified.as_ref().map(Result::is_ok),
            untrusted: verified.and_then(Result::err),
        }
    }

    /// Whether no rule is broken, and it verifies if that was asked.
    pub(super) fn is_good(&self) -> bool {
        let faultless = |certificate: &Certificate| certificate.fault.is_none();
        self.verifies != Some(false) && self.certificates.iter().all(faultless)
    }
}

impl Certificate {
    fn of(der: &CertificateDer<'_>, now: SystemTime) -> Self {
        let described = match Described::of(der, now) {
            Ok(described) => described,
            Err(fault) => {
                return Self {
                    kind: "unreadable",
                    names: Vec::new(),
                    subject: String::new(),
                    serial: String::new(),
                    not_before: String::new(),
                    not_after: String::new(),
                    left: String::new(),
                    fault: Some(fault.to_string()),
                };
            }
        };
        let summary = described.summary;
        let validity = summary.validity;
        Self {
            kind: if described.is_authority {
                "authority"
            } else {
                "leaf"
            },
            names: summary.uris,
            subject: described.subject,
            serial: summary.serial,
            not_before: Timestamp(validity.not_before).to_string(),
            not_after: Timestamp(validity.not_after).to_string(),
            left: left(validity.not_after, now),
            fault: described.fault.map(|fault| fault.to_string()),
        }
    }
}

/// In its two largest units.
fn left(end: SystemTime, now: SystemTime) -> String {
    let Ok(left) = end.duration_since(now) else {
        return "none".to_owned();
    };
    let minutes = left.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match days {
        0 if hours == 0 => format!("{minutes} min"),
        0 => format!("{hours} h {minutes} min"),
        days => format!("{days} d {hours} h"),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for certificate in &self.certificates {
            write!(f, "{certificate}")?;
        }
        match (&self.untrusted, self.verifies) {
            (Some(why), _) => writeln!(f, "does not verify: {why}"),
            (None, Some(_)) => writeln!(f, "verifies against the bundle"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.names.as_slice() {
            [] => self.subject.clone(),
            names => names.join(", "),
        };
        writeln!(f, "{} {name}", self.kind)?;
        if !self.serial.is_empty() {
            writeln!(f, "  serial  {}", self.serial)?;
            let (begin, end) = (&self.not_before, &self.not_after);
            writeln!(f, "  valid   {begin} to {end}, {} left", self.left)?;
        }
        match &self.fault {
            Some(fault) => writeln!(f, "  WRONG   {fault}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_is_told_in_two_units() {
        let now = SystemTime::UNIX_EPOCH;
        let shown = |seconds| left(now + Duration::from_secs(seconds), now);
        assert_eq!(shown(59), "0 min");
        assert_eq!(shown(86_399), "23 h 59 min");
        assert_eq!(shown(90_000), "1 d 1 h");
        assert_eq!(left(now, now + Duration::from_secs(1)), "none");
    }
}
