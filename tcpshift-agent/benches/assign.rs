//! What kernel assignment costs for each new connection: the time in the program, as the kernel counts it, and the time of
//! the agent with and without it, in turn. `cargo xtask bench assign` runs it in a release build, as root.
#![allow(clippy::print_stdout, reason = "a table for people is what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken fails")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tcpshift_agent::admin::api::ApplyRequest;
use tcpshift_agent::admin::client::Client;
use tcpshift_agent::route::read::Document;

/// Connections of one round, and rounds with each way to decide.
const CONNECTIONS: u32 = 10_000;
const ROUNDS: usize = 5;
/// The program must take less for each connection.
const PROMISED: Duration = Duration::from_micros(1);
/// Where the kernel is told to count the time of programs.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        println!("only root may load programs; type: sudo env \"PATH=$PATH\" cargo xtask bench assign");
        return ExitCode::FAILURE;
    }
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = endpoint.local_addr().unwrap().port();
    std::thread::spawn(move || endpoint.incoming().for_each(drop));
    let (mut by_kernel, mut by_agent, mut in_program) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        by_agent.push(round("agent", to).agent);
        let Round { agent, program } = round("kernel", to);
        by_kernel.push(agent);
        in_program.push(program.unwrap());
    }
    println!(
        "{CONNECTIONS} connections a round, one after the other, {ROUNDS} rounds, medians; two destinations, by connection\n"
    );
    let (runs, nanoseconds): (Vec<f64>, Vec<f64>) = in_program.into_iter().unzip();
    let (by_agent, by_kernel, nanoseconds) = (median(by_agent), median(by_kernel), median(nanoseconds));
    println!("the program, of each connection       {:>8.1} calls {:>8.0} ns", median(runs), nanoseconds);
    println!("the agent, where it decides itself    {by_agent:>23.0} ns of processor time");
    println!("the agent, where the program decides  {by_kernel:>23.0} ns of processor time");
    println!("together, with against without        {:>22.3}x", (by_kernel + nanoseconds) / by_agent);
    let is_held = nanoseconds < PROMISED.as_nanos() as f64;
    println!("\nthe program takes {nanoseconds:.0} ns of {PROMISED:?}: {}", if is_held { "held" } else { "MISSED" });
    if is_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of one connection, on average.
struct Round {
    /// Nanoseconds of the agent's processor time, that of the kernel for it included.
    agent: f64,
    /// Calls of the program, and nanoseconds in it.
    program: Option<(f64, f64)>,
}

fn round(assign: &str, endpoint: u16) -> Round {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), assign);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::new(folder.path().join("admin.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begin = Instant::now();
        while client.status().await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the agent does not answer");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let documents = vec![Document { name: "bench.yaml".to_owned(), text: objects(port, endpoint) }];
        client
            .apply(&ApplyRequest { documents, namespace: None, dry_run: false, force: false, strict: false })
            .await
            .unwrap();
    });
    let decided = |status: tcpshift_agent::admin::api::StatusReply| (status.assignment.kernel, status.assignment.agent);
    connect(port, CONNECTIONS / 10);
    let counting = (assign == "kernel").then(Counting::begin);
    let before = agent.processor_time();
    connect(port, CONNECTIONS);
    let took = agent.processor_time().saturating_sub(before);
    let program = counting.map(Counting::end);
    let (kernel, other) = decided(runtime.block_on(client.status()).unwrap());
    let all = u64::from(CONNECTIONS + CONNECTIONS / 10);
    assert_eq!((kernel, other), if assign == "kernel" { (all, 0) } else { (0, 0) });
    Round { agent: took.as_nanos() as f64 / f64::from(CONNECTIONS), program }
}

fn connect(port: u16, count: u32) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// The kernel counts the time of programs while this lives.
struct Counting {
    before: (u64, u64),
    was: String,
}

impl Counting {
    fn begin() -> Self {
        let was = std::fs::read_to_string(STATS).unwrap();
        std::fs::write(STATS, "1").unwrap();
        Self { before: counted(), was }
    }

    /// Calls and nanoseconds of each connection since the beginning.
    fn end(self) -> (f64, f64) {
        let (after, before) = (counted(), self.before);
        std::fs::write(STATS, self.was.trim()).unwrap();
        let each = |after: u64, before: u64| (after - before) as f64 / f64::from(CONNECTIONS);
        (each(after.0, before.0), each(after.1, before.1))
    }
}

/// Calls and nanoseconds of the newest program of the name, which is the one of the agent that was just started.
fn counted() -> (u64, u64) {
    let output = Command::new("bpftool").args(["-j", "prog", "show"]).env("PATH", "/usr/sbin:/usr/bin:/sbin").output();
    let programs: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let ours = programs.as_array().unwrap().iter().filter(|program| program["name"] == "assign");
    let newest = ours.max_by_key(|program| program["id"].as_u64()).expect("the program is loaded");
    let number = |field: &str| newest[field].as_u64().unwrap_or_default();
    (number("run_cnt"), number("run_time_ns"))
}

/// An agent of its own, in a cgroup of its own as a service is; it ends with the round.
struct Agent {
    process: Child,
    cgroup: PathBuf,
}

impl Agent {
    fn start(folder: &Path, assign: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("cgroup2 is mounted");
        let cgroup = Path::new(mount.split(' ').nth(1).unwrap()).join(format!("tcpshift-bench-{}", std::process::id()));
        std::fs::create_dir(&cgroup).unwrap();
        // What it pins goes with a mount of its own, however it ends.
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--",
                "sh",
                "-c",
                "mount -t bpf bpf /sys/fs/bpf && echo $$ > \"$0\"/cgroup.procs && exec \"$@\"",
            ])
            .arg(&cgroup);
        command.args([
            env!("CARGO_BIN_EXE_tcpshift-agent"),
            "run",
            "--datapath",
            "proxy",
            "--assign",
            assign,
            "--state-dir",
        ]);
        command.arg(folder.join("state")).env("RUST_LOG", "error").stdin(Stdio::null());
        command.env("TCPSHIFT_ADMIN", format!("unix:{}", folder.join("admin.sock").display()));
        Self { process: command.spawn().unwrap(), cgroup }
    }

    /// Processor time until now, as /proc/PID/stat has it in hundredths of a second, to which it is exact enough over a
    /// round.
    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        // The kernel takes a moment to see that nobody is in it.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A Gateway at a port, and a route to two destinations that are one endpoint.
fn objects(port: u16, endpoint: u16) -> String {
    let entry = |version: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: bench-{version}}}\n\
             spec: {{address: 127.0.0.1, labels: {{app: bench, version: {version}}}, ports: {{tcp: {endpoint}}}}}\n---\n"
        )
    };
    let to = |version: &str, weight: u32| {
        format!(
            "    - destination: {{host: bench, subset: {version}, port: {{number: 9000}}}}\n      weight: {weight}\n"
        )
    };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: bench}}\nspec:\n  servers:\n  \
         - {{port: {{number: {port}, name: tcp, protocol: TCP}}, bind: 127.0.0.1, hosts: ['*']}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: bench}}\nspec: {{selector: {{app: bench}}, ports: [{{name: tcp, port: 9000}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: bench}}\nspec:\n  host: bench\n  subsets:\n  \
         - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: v2}}}}\n---\n{}{}\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bench}}\nspec:\n  hosts: ['*']\n  gateways: [bench]\n  \
         tcp:\n  - match: [{{port: {port}}}]\n    route:\n{}{}",
        entry("v1"),
        entry("v2"),
        to("v1", 80),
        to("v2", 20)
    )
}
