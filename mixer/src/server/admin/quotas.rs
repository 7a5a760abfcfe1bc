//! The counters of quotas: what `mixer quota` asks.
//!
//! Showing is GET, changing is POST with a JSON body; each is bounded and says where to go on. A quota is named by its id, or by
//! its sentence where only one has that.

mod shown;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use mixer_adapter::{Unavailable, Which};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::problem::Problem;
use crate::dispatch::{CountersOf, Dispatcher};

/// Bytes of a request to change something.
const BODY: usize = 64 << 10;
/// Counters that one page shows unless it is told otherwise.
const PAGE: usize = 100;

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/quotas", get(quotas))
        .route("/quotas/counters", get(list))
        .route("/quotas/reset", post(reset))
        .route("/quotas/grant", post(grant))
        .layer(DefaultBodyLimit::max(BODY))
}

type Answer = Result<Json<Value>, Problem>;

/// Values of a key; null is a value that is absent.
type Values = Vec<Option<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    quota: String,
    /// As JSON; then the counter of this key, whatever it has spent.
    key: Option<String>,
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    #[serde(default)]
    from: String,
    tier: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    quota: String,
    /// `None`: all of the quota's counters.
    key: Option<Values>,
    #[serde(default)]
    from: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Give {
    quota: String,
    key: Values,
    amount: u64,
}

async fn quotas(State(admin): State<Admin>, headers: HeaderMap) -> Answer {
    admin.guard.may_see(&headers).await?;
    let current = admin.live.current();
    let set = &current.snapshot().set;
    let places = set.policies.iter().enumerate();
    let places = places.flat_map(|(at, policy)| (0..policy.quotas.len()).map(move |it| (at, it)));
    let shown = places.map(|place| shown::quota(&current.dispatcher.counters_of(place, None)));
    Ok(Json(json!({ "quotas": shown.collect::<Vec<_>>() })))
}

async fn list(
    State(admin): State<Admin>,
    headers: HeaderMap,
    query: Result<Query<Listing>, QueryRejection>,
) -> Answer {
    admin.guard.may_see(&headers).await?;
    let Query(asked) = query.map_err(|why| malformed(why.body_text()))?;
    let current = admin.live.current();
    let counters = find(&current.dispatcher, &asked.quota, asked.tier.as_deref())?;
    let listed = match &asked.key {
        Some(key) => {
            let values: Values = serde_json::from_str(key)
                .map_err(|why| malformed(format!("key is no JSON list of texts: {why}")))?;
            let key = key_of(&counters, values)?;
            let one = counters.one(&key).await;
            let one = one.map_err(|why| unavailable(&counters, &why))?;
            let one = one.map_or_else(
                || shown::unspent(&counters, &key),
                |one| shown::counter(&one),
            );
            return Ok(Json(shown::page(&counters, vec![one], 0, None)));
        }
        None => {
            let most = asked.limit.unwrap_or(PAGE);
            let which = Which::Prefix(&asked.prefix);
            counters.list(which, most, &asked.from).await
        }
    };
    let listed = listed.map_err(|why| unavailable(&counters, &why))?;
    let shown = listed.counters.iter().map(shown::counter).collect();
    let page = shown::page(&counters, shown, listed.unnamed, listed.next.as_deref());
    Ok(Json(page))
}

async fn reset(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Json<Reset>, JsonRejection>,
) -> Answer {
    admin.guard.may_change(&headers).await?;
    let Json(asked) = body.map_err(|why| malformed(why.body_text()))?;
    let current = admin.live.current();
    let counters = find(&current.dispatcher, &asked.quota, None)?;
    let key = asked.key.map(|values| key_of(&counters, values));
    let key = key.transpose()?;
    let which = key.as_deref().map_or(Which::Prefix(""), Which::Key);
    let forgotten = counters.forget(which, &asked.from).await;
    let forgotten = forgotten.map_err(|why| unavailable(&counters, &why))?;
    let (quota, one) = (&*counters.quota.id, key.is_some());
    tracing::info!(
        quota,
        one,
        counters = forgotten.counters,
        "counters were reset by hand"
    );
    Ok(Json(json!({
        "quota": quota,
        "reset": forgotten.counters,
        "unnamed": forgotten.unnamed,
        "next": forgotten.next,
    })))
}

async fn grant(
    State(admin): State<Admin>,
    headers: HeaderMap,
    body: Result<Json<Give>, JsonRejection>,
) -> Answer {
    admin.guard.may_change(&headers).await?;
    let Json(asked) = body.map_err(|why| malformed(why.body_text()))?;
    let current = admin.live.current();
    let counters = find(&current.dispatcher, &asked.quota, None)?;
    let key = key_of(&counters, asked.key)?;
    let failed = |why: Unavailable| unavailable(&counters, &why);
    let before = counters.one(&key).await.map_err(failed)?;
    counters
        .give_back(&key, asked.amount)
        .await
        .map_err(failed)?;
    let after = counters.one(&key).await.map_err(failed)?;
    let show = |one: Option<mixer_adapter::Counted>| {
        one.map_or_else(
            || shown::unspent(&counters, &key),
            |one| shown::counter(&one),
        )
    };
    let quota = &*counters.quota.id;
    tracing::info!(
        quota,
        amount = asked.amount,
        "tokens were given back by hand"
    );
    Ok(Json(
        json!({ "quota": quota, "before": show(before), "after": show(after) }),
    ))
}

/// The quota that is meant, under the row of its table that is named.
fn find<'d>(
    dispatcher: &'d Dispatcher,
    name: &str,
    tier: Option<&str>,
) -> Result<CountersOf<'d>, Problem> {
    let snapshot = dispatcher.snapshot();
    let policies = snapshot.set.policies.iter().enumerate();
    let all = policies.flat_map(|(at, policy)| {
        let quotas = policy.quotas.iter().enumerate();
        quotas.map(move |(within, quota)| ((at, within), quota))
    });
    let by_sentence = || {
        let mut named = all.clone().filter(|(_, quota)| *quota.sentence == *name);
        named.next().filter(|_| named.next().is_none())
    };
    let by_id = snapshot.quota(name);
    let Some(place) = by_id.or_else(|| by_sentence().map(|(place, _)| place)) else {
        let names = all
            .clone()
            .flat_map(|(_, quota)| [&*quota.id, &*quota.sentence]);
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("no quota is called `{name}`{}", meant(name, names)),
        ));
    };
    let counters = dispatcher.counters_of(place, None);
    let table = &counters.quota.limit;
    match tier {
        None => Ok(counters),
        Some(tier) if table.table.iter().any(|(row, _)| **row == *tier) => {
            Ok(dispatcher.counters_of(place, Some(table.row(tier))))
        }
        Some(tier) => {
            let rows = table.table.iter().map(|(row, _)| &**row);
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                format!("`{name}` has no limit for `{tier}`{}", meant(tier, rows)),
            ))
        }
    }
}

fn meant<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    let near = mixer_documents::nearest(given, candidates);
    near.map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// The key of those values; there must be as many as the quota has.
fn key_of(counters: &CountersOf<'_>, values: Values) -> Result<Vec<String>, Problem> {
    let wanted: Vec<&str> = counters.quota.key.iter().map(|key| key.source()).collect();
    if values.len() == wanted.len() {
        return Ok(CountersOf::key(values));
    }
    let of = match wanted.as_slice() {
        [] => "one counter and no key".to_owned(),
        [one] => format!("a key of one value ({one})"),
        several => format!("a key of {} values ({})", several.len(), several.join(", ")),
    };
    let (quota, given) = (&counters.quota.id, values.len());
    Err(malformed(format!(
        "`{quota}` has {of}, but {given} were given"
    )))
}

fn malformed(sentence: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, sentence)
}

fn unavailable(counters: &CountersOf<'_>, why: &Unavailable) -> Problem {
    let store = counters.store().name();
    let sentence = format!("the store `{store}`: {}", why.reason);
    if why.retry {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
    } else {
        malformed(sentence)
    }
}
