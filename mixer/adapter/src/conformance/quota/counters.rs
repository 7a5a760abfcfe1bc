//! What a store shows of its counters, and that it forgets the ones it is told to and no others.

use std::time::Duration;

use super::{AMOUNT, Call, WINDOW};
use crate::{Algorithm, Counted, CounterKey, Family, Forgotten, Limit, Listed, Outcome, Which};

/// Counters of one walk: enough that a store needs several calls for them.
const MANY: usize = 60;

impl Call<'_> {
    /// As the operator's hand does it.
    pub(super) async fn shows_and_forgets_counters(&self, quota: &str) {
        self.shows_what_is_spent(quota).await;
        self.shows_all_a_few_at_a_time(&format!("{quota} many"))
            .await;
        self.forgets_one_or_all(&format!("{quota} forget")).await;
        self.shows_long_keys_as_digests(&format!("{quota} long"))
            .await;
    }

    fn family<'a>(&self, quota: &'a str) -> Family<'a> {
        Family {
            quota,
            limit: Limit {
                amount: AMOUNT,
                window: WINDOW,
            },
            algorithm: self.algorithm,
        }
    }

    /// All of what is listed, `most` counters a call.
    async fn listed(&self, family: &Family<'_>, which: Which<'_>, most: usize) -> Listed {
        let mut all = Listed::default();
        let mut from = String::new();
        loop {
            let listed = self.handler.counters(family, which, most, &from).await;
            let listed = listed.expect("a store that is there must show its counters");
            assert!(
                listed.counters.len() <= most,
                "{} counters are more than {most}",
                listed.counters.len()
            );
            all.counters.extend(listed.counters);
            all.unnamed += listed.unnamed;
            match listed.next {
                None => return all,
                Some(next) => {
                    assert_ne!(next, from, "a walk must get on");
                    from = next;
                }
            }
        }
    }

    async fn forgotten(&self, family: &Family<'_>, which: Which<'_>) -> u64 {
        let (mut counters, mut from) = (0, String::new());
        loop {
            let forgotten = self.handler.forget(family, which, &from).await;
            let Forgotten {
                counters: gone,
                next,
                ..
            } = forgotten.expect("a store that is there must forget");
            counters += gone;
            match next {
                None => return counters,
                Some(next) => from = next,
            }
        }
    }

    async fn shown(&self, quota: &str, key: &[String]) -> Option<Counted> {
        let one = self.listed(&self.family(quota), Which::Key(key), 1).await;
        one.counters.into_iter().next()
    }

    async fn shows_what_is_spent(&self, quota: &str) {
        let key = ["one".to_owned(), "c|17 {é}".to_owned()];
        assert_eq!(self.shown(quota, &key).await, None, "nothing is spent");
        self.one(self.ask(quota, &key, 15)).await;
        let shown = self.shown(quota, &key).await.expect("15 are spent");
        assert_eq!(shown.key, CounterKey::Values(key.to_vec()));
        assert_eq!((shown.spent, shown.left), (15, AMOUNT - 15));
        assert_eq!(
            shown.next_in,
            Some(Duration::ZERO),
            "one can be had at once"
        );
        assert!(
            shown.free_in > Duration::ZERO && shown.free_in <= WINDOW,
            "all is forgotten within a window: {:?}",
            shown.free_in
        );
        assert_eq!(
            self.left(quota, &key).await,
            AMOUNT - 15,
            "looking takes nothing"
        );
        self.one(self.ask(quota, &key, 5)).await;
        let refused = self.one(self.ask(quota, &key, 1)).await;
        let shown = self.shown(quota, &key).await.expect("all is spent");
        assert_eq!((shown.spent, shown.left), (AMOUNT, 0));
        let (told, wait) = (shown.next_in, refused.retry_after);
        let (told, wait) = (told.expect("some day"), wait.expect("some day"));
        assert!(
            told > Duration::ZERO && told <= wait && wait - told < WINDOW / 64,
            "what is shown ({told:?}) is what a refusal says ({wait:?})"
        );
        // Held against another limit.
        let lower = Limit {
            amount: 10,
            window: WINDOW,
        };
        let algorithm = match self.algorithm {
            Algorithm::Gcra { .. } => Algorithm::Gcra { burst: 10 },
            other => other,
        };
        let family = Family {
            limit: lower,
            algorithm,
            ..self.family(quota)
        };
        let shown = self.listed(&family, Which::Key(&key), 1).await.counters;
        assert_eq!((shown[0].spent, shown[0].left), (AMOUNT, 0));
        assert!(shown[0].next_in.is_some_and(|wait| wait > Duration::ZERO));
        // Tokens given back by hand are a negative cost, and never make more of a limit than it is.
        self.one(self.ask(quota, &key, -8)).await;
        assert_eq!(self.shown(quota, &key).await.map(|it| it.spent), Some(12));
        self.one(self.ask(quota, &key, -100)).await;
        assert_eq!(self.shown(quota, &key).await, None, "nothing is spent now");
        assert_eq!(self.left(quota, &key).await, AMOUNT);
    }

    async fn shows_all_a_few_at_a_time(&self, quota: &str) {
        let key = |at: usize| {
            let shop = if at.is_multiple_of(3) { "a*b" } else { "a?c" };
            [format!("{shop}{at}"), "x".to_owned()]
        };
        for at in 0..MANY {
            self.one(self.ask(quota, &key(at), 1 + at as i64 % 3)).await;
        }
        self.one(self.ask(&format!("{quota} too"), &key(0), 1))
            .await;
        let family = self.family(quota);
        for most in [1, 7, 1000] {
            let mut listed = self.listed(&family, Which::Prefix(""), most).await.counters;
            listed.sort_by(|one, other| one.key.cmp(&other.key));
            listed.dedup();
            assert_eq!(listed.len(), MANY, "{most} a call: each counter is shown");
            for counted in &listed {
                let CounterKey::Values(values) = &counted.key else {
                    panic!("{:?} is short enough to be known", counted.key);
                };
                let at: usize = values[0][3..].parse().expect("as it was asked");
                assert_eq!(*values, key(at));
                assert_eq!(counted.spent, 1 + at as u64 % 3);
            }
        }
        let begins = self.listed(&family, Which::Prefix("a*"), 7).await;
        assert_eq!(begins.counters.len(), MANY / 3, "a prefix is no pattern");
        let none = self.listed(&family, Which::Prefix("zz"), 7).await;
        assert_eq!(none.counters, [], "no key begins so");
        let gone = self.forgotten(&family, Which::Prefix("a*")).await;
        assert_eq!(gone, MANY as u64 / 3);
        let left = self.listed(&family, Which::Prefix(""), 1000).await;
        assert_eq!(left.counters.len(), MANY - MANY / 3);
    }

    async fn forgets_one_or_all(&self, quota: &str) {
        let [one, other] = ["one", "other"].map(|key| [key.to_owned()]);
        let beside = format!("{quota} beside");
        for (quota, key) in [(quota, &one), (quota, &other), (&*beside, &one)] {
            self.one(self.ask(quota, key, AMOUNT as i64)).await;
        }
        self.one(self.ask(quota, &[], 3)).await;
        let family = self.family(quota);
        assert_eq!(self.forgotten(&family, Which::Key(&one)).await, 1);
        assert_eq!(self.left(quota, &one).await, AMOUNT, "it is as new");
        assert_eq!(self.forgotten(&family, Which::Key(&one)).await, 0);
        assert_eq!(self.left(quota, &other).await, 0, "another key is another");
        let granted = self.one(self.ask(quota, &one, 2)).await;
        assert_eq!(granted.outcome, Outcome::Granted);
        assert_eq!(self.forgotten(&family, Which::Prefix("")).await, 3);
        for key in [&one[..], &other, &[]] {
            assert_eq!(self.left(quota, key).await, AMOUNT, "all are as new");
        }
        let left = self.left(&beside, &one).await;
        assert_eq!(left, 0, "another quota is another");
        let unknown = self.family("a quota that never counted");
        assert_eq!(self.forgotten(&unknown, Which::Prefix("")).await, 0);
        let listed = self.listed(&unknown, Which::Prefix(""), 10).await;
        assert_eq!(listed.counters, []);
    }

    async fn shows_long_keys_as_digests(&self, quota: &str) {
        let long = ["x".repeat(5000)];
        self.one(self.ask(quota, &long, 4)).await;
        let shown = self.shown(quota, &long).await.expect("4 are spent");
        assert_eq!(shown.spent, 4, "who knows the key finds its counter");
        let all = self
            .listed(&self.family(quota), Which::Prefix(""), 10)
            .await;
        let digests = all.counters.iter();
        let digests = digests.filter(|it| matches!(it.key, CounterKey::Digest(_)));
        assert!(
            digests.count() + all.unnamed as usize >= 1,
            "that there is more must be said"
        );
        let gone = self.forgotten(&self.family(quota), Which::Key(&long)).await;
        assert_eq!(gone, 1);
        assert_eq!(self.left(quota, &long).await, AMOUNT);
    }
}
