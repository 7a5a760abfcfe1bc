//! `mixer can`: may this caller do that? Answered with yes or no, the sentence that says so, and where it stands.

mod shown;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use mixer_attributes::{OwnedBag, OwnedValue, vocabulary as v};
use mixer_cel::FactTest;
use mixer_documents::{At, Directory, PolicySet};
use mixer_runtime::Clock;

use super::facts::{self, Caller};
use super::loaded::Loaded;
use super::output::{Output, exit_code};
use super::policies::Policies;
use super::{UNREADABLE, answer, request};
use crate::dispatch::Dispatcher;
use crate::explanation::Explanation;
use shown::Answer;

/// Says whether a request would pass, which sentence says so, and where that stands.
///
/// The request is what the caller's and the destination's proxies would make of it; `mixer explain` shows how it is decided.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who asks: NAMESPACE/SERVICE-ACCOUNT, a spiffe:// id, or - for nobody known.
    #[arg(value_name = "WHO")]
    who: Caller,
    /// HTTP method.
    #[arg(value_name = "METHOD", value_parser = method)]
    method: String,
    /// The service that is asked for, by its name or a host.
    #[arg(value_name = "SERVICE", value_parser = service)]
    service: String,
    /// Path, perhaps with a query.
    #[arg(value_name = "PATH", value_parser = path)]
    path: String,
    #[command(flatten)]
    policies: Policies,
    /// A header; a name given twice has both values.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Address of the caller.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Sets one attribute, or one key of a map (`auth.claims.plan=pro`), over all that is said otherwise.
    #[arg(short = 'a', long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// What an adapter answers (match, no-match or unavailable), instead of asking it.
    #[arg(long = "answer", value_name = "ADAPTER=ANSWER")]
    answers: Vec<answer::Given>,
    /// How it is shown.
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
    /// Exit with 10 when the answer is no.
    #[arg(long)]
    exit_code: bool,
}

fn method(text: &str) -> Result<String, String> {
    http::Method::from_bytes(text.to_ascii_uppercase().as_bytes())
        .map(|method| method.to_string())
        .map_err(|_| "a method is a word such as GET".to_owned())
}

fn service(text: &str) -> Result<String, String> {
    match mixer_attributes::host::normalize(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("a service is a host name such as products.shop".to_owned()),
    }
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') || text == "*" {
        Ok(text.to_owned())
    } else {
        Err("a path starts with a slash".to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("it takes NAME=VALUE, such as x-tester=yes")?;
    let name = http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is no header name"))?;
    http::HeaderValue::from_str(value).map_err(|_| "no header has such a value".to_owned())?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}

/// Answers.
pub(crate) fn run(args: Args) -> ExitCode {
    let clock = Clock::system();
    let loaded = args
        .policies
        .load(|paths| Loaded::from(paths, clock.clone()));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut asked = Asked::of(&args, &loaded.snapshot.set);
    let now = OwnedValue::Timestamp(clock.wall().into());
    asked.request.set(v::REQUEST_TIME, now);
    let vocabulary = &loaded.snapshot.set.vocabulary;
    if let Err(problem) = request::over(&mut asked.request, &args.attributes, vocabulary) {
        eprintln!("{problem}");
        return ExitCode::from(UNREADABLE);
    }
    let (dispatcher, runtime) = match loaded.asking(&args.answers) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    let answer = runtime.block_on(asked.answer(&dispatcher));
    args.output.show(&answer);
    if answer.nothing_applies()
        && let Some(near) = asked.near(&dispatcher.snapshot().set)
    {
        eprintln!(
            "no policy applies to {}; did you mean {near}?",
            args.service
        );
    }
    exit_code(!answer.allowed, args.exit_code)
}

/// The request, and what its proxies know of it beside its attributes.
struct Asked {
    request: OwnedBag,
    /// Why its path has no one reading.
    ambiguous: Option<String>,
    external: bool,
    unknown: bool,
}

impl Asked {
    fn of(args: &Args, set: &PolicySet) -> Self {
        let directory = Directory::new(set.services.iter().cloned());
        let mut bag = OwnedBag::new();
        args.who.fill(&set.mesh, &mut bag);
        let service = facts::destination(&args.service, &directory, &mut bag);
        bag.set(v::REQUEST_METHOD, facts::text(&args.method));
        bag.set(v::REQUEST_SCHEME, facts::text("http"));
        if let Some(host) = mixer_attributes::host::normalize(&args.service) {
            bag.set(v::REQUEST_HOST, facts::text(&host));
        }
        let keep_slash = service.is_some_and(|service| service.keep_encoded_slash);
        let ambiguous = facts::target(&args.path, keep_slash, &mut bag).err();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &args.headers {
            headers
                .entry(name.clone())
                .and_modify(|held| {
                    held.push_str(", ");
                    held.push_str(value);
                })
                .or_insert_with(|| value.clone());
        }
        facts::headers(headers, &mut bag);
        facts::protocol(service, &mut bag);
        if let Some(address) = args.ip {
            facts::address(address, &mut bag);
        }
        Self {
            request: bag,
            ambiguous: ambiguous.map(|why| why.to_string()),
            external: service.is_some_and(|service| service.external),
            unknown: service.is_none(),
        }
    }

    /// The caller's proxy is asked first, then the destination's; the first no is the answer.
    async fn answer(&self, dispatcher: &Dispatcher) -> Answer {
        let set = &dispatcher.snapshot().set;
        if self.unknown && !set.mesh.outbound_allow {
            return Answer::refused(502, "mesh.outbound denies what no service is called");
        }
        let mut answer = None;
        for at in [At::Outbound, At::Inbound] {
            if at == At::Inbound && self.external {
                continue;
            }
            let request = crate::testing::request(&self.request, at);
            let bag = request.bag();
            let applicable = set.applicable(at, &bag);
            if let Some(why) = &self.ambiguous
                && applicable.scope.reads_path
            {
                return Answer::refused(400, why);
            }
            let story = Explanation::of(dispatcher, at, &bag).await;
            let denies = story.decision.verdict == "deny";
            // The caller's proxy asks nobody where no policy is about what goes out.
            if denies || at == At::Inbound || !story.policies.is_empty() || self.external {
                answer = Some(Answer::of(&story));
            }
            if denies {
                break;
            }
        }
        answer.expect("one side at least is asked")
    }

    /// A destination that policies or services name and that looks like this one.
    fn near(&self, set: &PolicySet) -> Option<String> {
        let Some(OwnedValue::String(name)) = self.request.value(v::DESTINATION_SERVICE) else {
            return None;
        };
        let facts = set
            .policies
            .iter()
            .flat_map(|policy| policy.selector.facts());
        let named: Vec<Box<str>> = facts
            .flat_map(|fact| fact.tests)
            .filter_map(|test| match test {
                FactTest::Is(name) => Some(name),
                _ => None,
            })
            .collect();
        let named = named.iter().map(|name| &**name);
        let services = set.services.iter().map(|service| &*service.name);
        let near = mixer_documents::nearest(name, named.chain(services))?;
        (near != name).then(|| near.to_owned())
    }
}
