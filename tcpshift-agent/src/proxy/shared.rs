//! What the tasks of one worker share, and what all workers of a proxy do.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::carriers::Carriers;
use super::descriptors::{All, WorkerShare};
use super::inputs::Random;
use super::memory::MemoryBound;
use super::plans::Plans;
use super::queue::Queues;
use super::source::Sources;
use super::spare::Spare;
use crate::connections::{Connections, LiveSlab};
use crate::kernel::Sockets;
use crate::plan::{Plan, Sets};

/// What the tasks of one worker share.
#[derive(Debug)]
pub(super) struct Worker {
    /// The plan in force. A connection looks at it once.
    pub(super) plan: RefCell<Arc<Plan>>,
    /// The endpoint sets in force. A connection looks at them once, until it is open.
    pub(super) sets: RefCell<Arc<Sets>>,
    pub(super) connections: Arc<Connections>,
    /// Connections that this worker carries.
    pub(super) live: Rc<LiveSlab>,
    /// The bound of all workers.
    pub(super) memory: Arc<MemoryBound>,
    pub(super) carriers: Carriers,
    pub(super) random: Random,
    pub(super) spare: Spare,
    pub(super) share: Rc<WorkerShare>,
    /// Unix endpoints whose backlog is full.
    pub(super) queues: Rc<Queues>,
    pub(super) sources: Sources,
    /// What programs decided, if they do.
    pub(super) sockets: Option<Arc<Sockets>>,
    /// Plans that programs may have decided by.
    pub(super) plans: Arc<Plans>,
}

/// What the workers of a proxy have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) connections: Arc<Connections>,
    pub(super) sources: Vec<IpAddr>,
    pub(super) sockets: Option<Arc<Sockets>>,
    pub(super) plans: Arc<Plans>,
    pub(super) memory: Arc<MemoryBound>,
    /// Connections of all workers.
    pub(super) carried: Arc<All>,
}
