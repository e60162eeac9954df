//! The composition root: makes the rooms, and runs the loop that carries things between them.
//!
//! Objects of files and requests go to the store; the store is made a plan; the plan and its endpoint sets go to the kernel and to
//! the proxy. `change` is how one generation follows another. `answer` carries out admin's commands; `front` and `view` answer
//! who only reads. Slow work is done `beside` the loop. What is decided is decided in the `policy` files.

mod answer;
mod assignment;
mod beside;
mod caution;
mod change;
mod down;
mod drain;
mod facts;
mod former;
mod front;
mod guard;
mod health;
mod live;
mod numbers;
mod options;
mod own;
mod prepare;
mod preview;
mod relinquish;
mod request;
mod resources;
mod shift;
mod signals;
mod succession;
mod upkeep;
mod view;
mod work;

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::watch;

use crate::analyze::Ground;
use crate::connections::Connections;
use crate::handover::{ListeningSocket, activation, notify};
use crate::health::Health;
use crate::host::addresses::Sight;
use crate::kernel;
use crate::observe::Before;
use crate::plan::intent::Intent;
use crate::plan::{Host, Plan, Planner, Scope, Sets};
use crate::proxy::{self, Proxy, limits};
use crate::resolve::{self, Resolver};
use crate::route::problem::{Problem, Severity};
use crate::route::source::files::Files;
use crate::route::source::files::watch::FilesWatch;
use crate::route::source::state::StateFolder;
use crate::route::store::Store;
pub use assignment::Assign;
use assignment::Assigner;
use beside::{Lendable, SideThread};
use down::Down;
use former::FormerRoutes;
use health::Ejections;
pub use options::{DatapathOption, Options};
use own::OwnEndpoints;
pub use resources::MORE_THREADS;
use signals::Signals;
use succession::{CountReport, Desk};
use upkeep::Missing;
use view::{ReadersView, SharedWatchers};

pub use kernel::{MAX_ROUTES, OnLoss, SteeringOptions};

/// The agent at work.
struct App {
    /// Where slow work of changes is done.
    beside: SideThread,
    /// Where slow work of readers is done.
    readers_beside: Arc<SideThread>,
    planner: Lendable<Planner>,
    started: Instant,
    draining: bool,
    /// Another agent reads the state; nothing is changed.
    handing_over: bool,
    store: Store,
    state: Lendable<StateFolder>,
    /// Where the admin socket is.
    admin: PathBuf,
    files: Lendable<Files>,
    /// What routes stand on, to say at once what is wrong with one that is edited.
    ground: Lendable<Ground>,
    /// What the objects in force ask for.
    intent: Arc<Intent>,
    /// What of it leads to this host.
    own: OwnEndpoints,
    /// The endpoint sets in force.
    sets: Arc<Sets>,
    former: FormerRoutes,
    plan: watch::Sender<Arc<Plan>>,
    connections: Arc<Connections>,
    assignment: Lendable<Assigner>,
    /// Of this host, as they were seen last.
    addresses: Sight,
    proxy: Proxy,
    resolver: Resolver,
    /// Listeners of the plan that are not served, and why.
    down: Down,
    /// Endpoints of this host at which nobody listens.
    silent: Arc<BTreeSet<SocketAddr>>,
    health: Health,
    /// Endpoints that are ejected.
    ejections: Arc<Ejections>,
    /// What others took away and cannot be made again.
    missing: Missing,
    /// What readers are told.
    view: watch::Sender<Arc<ReadersView>>,
    watchers: SharedWatchers,
    /// What the agent before this one told last, while it is there.
    before: watch::Sender<Option<Arc<Before>>>,
    /// Tells the agent after this one what is counted here.
    heir: Option<CountReport>,
    /// Connections that are ended each second while this agent drains; none of them before its timeout if it is not given.
    drain_rate: Option<u32>,
    /// None before the agent is ready, and after its end.
    desk: Option<Desk>,
}

/// Runs an agent until it is told to end. Fails if it cannot start.
pub fn run(options: Options) -> anyhow::Result<()> {
    start(options).map_err(resources::explain)
}

fn start(options: Options) -> anyhow::Result<()> {
    let activated = activation::take();
    let workers = resources::workers()?;
    prepare::prepare(&options)?;
    // The kernel's maps take descriptors too.
    if let Some(warning) = limits::raise().warning {
        log::warn!("{warning}");
    }
    let steering = match options.datapath {
        DatapathOption::Auto => Ok(options.steering.clone()),
        DatapathOption::Proxy => Err("--datapath proxy".to_owned()),
    };
    let wanted = kernel::KernelOptions { max_routes: options.max_routes, steering };
    if options.assign != Assign::Agent {
        log::info!("the kernel's programs are tried, which may take a minute on a busy machine");
    }
    let assignment = Assigner::load(options.assign, &wanted, workers)?;
    if options.steering.on_loss != OnLoss::Keep
        && let (Err(why), Err(_)) = (assignment.connects(), assignment.hands_over())
    {
        log::warn!("--on-agent-loss has nothing to act on: {why}");
    }
    if options.steering.cgroup.is_some() {
        assignment.connects().map_err(|why| anyhow::anyhow!("--cgroup: no client can be steered: {why}"))?;
    }
    if options.takeover {
        assignment.can_follow()?;
    }
    relinquish::give_up(&options, &assignment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(resources::RUNTIME)
        .thread_name("admin")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(serve(options, activated, assignment, workers));
    // Whoever still waits for an answer is not waited for.
    runtime.shutdown_background();
    done
}

async fn serve(
    options: Options,
    activated: Vec<ListeningSocket>,
    mut assignment: Assigner,
    workers: usize,
) -> anyhow::Result<()> {
    let Options {
        paths,
        mut listen_addresses,
        source_addresses,
        state_dir,
        admin,
        datapath: DatapathOption::Auto | DatapathOption::Proxy,
        assign: _,
        max_routes: _,
        max_memory,
        steering: _,
        seed,
        drain_timeout,
        drain_rate,
        namespace,
        labels,
        takeover,
        timeout,
        trust_files,
        strict,
    } = options;
    for path in &paths {
        let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !metadata.is_dir() && !metadata.is_file() {
            bail!("{} is neither a file nor a folder", path.display());
        }
    }
    let addresses = Sight::new();
    if let Some(address) = source_addresses.iter().find(|address| !addresses.last().contains(**address)) {
        bail!("--source-address {address} is not an address of this host");
    }
    if listen_addresses.is_empty() {
        listen_addresses.push(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
    }
    listen_addresses = listen_addresses.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let mut predecessor = succession::predecessor(takeover, &admin, timeout).await?;
    let (socket, state) = succession::belongings(takeover, predecessor.as_mut(), &admin, &state_dir).await?;
    proxy::avoid(&socket.name()?);
    let inside = |path: &PathBuf| Ok::<_, std::io::Error>(path.canonicalize()?.starts_with(state_dir.canonicalize()?));
    if let Some(path) = paths.iter().find(|path| inside(path).unwrap_or(false)) {
        bail!(
            "{} lies in the state directory, which only `apply` writes; what is there is read already",
            path.display()
        );
    }
    let (applied, version, problems) = state.load()?;
    problems.iter().for_each(say);
    if predecessor.is_none() {
        assignment.reserve(if takeover { succession::DEATH_TIME } else { Duration::ZERO }).await?;
    }
    assignment.listen()?;
    let connections = Arc::new(assignment.connections()?);
    let sockets = assignment.sockets();
    let mut proxy = Proxy::start(&connections, workers, &source_addresses, sockets, resources::memory(max_memory))
        .context("cannot start the proxy")?;
    let served = succession::furnish(&mut proxy, predecessor.as_mut(), activated);
    let names = predecessor.as_mut().map(|taken| std::mem::take(&mut taken.names)).unwrap_or_default();
    let mut watch = Lendable::new(FilesWatch::new(paths.clone()));
    let mut app = App {
        beside: SideThread::start("changes").context("cannot start a thread")?,
        readers_beside: Arc::new(SideThread::start("readers").context("cannot start a thread")?),
        planner: Lendable::new(Planner::new(
            Scope { namespace, labels },
            Host { listen_addresses, networks: addresses.last().networks().collect(), ..Host::new(seed) },
        )),
        started: Instant::now(),
        draining: false,
        handing_over: false,
        store: Store::new(applied, version),
        state: Lendable::new(state),
        admin: admin.clone(),
        files: Lendable::new(Files::new(paths, state_dir).trusting_all(trust_files)),
        ground: Lendable::new(Ground::default()),
        intent: Arc::default(),
        own: OwnEndpoints::default(),
        sets: Arc::default(),
        former: FormerRoutes::default(),
        plan: watch::Sender::new(Arc::new(Plan::empty(seed))),
        connections,
        assignment: Lendable::new(assignment),
        addresses,
        proxy,
        resolver: Resolver::start(resolve::Upstream::Host, names.clone()),
        down: Down::default(),
        silent: Arc::default(),
        health: Health::default(),
        ejections: Arc::default(),
        missing: Missing::default(),
        view: watch::Sender::new(Arc::new(ReadersView::empty(seed))),
        watchers: SharedWatchers::default(),
        before: watch::Sender::new(None),
        heir: None,
        drain_rate,
        desk: None,
    };
    app.planner.memory.states.answered(Arc::new(names));
    app.assignment.say();
    app.look(true).await;
    if strict {
        prepare::no_errors(problems.iter().chain(app.files.errors()))?;
    }
    if app.plan.borrow().generation == 0 {
        app.follow(app.store.draft()).await;
    }
    if takeover && predecessor.as_ref().is_none_or(|taken| taken.peer().is_none()) {
        app.outlast().await;
    }
    // One port that is taken must not keep the others from being served; with nothing there is nothing to do. But in
    // the place of an agent that has died nobody else will serve.
    if app.serves_nothing() && predecessor.as_ref().is_none_or(|taken| taken.peer().is_some()) {
        app.down.name().await;
        let reasons: Vec<_> = app.down.failures().map(ToString::to_string).collect();
        bail!("nothing can be served: {}", reasons.join("; "));
    }
    limits::enough(workers).map_err(anyhow::Error::msg)?;
    // Before the agent before this one is told to let go, and before what one that is gone has left is replaced: afterwards
    // nothing may fail.
    let desk = Desk::prepare(socket)?;
    match &mut predecessor {
        Some(taken) => {
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            app.succeed(taken, (errors + app.files.errors().count(), &served), &mut signals).await?;
        }
        None => app.begin().await?,
    }
    app.show();
    let (sender, mut commands, front) = front::open(app.readers());
    app.desk = Some(Desk::open(desk, sender));
    app.say_ready(&admin);
    app.say_unserved();
    notify::ready();
    // Only now the old agent may end: systemd must know the new one before it misses the old one.
    app.hear(predecessor).await;
    app.work(&mut signals, &mut commands, &mut watch).await;
    app.drain(drain_timeout, &mut signals, &mut commands).await;
    if let Some(report) = app.heir.take() {
        report.end().await;
    }
    app.assignment.close();
    app.close_desk(&mut commands).await?;
    front.abort();
    log::info!("ended");
    Ok(())
}

impl App {
    /// Looks at the user's files, and puts in force what changed. Returns when to look again, if soon.
    async fn look(&mut self, sure: bool) -> Option<Duration> {
        let look = self.files.with(&self.beside, move |files| files.look(sure)).await;
        look.update.problems.iter().for_each(say);
        if !look.update.is_empty() || (look.update.complete && !self.store.is_complete()) {
            let mut store = self.store.draft();
            store.update(look.update);
            let hidden: HashSet<String> = self.store.hidden().collect();
            store.hidden().filter(|note| !hidden.contains(note)).for_each(|note| log::warn!("{note}"));
            self.follow(store).await;
        }
        look.again
    }

    fn say_ready(&self, admin: &std::path::Path) {
        let plan = self.plan.borrow();
        let served = plan.listeners.iter().map(|listener| listener.address);
        let addresses: Vec<_> =
            served.filter(|address| !self.down.contains(*address)).map(|address| address.to_string()).collect();
        let listening = match addresses.as_slice() {
            [] => "no route yet".to_owned(),
            few if few.len() <= 8 => format!("listening on {}", few.join(", ")),
            many => format!("listening on {} addresses", many.len()),
        };
        log::info!("ready: generation {}, {listening}; admin socket {}", plan.generation, admin.display());
    }
}

/// Says a problem of a file.
fn say(problem: &Problem) {
    match problem.severity {
        Severity::Error => log::error!("{problem}"),
        Severity::Warning => log::warn!("{problem}"),
    }
}
