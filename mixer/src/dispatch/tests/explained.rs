//! What is told of a request agrees with what is decided of it: every rule evaluated alone, and the steps put together from
//! that, deny exactly where the dispatcher does.

use proptest::prelude::*;

use super::fixture::Fixture;
use super::random::{documents, request};
use crate::explanation::{Effect, Explanation};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_steps_that_are_told_deny_where_the_decision_does(
        documents in documents(4),
        requests in prop::collection::vec(request(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let text = documents.text(true);
            let fixture = Fixture::new(&text);
            let dispatcher = &fixture.dispatcher;
            for request in &requests {
                let (story, unchargeable) = request.with(async |bag| {
                    let at = crate::dispatch::side(bag);
                    let story = Explanation::of(dispatcher, at, bag).await;
                    let policies = &dispatcher.snapshot().set.policies;
                    let by_quota = policies.iter().any(|policy| {
                        policy.name == story.decision.policy
                            && policy.quotas.iter().any(|quota| quota.sentence == story.decision.rule)
                    });
                    (story, by_quota)
                }).await;
                let denies = story.steps.iter().any(|step| step.decides && step.effect == Effect::Denies);
                let denied = story.decision.verdict == "deny" && !unchargeable;
                prop_assert_eq!(denies, denied, "{}\n{}", story, text);
                prop_assert_eq!(story.denials.is_empty(), story.decision.verdict == "allow", "{}\n{}", story, text);
            }
            Ok(())
        })?;
    }
}
