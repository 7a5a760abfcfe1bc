//! Waiting for what must come to be. No test asserts how long anything takes: the bound here only keeps a broken one from hanging.

use std::time::Duration;

use mixer_runtime::Clock;

const AT_MOST: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(10);

/// Tries until `attempt` yields something.
///
/// # Panics
/// After a minute, with `what`.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let start = clock.now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(clock.now().since(start) < AT_MOST, "still not so: {what}");
        clock.sleep(BETWEEN).await;
    }
}

/// Awaits `work`, which must end.
///
/// # Panics
/// After a minute, with `what`.
pub async fn ends<F: Future>(what: &str, work: F) -> F::Output {
    let done = Clock::system().within(AT_MOST, work).await;
    done.unwrap_or_else(|| panic!("it hangs: {what}"))
}
