//! Certificates as PEM text (RFC 7468): lines of 64 characters between two markers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One certificate.
pub fn certificate(der: &[u8]) -> String {
    section("CERTIFICATE", der)
}

/// One private key, in PKCS#8.
pub fn private_key(pkcs8: &[u8]) -> String {
    section("PRIVATE KEY", pkcs8)
}

fn section(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 64);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
