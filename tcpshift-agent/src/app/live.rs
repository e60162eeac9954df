//! Live: lists connections and ends them. It runs beside the loop, and beside whoever reads what is in force: the kernel's list of
//! sockets takes some microseconds for each socket of the host.

use std::sync::Arc;

use super::view::{LiveSources, Readers, ReadersView};
use crate::admin::api::{
    ApiFailure, CloseReply, CloseRequest, ConnectionFilter, ConnectionsReply, FailureReason, Trouble,
};
use crate::connections::{Connections, LiveConnection, LiveFilter, LiveStage};
use crate::kernel::{SteeredClosed, SteeredList, SteeredReader};
use crate::plan::Datapath;

/// Connections of a list, at most.
const MOST: usize = 50_000;

impl Readers {
    /// Live connections.
    pub(super) async fn connections(&self, wanted: ConnectionFilter) -> Result<ConnectionsReply, ApiFailure> {
        let LiveSources { beside, steered: reader, carried } = &self.live;
        let (view, counts, reader) = (self.view(), Arc::clone(&self.connections), reader.clone());
        let (view, filter, steered) = beside
            .run(move || {
                let filter = view.directory(&counts).filter(&wanted)?;
                let steered = list(reader.as_ref(), &filter);
                Ok::<_, ApiFailure>((view, filter, steered))
            })
            .await?;
        let (carried, counts) = (carried.live(&filter).await, Arc::clone(&self.connections));
        Ok(beside.run(move || reply(&view, &counts, &carried, &steered)).await)
    }

    /// Ends live connections.
    pub(super) async fn close(&self, request: CloseRequest) -> Result<CloseReply, ApiFailure> {
        let CloseRequest { filter: wanted, all, dry_run } = request;
        if wanted.is_empty() && !all {
            let message =
                "every connection fits: name a route, a destination or an endpoint, or say that all are meant";
            return Err(ApiFailure::new(FailureReason::BadRequest, message));
        }
        let LiveSources { beside, steered: reader, carried } = &self.live;
        let (view, counts, reader) = (self.view(), Arc::clone(&self.connections), reader.clone());
        let (filter, steered, notes) = beside
            .run(move || {
                let filter = view.directory(&counts).filter(&wanted)?;
                let list = list(reader.as_ref(), &filter);
                let steered = if dry_run { list.closable() } else { list.close() };
                Ok::<_, ApiFailure>((filter, steered, notes(&list)))
            })
            .await?;
        let carried = if dry_run {
            let meant = carried.live(&filter).await;
            meant.iter().filter(|one| one.stage != LiveStage::Closing).count()
        } else {
            carried.close(&filter, usize::MAX).await
        };
        let SteeredClosed { closed, left } = steered;
        let left = left.into_iter().map(|(reason, count)| Trouble { reason, count });
        Ok(CloseReply { carried: carried as u64, steered: closed, left: left.collect(), notes })
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
    let before = (*before > 0).then(|| {
        let (s, are) = if *before == 1 { ("", "is") } else { ("s", "are") };
        format!("{before} steered connection{s} of agents before this one {are} not listed")
    });
    before.into_iter().chain(missing.clone()).collect()
}

fn reply(
    view: &ReadersView,
    counts: &Connections,
    carried: &[LiveConnection],
    steered: &SteeredList,
) -> ConnectionsReply {
    let (directory, notes) = (view.directory(counts), notes(steered));
    let datapath = |is_client: bool| if is_client { Datapath::Connect } else { Datapath::Lookup };
    let steered = steered.found.iter().map(|one| (&one.live, datapath(one.is_client)));
    let mut all: Vec<_> = carried.iter().map(|live| (live, Datapath::Proxy)).chain(steered).collect();
    let total = all.len() as u64;
    // Those of one route, destination and endpoint stand together, also in a list that is cut.
    all.sort_unstable_by_key(|(live, _)| (live.decided.destination, live.endpoint, live.client));
    all.truncate(MOST);
    let mut connections = directory.statuses(all);
    connections.sort_by(|a, b| (&a.route, &a.destination, &a.endpoint).cmp(&(&b.route, &b.destination, &b.endpoint)));
    ConnectionsReply { total, connections, notes }
}
