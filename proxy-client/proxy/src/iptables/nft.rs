//! Rules as `nft -f` reads them: a table of our own per family, replaced in one transaction. (One table of the family `inet` would
//! need every rule about an address twice.)

use std::fmt::Write;

use super::{Condition, Family, Rule, Rules, Verdict};

/// What is not to be looked at further, where connections of others to this host come by, and where those of this host begin.
const BEGINNINGS: &str = "tcp flags & (fin | syn | rst | ack) != syn return";
const FORWARDED: &str = "fib daddr type != local return";

/// The text that puts `rules` into force instead of what is there.
pub(super) fn rules(rules: &Rules, families: &[Family]) -> String {
    let mut text = "# nft -f\n".to_owned();
    for family in families {
        let table = table(rules, *family);
        text += &gone(&table);
        let _ = writeln!(text, "table {table} {{");
        chain(
            &mut text,
            *family,
            "inbound",
            "prerouting",
            &[BEGINNINGS, FORWARDED],
            &rules.inbound(),
        );
        chain(
            &mut text,
            *family,
            "outbound",
            "output",
            &[BEGINNINGS],
            &rules.outbound(*family),
        );
        text += "}\n";
    }
    text
}

/// The text that removes what is there of `rules`, and nothing else.
pub(super) fn removal(rules: &Rules, families: &[Family]) -> String {
    families
        .iter()
        .map(|family| gone(&table(rules, *family)))
        .collect()
}

/// A table is made first, so that removing it cannot fail.
fn gone(table: &str) -> String {
    format!("table {table}\ndelete table {table}\n")
}

fn table(rules: &Rules, family: Family) -> String {
    let family = keyword(family);
    match rules.offset {
        0 => format!("{family} mixer"),
        offset => format!("{family} mixer_{offset}"),
    }
}

fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn chain(
    text: &mut String,
    family: Family,
    name: &str,
    hook: &str,
    first: &[&str],
    rules: &[Rule],
) {
    let _ = writeln!(
        text,
        "\tchain {name} {{\n\t\ttype nat hook {hook} priority -100; policy accept;\n\t\tmeta l4proto != tcp return"
    );
    for line in first {
        let _ = writeln!(text, "\t\t{line}");
    }
    for rule in rules {
        let _ = writeln!(text, "\t\t{}", line(rule, keyword(family)));
    }
    text.push_str("\t}\n");
}

fn line(rule: &Rule, family: &str) -> String {
    let conditions = rule.conditions.iter().map(|condition| match condition {
        Condition::Port(port) => format!("tcp dport {port} "),
        Condition::From(network) => format!("{family} saddr {network} "),
        Condition::To(network) => format!("{family} daddr {network} "),
        Condition::NotTo(network) => format!("{family} daddr != {network} "),
        Condition::OverLoopback => "oifname \"lo\" ".to_owned(),
        Condition::OfUser(id) => format!("meta skuid {id} "),
        Condition::OfGroup(id) => format!("meta skgid {id} "),
    });
    let verdict = match rule.verdict {
        Verdict::Pass => "return".to_owned(),
        // nft asks for the protocol beside the port, whatever was said before.
        Verdict::Redirect(port) => format!("meta l4proto tcp redirect to :{port}"),
    };
    conditions.chain([verdict]).collect()
}
