//! Nobody between client and server: what all others are ratios to.

use super::{Contender, EVERYWHERE, RunningContender};

pub(super) const CONTENDER: Contender = Contender {
    name: "direct",
    topologies: &EVERYWHERE,
    version: |_| Ok("no balancer".to_owned()),
    start: |_, world| Ok(RunningContender { to: world.direct, process: None, edit: None, look: None }),
};
