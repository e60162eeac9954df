//! What the bytes of a worker's connections are carried in: buffers and pipes.

use std::sync::Arc;

use super::memory::MemoryBound;
use super::pipe::Pipes;
use super::pool::Pool;

/// Both, of one worker.
#[derive(Debug)]
pub(super) struct Carriers {
    pub(super) pool: Pool,
    pub(super) pipes: Pipes,
}

impl Carriers {
    /// None yet; what they hold will be granted by that bound.
    pub(super) fn new(memory: &Arc<MemoryBound>) -> Self {
        Self { pool: Pool::new(Arc::clone(memory)), pipes: Pipes::new(Arc::clone(memory)) }
    }
}
