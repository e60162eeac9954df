//! A second host: a network namespace at the other end of a veth pair.

use crate::crowd::Location;
use crate::process::{Process, command, run};
use crate::steer::ip;
use crate::until::{seconds, until_so};
use crate::world::World;

/// The namespace. It has the addresses `10.98.0.2` and `fd98::2`; the world's end of the cable has `10.98.0.1` and `fd98::1`.
#[derive(Debug)]
pub struct Neighbour(Process);

impl Neighbour {
    /// Makes the namespace and the veth pair.
    pub fn new(world: &World) -> Self {
        let mut sleeper = command("unshare");
        sleeper.args(["--net", "--", "sh", "-c", "echo there && exec sleep 300"]);
        let process = Process::start(world, "neighbour", sleeper);
        until_so("the neighbour is there", seconds(10), || process.stdout() == "there\n");
        let neighbour = Self(process);
        ip(&format!("link add cable type veth peer name cable netns {}", neighbour.0.pid()));
        ip("addr add 10.98.0.1/24 dev cable");
        ip("addr add fd98::1/64 dev cable nodad");
        ip("link set cable up");
        neighbour.ip("addr add 10.98.0.2/24 dev cable");
        neighbour.ip("addr add fd98::2/64 dev cable nodad");
        neighbour.ip("link set cable up");
        neighbour
    }

    /// Makes a VLAN on the cable, in which the world has `10.97.0.1` and the neighbour `10.97.0.2`. Returns whether the
    /// kernel has VLANs (the module `8021q`) at all.
    #[must_use]
    pub fn vlan(&self) -> bool {
        let link = "link add link cable name vlan type vlan id 7";
        let mut add = command("ip");
        add.args(link.split(' '));
        let added = run(add, b"", seconds(10));
        if added.stderr.contains("Unknown device type") {
            return false;
        }
        added.expect(0);
        for words in ["addr add 10.97.0.1/24 dev vlan", "link set vlan up"] {
            ip(words);
        }
        for words in [link, "addr add 10.97.0.2/24 dev vlan", "link set vlan up"] {
            self.ip(words);
        }
        true
    }

    /// Where its clients are.
    pub fn location(&self) -> Location<'_> {
        Location::Namespace(self.0.pid())
    }

    /// Runs `ip WORDS` there.
    fn ip(&self, words: &str) {
        let mut there = self.location().command("ip");
        there.args(words.split(' '));
        run(there, b"", seconds(10)).expect(0);
    }
}
