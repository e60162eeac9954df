//! What the body of a scenario gets: a world, the session's agent, and the datapath and family of its row.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::agent::Agent;
use crate::crowd::Location;
use crate::echo::tcp_echo;
use crate::objects::{Object, Objects, VirtualService};
use crate::process::Process;
use crate::steer::{
    ENTRANCE, ENTRANCE6, GATEWAY_ROUTE, MESH_ROUTE, SERVICE, SERVICE6, await_datapath, base, datapath, own_addresses,
    route,
};
use crate::world::World;

use super::{Family, Session, Way};

/// What the body of a scenario gets.
pub(super) struct Case<'a> {
    pub(super) world: &'a World,
    pub(super) session: Session,
    pub(super) way: Way,
    pub(super) family: Family,
    /// The agent of the session, between two scenarios.
    kept: Cell<Option<Agent<'a>>>,
    /// How many names were given.
    names: Cell<u32>,
}

impl<'a> Case<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        own_addresses();
        let (session, way, family) = (Session::Alone, Way::Proxy, Family::V4);
        Self { world, session, way, family, kept: Cell::default(), names: Cell::default() }
    }

    /// A name that no other process in the world has.
    pub(super) fn name(&self, what: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{what}-{}", self.names.get())
    }

    /// Where clients connect to.
    pub(super) fn address(&self) -> &'static str {
        match (self.way, self.family) {
            (Way::Connect, Family::V4) => SERVICE,
            (Way::Connect, Family::V6) => SERVICE6,
            (_, Family::V4) => ENTRANCE,
            (_, Family::V6) => ENTRANCE6,
        }
    }

    /// Where clients are.
    pub(super) fn clients(&self) -> Location<'a> {
        if self.way == Way::Connect { Location::Group(self.world.cgroup()) } else { Location::Here }
    }

    /// The name of the route.
    pub(super) fn route(&self) -> &'static str {
        if self.way == Way::Connect { MESH_ROUTE } else { GATEWAY_ROUTE }
    }

    /// The route, with weights of v1 and v2.
    pub(super) fn weights(&self, weights: [u32; 2]) -> Object<VirtualService> {
        route(self.route(), weights)
    }

    /// Where endpoints are.
    pub(super) fn host(&self) -> &'static str {
        if self.family == Family::V4 { "127.0.0.1" } else { "::1" }
    }

    /// All objects.
    pub(super) fn objects(&self, weights: [u32; 2]) -> Objects {
        base(&[("v1", self.host(), 9001), ("v2", self.host(), 9002)]) + self.weights(weights)
    }

    /// The servers of both versions, `one` and `two`.
    pub(super) fn versions(&self) -> [Process; 2] {
        [tcp_echo(self.world, "9001", "one", self.host()), tcp_echo(self.world, "9002", "two", self.host())]
    }

    /// Options of the session's agent.
    pub(super) fn options(&self) -> Vec<String> {
        let group = self.world.cgroup().display().to_string();
        let options: &[&str] = match self.session {
            Session::Alone => &["--assign", "auto", "--datapath", "auto"],
            Session::Assigned => &["--assign", "kernel", "--datapath", "proxy"],
            Session::Carried => &["--assign", "auto", "--datapath", "proxy"],
            Session::Steered => &["--assign", "auto", "--datapath", "auto", "--cgroup", &group],
        };
        options.iter().map(ToString::to_string).collect()
    }

    /// The session's agent, without objects. The addresses of the service are this host's, and nobody listens there.
    #[track_caller]
    pub(super) fn start(&self) -> Agent<'a> {
        self.kept.take().unwrap_or_else(|| Agent::start(self.world, &self.options()))
    }

    /// Gives the agent back to the session, for the next row.
    #[track_caller]
    pub(super) fn keep(&self, agent: Agent<'a>) {
        let text = self.objects([1, 1]);
        agent.remove(&text);
        assert_eq!(agent.status().objects, 0, "objects that are left");
        self.kept.set(Some(agent));
    }

    /// Starts both versions and an agent, and applies everything; connections go by the datapath that is asked for.
    #[track_caller]
    pub(super) fn served(&self, weights: [u32; 2]) -> (Agent<'a>, [Process; 2]) {
        let (versions, agent) = (self.versions(), self.start());
        agent.post(self.objects(weights));
        self.assert_datapath(&agent);
        (agent, versions)
    }

    /// Panics with the agent's reason if connections do not go by the datapath that is asked for.
    #[track_caller]
    pub(super) fn assert_datapath(&self, agent: &Agent<'_>) {
        let ((by, reason), asked) = (datapath(agent, self.route()), self.way.name());
        assert!(by == asked, "connections go by {by}, not by {asked}: {reason}");
    }

    /// As [`Case::assert_datapath`], for an agent that started with objects and may not have found its endpoints yet: waits.
    #[track_caller]
    pub(super) fn await_datapath(&self, agent: &Agent<'_>) {
        await_datapath(agent, self.route(), self.way.name());
    }

    /// Asks so many times, and counts who answered.
    #[track_caller]
    pub(super) fn tally(&self, count: usize) -> BTreeMap<String, usize> {
        self.clients().tally(self.address(), count)
    }
}

/// Panics unless every answer was the same.
#[track_caller]
pub(super) fn assert_only(what: &str, tally: &BTreeMap<String, usize>, who: &str) {
    let count = tally.values().sum();
    assert_eq!(*tally, BTreeMap::from([(who.to_owned(), count)]), "{what}");
}
