//! The observe room: what there is to see of an agent at work, as one value.
//!
//! A [`Sample`] joins the plan and the states of endpoints with what is counted. It is taken without stopping anybody. Whoever
//! shows or judges reads a sample and no counter: `status` today. [`History`] has what counters alone do not say: rates, and
//! failures that only the kernel saw. [`ledger`] is the counts as one agent tells them to the next.

pub mod before;
#[cfg(test)]
mod example;
pub mod failure;
pub mod history;
pub mod ledger;
pub mod sample;
mod trail;

pub use before::Before;
pub use failure::{DatedFailure, FailureCause};
pub use history::History;
pub use sample::{DestinationSample, EndpointSample, ListenerSample, Sample};
pub use trail::{Rates, WINDOWS};
