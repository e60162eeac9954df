//! What is attached of the programs that steer: what plans need, and no more.
//!
//! A program that is attached costs each connect(2), each packet without a connection, or each socket of the host something,
//! also where no route is for it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Kernel, pins};
use crate::plan::{Datapath, Plan};

/// How long no plan has needed what is detached then: longer than a handshake may take that was begun by the plan before, also
/// one by a SYN cookie (`TCP_SYNCOOKIE_VALID`, two minutes).
const REST: Duration = Duration::from_secs(150);

/// What a plan needs of the programs that steer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Clients are pointed at endpoints.
    pub(super) connect: bool,
    /// Connections are handed to listening sockets.
    pub(super) lookup: bool,
    /// Sockets that begin to listen are to be known.
    pub(super) listening: bool,
}

impl Need {
    /// What the routes of a plan need.
    pub(super) fn of(plan: &Plan) -> Self {
        let served = plan.listeners.iter().flat_map(|listener| &listener.routes);
        let served = served.chain(plan.mesh.iter().flat_map(|listener| &listener.routes));
        served.fold(Self::default(), |need, route| match route.chosen.datapath {
            Some(Datapath::Connect) => Self { connect: true, ..need },
            Some(Datapath::Lookup) => Self { lookup: true, ..need },
            // Programs refuse connections that no datapath can serve.
            None if route.chosen.only => Self { connect: true, lookup: true, ..need },
            Some(Datapath::Proxy) | None => need,
        })
    }

    /// Both of them.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            connect: self.connect || other.connect,
            lookup: self.lookup || other.lookup,
            listening: self.listening || other.listening,
        }
    }
}

/// What is attached for.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// What the plan in force needs.
    pub(super) by_plan: Need,
    /// Whether sockets of clients that an agent before steered may be there.
    pub(super) inherits: bool,
    /// Since when something is attached that is not needed.
    needless_since: Option<Instant>,
}

impl Kernel {
    /// Attaches what is needed and is not attached, and pins it, so that it outlives this process.
    pub(super) fn attach_needed(&mut self, need: Need) -> Result<()> {
        let Ok(steering) = &mut self.steering else { return Ok(()) };
        let before = steering.links().count();
        let attached = steering.attach(&mut self.ebpf, &self.maps, need);
        if let Some(pins) = self.pins.as_ref().filter(|_| self.is_settled && steering.links().count() > before) {
            steering.pin(pins)?;
        }
        attached
    }

    /// Has sockets kept that listen at these endpoints.
    pub fn want(&mut self, endpoints: BTreeSet<SocketAddr>) -> Result<()> {
        let need = Need { listening: !endpoints.is_empty(), ..Need::default() };
        // Without `record` sockets are found all the same, later; it is attached again by `look_after`.
        let attached = self.attach_needed(need);
        self.listening.want(endpoints)?;
        attached
    }

    /// Attaches what is needed and could not be attached before.
    pub(super) fn attach_again(&mut self) -> Result<()> {
        self.attach_needed(self.need())
    }

    /// What is needed now: by the plan in force, and by endpoints whose sockets are kept.
    fn need(&self) -> Need {
        self.needed.by_plan.and(Need { listening: self.listening.is_wanted(), ..Need::default() })
    }

    /// Detaches what the plan in force has not needed for some time, once no steered connection is open: the close of one is
    /// counted, and its client may ask for the name of its peer.
    pub(super) fn detach_needless(&mut self) {
        let need = self.need();
        let Some(steering) = self.steering.as_mut().ok().filter(|steering| self.is_settled && steering.has_more(need))
        else {
            self.needed.needless_since = None;
            return;
        };
        let since = *self.needed.needless_since.get_or_insert_with(Instant::now);
        if since.elapsed() < REST || self.needed.inherits || self.maps.are_connections_open().unwrap_or(true) {
            return;
        }
        for name in steering.detach(need) {
            if let Some(pins) = &self.pins {
                // Somebody may have removed it.
                pins::remove(&pins.link(&name)).ok();
            }
        }
        self.needed.needless_since = None;
        log::info!("programs that no route needs are detached");
    }
}

/// They need root, as all tests of the kernel do.
#[cfg(test)]
mod tests {
    use tcpshift_common::layout::SumRow;

    use super::*;
    use crate::kernel::KernelOptions;
    use crate::kernel::sys::Map;

    #[test]
    fn what_no_plan_needs_is_detached_once_nothing_is_open() {
        let mut kernel = Kernel::load(&KernelOptions::of_this_cgroup().unwrap()).unwrap();
        kernel.is_settled = true;
        let attached = |kernel: &Kernel| {
            let links = kernel.steering.as_ref().unwrap().links();
            links.map(|(name, _)| name.split('-').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        kernel.attach_needed(Need { listening: true, ..Need::default() }).unwrap();
        assert_eq!(attached(&kernel), ["record"]);
        kernel.attach_needed(Need { connect: true, lookup: true, listening: false }).unwrap();
        let all = ["record", "lookup", "connect4", "connect6", "getpeername4", "getpeername6"];
        assert_eq!(attached(&kernel), all);
        let sums: Map<u32, SumRow> = Map::new(kernel.maps.sums.try_clone().unwrap()).unwrap();
        let open = |active| sums.set(&0, &SumRow { active, ..SumRow::default() }).unwrap();
        let long_ago = Instant::now().checked_sub(REST);
        kernel.needed.by_plan = Need { connect: true, ..Need::default() };
        kernel.detach_needless();
        assert_eq!(attached(&kernel), all, "it has not been needless for long");
        open(1);
        kernel.needed.needless_since = long_ago;
        kernel.detach_needless();
        assert_eq!(attached(&kernel), all, "a connection is open");
        open(0);
        kernel.detach_needless();
        assert_eq!(attached(&kernel), ["record", "connect4", "connect6", "getpeername4", "getpeername6"]);
        kernel.needed.by_plan = Need::default();
        kernel.needed.needless_since = long_ago;
        kernel.detach_needless();
        assert_eq!(attached(&kernel), [""; 0]);
        // And is attached again.
        kernel.attach_needed(Need { lookup: true, ..Need::default() }).unwrap();
        assert_eq!(attached(&kernel), ["record", "lookup"]);
    }
}
