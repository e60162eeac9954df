//! The program `explain`: decides for a flow that is told, by the function that all programs decide by. It is never attached.
//!
//! `sock_ops` programs cannot be run by hand (`BPF_PROG_TEST_RUN`), classifiers can: the "packet" is a [`Question`].

use core::mem::offset_of;

use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tcpshift_common::address::Flow;
use tcpshift_common::layout::Question;

use crate::inputs::chance;
use crate::plan::PlanInForce;
use crate::rows::Settlement;
use crate::settle::{asks, settle, settled};

/// `TC_ACT_OK` if the answer was written, `TC_ACT_SHOT` if there is none.
#[classifier]
pub(crate) fn explain(context: TcContext) -> i32 {
    if answer(&context).is_some() { TC_ACT_OK } else { TC_ACT_SHOT }
}

fn answer(context: &TcContext) -> Option<()> {
    let question: Question = context.load(0).ok()?;
    let Question { listener, random, source, destination, source_port, destination_port, .. } = question;
    let flow = Flow { source, destination, source_port, destination_port };
    let mut settlement = Settlement::new(PlanInForce::in_force()?.side(), listener, flow);
    settlement.random = random;
    if !matches!(settle(&raw mut settlement, asks::CARRIER, chance::TOLD), settled::DECIDED | settled::UNROUTED) {
        return None;
    }
    context.store(offset_of!(Question, assignment), &settlement.assignment, 0).ok()
}
