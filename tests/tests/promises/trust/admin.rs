//! The admin socket: root's commands talk only to an agent of root, and no route leads to the socket.

use std::os::unix::fs::{chown, symlink};

use tcpshift_tests::agent::{Agent, cli, socket_word};
use tcpshift_tests::client::{ENTRANCE, ask};
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::process::built;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{STRANGER, give_away, set_mode, stranger};

const AGENT: [&str; 4] = ["--assign", "agent", "--datapath", "proxy"];

#[test]
fn commands_of_root_say_nothing_to_an_agent_of_another_user() {
    let world = World::new();
    let address = socket_word(&world, "agent");
    let status = |environment: &[(&str, &str)]| {
        let environment: Vec<_> = environment.iter().copied().chain([("TCPSHIFT_ADMIN", address.as_str())]).collect();
        cli(&environment, &["status"], b"")
    };
    // In a folder of the other user's own, as one below /tmp is.
    give_away(world.path(""));
    let agent = Agent::launch(&world, "agent", stranger(built("tcpshift-agent")), &AGENT).ready();
    let said = format!("a process of user {STRANGER} listens at");
    status(&[]).expect(1).complains(&said).complains("nothing was sent").complains("--admin unix:PATH");
    status(&[("SUDO_UID", &STRANGER.to_string())]).expect(0);
    let mut successor = agent.successor("successor", tcpshift_tests::process::command(built("tcpshift-agent")), &AGENT);
    assert_eq!(successor.process().wait(seconds(20)).code(), Some(1), "{}", successor.log());
    assert!(
        successor.log().contains("belongs to user") || successor.log().contains("no takeover"),
        "{}",
        successor.log()
    );
    // In a folder of root's that only that user's group may write to.
    chown(world.path(""), Some(0), Some(STRANGER)).unwrap();
    set_mode(world.path(""), 0o770);
    status(&[]).expect(0);
    set_mode(world.path(""), 0o777);
    status(&[]).expect(1).complains(&said);
}

#[test]
fn an_agent_of_root_that_can_make_no_socket_in_a_folder_of_another_user_says_so() {
    let world = World::new();
    let theirs = world.folder("theirs");
    give_away(&theirs);
    let address = format!("unix:{}", theirs.join("admin.sock").display());
    let words: Vec<&str> = AGENT.into_iter().chain(["--admin", &address]).collect();
    let mut agent = Agent::launch(&world, "agent", tcpshift_tests::process::command(built("tcpshift-agent")), &words);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1), "{}", agent.log());
    let said = format!("whose folder belongs to user {STRANGER}");
    assert!(agent.log().contains(&said) && agent.log().contains("--admin unix:PATH"), "{}", agent.log());
}

#[test]
fn no_route_leads_to_the_agents_own_admin_socket() {
    let world = World::new();
    let agent = Agent::start(&world, &AGENT);
    let socket = agent.socket();
    let link = world.path("link.sock");
    symlink(&socket, &link).unwrap();
    symlink(world.path(""), world.path("folder")).unwrap();
    let mounted = world.folder("mounted");
    rustix::mount::mount_bind(world.path(""), &mounted).unwrap();
    let said = "endpoint is a listener of this agent";
    for path in [
        socket,
        link,
        world.path("folder/agent.sock"),
        mounted.join("agent.sock"),
        world.path("../").join(world.path("").file_name().unwrap()).join("agent.sock"),
    ] {
        let endpoint = entry("v1-of-the-agent", "v1", &format!("unix://{}", path.display()), 9000);
        let endpoint = endpoint.without("spec.ports");
        agent.apply(base() + route(&[("v1", 1)]));
        let others: Vec<String> =
            agent.objects("we").iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        for other in others {
            agent.cli(&["delete", "--force", "we", &other]).expect(0);
        }
        agent.apply(&endpoint);
        assert!(ask(ENTRANCE).is_err(), "{}", path.display());
        until_so(&format!("the reason is said: {}", path.display()), seconds(5), || {
            agent.cli(&["status", "-o", "json"]).expect(0).stdout.contains(said)
        });
    }
    drop(agent);
    rustix::mount::unmount(&mounted, rustix::mount::UnmountFlags::DETACH).unwrap();
}
