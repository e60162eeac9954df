//! Live: lists connections and ends them. It runs beside the loop, and beside whoever reads what is in force: the kernel's list of
//! sockets takes some microseconds for each socket of the host.

use std::sync::Arc;

use super::beside::SideThread;
use super::view::{Readers, ReadersView};
use crate::admin::api::{
    ApiFailure, CloseReply, CloseRequest, ConnectionFilter, ConnectionsReply, FailureReason, Trouble,
};
use crate::connections::{LiveConnection, LiveFilter};
use crate::kernel::{SteeredClosed, SteeredList, SteeredReader};
use crate::plan::Datapath;

/// Connections of a list, at most.
const MOST: usize = 50_000;

/// Where live connections are asked for.
#[derive(Clone, Debug)]
pub(super) struct LiveSources {
    /// Where the kernel's list is read.
    pub(super) beside: Arc<SideThread>,
    /// Those that programs steer, if any does.
    pub(super) steered: Option<SteeredReader>,
}

impl Readers {
    /// Live connections.
    pub(super) async fn connections(&self, wanted: ConnectionFilter) -> Result<ConnectionsReply, ApiFailure> {
        let (view, LiveSources { beside, steered }) = (self.view(), self.live.clone());
        let (shown, reader) = (Arc::clone(&view), steered);
        let (filter, steered) = beside
            .run(move || {
                let filter = shown.directory().filter(&wanted)?;
                let steered = list(reader.as_ref(), &filter);
                Ok::<_, ApiFailure>((filter, steered))
            })
            .await?;
        let carried: Vec<LiveConnection> = Vec::new();
        drop(filter);
        Ok(beside.run(move || reply(&view, carried, steered)).await)
    }

    /// Ends live connections.
    pub(super) async fn close(&self, request: CloseRequest) -> Result<CloseReply, ApiFailure> {
        let CloseRequest { filter: wanted, all, dry_run } = request;
        if wanted.is_empty() && !all {
            let message = "every connection fits: name a route, a destination or an endpoint, or say that all are meant";
            return Err(ApiFailure::new(FailureReason::BadRequest, message));
        }
        let (view, LiveSources { beside, steered: reader }) = (self.view(), self.live.clone());
        let (filter, steered, notes) = beside
            .run(move || {
                let filter = view.directory().filter(&wanted)?;
                let list = list(reader.as_ref(), &filter);
                let notes = notes(&list);
                let steered = if dry_run { list.closable() } else { list.close() };
                Ok::<_, ApiFailure>((filter, steered, notes))
            })
            .await?;
        let carried = 0;
        drop(filter);
        let SteeredClosed { closed, left } = steered;
        let left = left.into_iter().map(|(reason, count)| Trouble { reason, count });
        Ok(CloseReply { carried, steered: closed, left: left.collect(), notes })
    }
}

fn list(reader: Option<&SteeredReader>, filter: &LiveFilter) -> SteeredList {
    let Some(reader) = reader else { return SteeredList::default() };
    reader.list(filter).unwrap_or_else(|error| SteeredList {
        missing: Some(format!("steered connections cannot be listed: {error}")),
        ..SteeredList::default()
    })
}

fn notes(SteeredList { before, missing, .. }: &SteeredList) -> Vec<String> {
    let s = if *before == 1 { "" } else { "s" };
    let before = (*before > 0).then(|| format!("{before} steered connection{s} of agents before this one are not listed"));
    before.into_iter().chain(missing.clone()).collect()
}

fn reply(view: &ReadersView, carried: Vec<LiveConnection>, steered: SteeredList) -> ConnectionsReply {
    let (directory, notes) = (view.directory(), notes(&steered));
    let datapath = |is_client: bool| if is_client { Datapath::Connect } else { Datapath::Lookup };
    let steered = steered.found.iter().map(|one| (&one.live, datapath(one.is_client)));
    let mut all: Vec<_> = carried.iter().map(|live| (live, Datapath::Proxy)).chain(steered).collect();
    let total = all.len() as u64;
    // Those of one route, destination and endpoint stand together, also in a list that is cut.
    all.sort_by_cached_key(|(live, _)| (live.decided.route, live.decided.destination, live.endpoint, live.client));
    all.truncate(MOST);
    let mut connections: Vec<_> = all.into_iter().map(|(live, datapath)| directory.status(live, datapath)).collect();
    connections.sort_by(|a, b| (&a.route, &a.destination, &a.endpoint).cmp(&(&b.route, &b.destination, &b.endpoint)));
    ConnectionsReply { total, connections, notes }
}
