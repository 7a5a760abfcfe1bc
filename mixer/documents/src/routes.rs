//! The rules that apply to one service, ready to be asked: the first that matches decides.
//!
//! A table is made once for each service of a set, so that a request pays neither for the routes of other services nor, where
//! conditions compare something the index knows, for rules that cannot match.

use std::sync::Arc;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Evaluation;

use crate::plan::Indexing;
use crate::{PolicySet, Route, RouteRule, Rules};

/// The rules of every route of one service, in document order.
#[derive(Debug)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    rules: Rules,
    /// Some rule reads the request's path: the server gets it as it was read.
    pub reads_path: bool,
}

impl RouteTable {
    /// Every rule with its route, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = (&Arc<Route>, &Arc<RouteRule>)> {
        let routes = self.routes.iter();
        routes.flat_map(|route| route.rules.iter().map(move |rule| (route, rule)))
    }

    /// The first rule that matches, with its route.
    #[inline]
    pub fn first<'a>(
        &'a self,
        evaluation: &mut Evaluation<'a>,
    ) -> Option<(&'a Arc<Route>, &'a Arc<RouteRule>)> {
        let mut candidates = self.rules.candidates();
        while let Some((route, rule)) = candidates.next(evaluation, false) {
            let route = &self.routes[route];
            let rule = &route.rules[rule];
            if rule.matches(evaluation) {
                return Some((route, rule));
            }
        }
        None
    }
}

impl RouteTable {
    /// The first rule that matches a connection that is not HTTP: of those that do not ask what a request says.
    pub fn of_connection<'a>(
        &'a self,
        evaluation: &mut Evaluation<'a>,
    ) -> Option<(&'a Arc<Route>, &'a Arc<RouteRule>)> {
        let mut rules = self.rules();
        rules.find(|(_, rule)| !rule.reads_request && rule.matches(evaluation))
    }
}

impl PolicySet {
    /// What routes say about a service; `None`: nothing.
    pub fn route_table(&self, service: &str, namespace: Option<&str>) -> Option<RouteTable> {
        self.table(service, namespace, Indexing::On)
    }

    /// The same with every rule asked in turn, for tests.
    pub fn route_table_unindexed(
        &self,
        service: &str,
        namespace: Option<&str>,
    ) -> Option<RouteTable> {
        self.table(service, namespace, Indexing::Off)
    }

    fn table(
        &self,
        service: &str,
        namespace: Option<&str>,
        indexing: Indexing,
    ) -> Option<RouteTable> {
        let mut bag = AttributeBag::new();
        bag.set(vocabulary::DESTINATION_SERVICE, Value::String(service));
        if let Some(namespace) = namespace {
            bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
        }
        let routes: Vec<Arc<Route>> = self
            .route_index
            .candidates(&bag)
            .into_iter()
            .map(|at| &self.routes[at])
            .filter(|route| route.selector.selects(&bag))
            .cloned()
            .collect();
        if routes.is_empty() {
            return None;
        }
        let rules = routes.iter().enumerate().flat_map(|(at, route)| {
            let rules = route.rules.iter().enumerate();
            rules.map(move |(rule, one)| (at, rule, &one.when))
        });
        let rules = Rules::new(rules, indexing);
        let mut all = routes.iter().flat_map(|route| &route.rules);
        let reads_path = all.any(|rule| rule.reads_path());
        Some(RouteTable {
            routes,
            rules,
            reads_path,
        })
    }
}
