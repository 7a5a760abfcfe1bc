//! The rules, as they are written.

use super::restore::{Present, removal, rules};
use super::*;

const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn chosen() -> Rules {
    let rules = Rules {
        include_inbound: "8080,22".parse().unwrap(),
        exclude_inbound: vec![9_100],
        exclude_outbound: vec![25, 53],
        include_ranges: "10.0.0.0/8,2001:db8::/32".parse().unwrap(),
        exclude_ranges: vec!["10.9.0.0/16".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..Rules::default()
    };
    rules.moved(100).unwrap()
}

#[test]
fn the_set_that_people_know_is_written_for_iptables_and_nft() {
    let rules = Rules::default();
    let golden = include_str!("tests/default.iptables");
    assert_eq!(text(&rules, Tool::Iptables, &BOTH), golden);
    let golden = include_str!("tests/default.nft");
    assert_eq!(text(&rules, Tool::Nft, &BOTH), golden);
}

#[test]
fn what_is_chosen_and_an_offset_are_written_for_iptables_and_nft() {
    let golden = include_str!("tests/chosen.iptables");
    assert_eq!(text(&chosen(), Tool::Iptables, &BOTH), golden);
    let golden = include_str!("tests/chosen.nft");
    assert_eq!(text(&chosen(), Tool::Nft, &BOTH), golden);
}

#[test]
fn exactly_the_jumps_that_are_there_are_taken_away() {
    let saved = "*nat\n\
        :PREROUTING ACCEPT [0:0]\n\
        :DOCKER - [0:0]\n\
        :MIXER_OUTPUT - [0:0]\n\
        :MIXER_100_OUTPUT - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
        -A PREROUTING -p tcp -m comment --comment \"an older one\" -j MIXER_INBOUND\n\
        -A OUTPUT -p tcp -j MIXER_OUTPUT\n\
        -A OUTPUT -p tcp -j MIXER_100_OUTPUT\n\
        -A MIXER_OUTPUT -p tcp -j REDIRECT --to-ports 15001\n\
        COMMIT\n";
    let present = Present::read(saved, &Rules::default());
    let expected = "# iptables-restore --noflush\n\
        *nat\n\
        :MIXER_INBOUND - [0:0]\n\
        :MIXER_OUTPUT - [0:0]\n\
        -D PREROUTING -p tcp -m comment --comment \"an older one\" -j MIXER_INBOUND\n\
        -D OUTPUT -p tcp -j MIXER_OUTPUT\n\
        -X MIXER_INBOUND\n\
        -X MIXER_OUTPUT\n\
        COMMIT\n";
    assert_eq!(removal(&Rules::default(), Family::V4, &present), expected);
    let applied = rules(&Rules::default(), Family::V4, &present);
    assert_eq!(
        applied.matches("-j MIXER_OUTPUT").count(),
        2,
        "one jump goes, one comes: {applied}"
    );
    assert!(Present::read("*nat\nCOMMIT\n", &Rules::default()).is_nothing());
    assert!(!present.is_nothing());
}

#[test]
fn an_offset_beyond_the_last_port_is_none() {
    assert_eq!(Rules::default().moved(50_600), None);
    let moved = Rules::default().moved(100).unwrap();
    assert_eq!(
        (
            moved.uid,
            moved.gid,
            moved.inbound,
            moved.outbound,
            moved.admin
        ),
        (1_437, 1_437, 15_106, 15_101, 15_120)
    );
}

#[test]
fn ranges_and_lists_are_read_or_refused_with_what_is_wrong() {
    let network = |text: &str| text.parse::<Network>().map(|network| network.to_string());
    assert_eq!(network("10.0.0.0/8").unwrap(), "10.0.0.0/8");
    assert_eq!(network("10.0.0.1").unwrap(), "10.0.0.1/32");
    assert_eq!(network("2001:db8::/32").unwrap(), "2001:db8::/32");
    for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "", "*"] {
        assert!(network(wrong).unwrap_err().starts_with(wrong), "{wrong}");
    }
    assert_eq!("*".parse::<Only<u16>>().unwrap(), Only::All);
    assert_eq!(
        "80, 443".parse::<Only<u16>>().unwrap(),
        Only::These(vec![80, 443])
    );
    assert!("80,x".parse::<Only<u16>>().unwrap_err().starts_with("x: "));
}
