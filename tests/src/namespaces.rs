//! How does a test cut a member off?
//!
//! Each member gets a network namespace of its own, and a cable (a veth pair) to a switch (a bridge) that stands in
//! one more namespace: nothing of it touches the machine's own network. A cable is pulled at the switch, which the
//! member does not notice; and a member can be made unable to send to another, while it still hears it.
//!
//! It takes root and iproute2: [`Namespaces::make`] says so where they are missing.

use std::process::Command;

/// So many namespaces on one switch; gone when dropped.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    count: usize,
}

impl Namespaces {
    /// Makes them.
    ///
    /// # Errors
    ///
    /// Why there can be none on this machine, for a test that then has nothing to say.
    pub fn make(count: usize) -> Result<Self, String> {
        let made = Self {
            prefix: format!("mp{}", std::process::id()),
            count,
        };
        let switch = made.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        for nth in 0..count {
            let (space, port) = (made.name(nth), port(nth));
            ip(&["netns", "add", &space])?;
            ip(&[
                "-n", &space, "link", "add", "cable", "type", "veth", "peer", "name", &port, "netns", &switch,
            ])?;
            ip(&[
                "-n",
                &space,
                "addr",
                "add",
                &format!("{}/24", address(nth)),
                "dev",
                "cable",
            ])?;
            for device in ["lo", "cable"] {
                ip(&["-n", &space, "link", "set", device, "up"])?;
            }
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
        }
        Ok(made)
    }

    /// A member's namespace.
    pub fn name(&self, nth: usize) -> String {
        format!("{}-{nth}", self.prefix)
    }

    /// The same command, within a member's namespace.
    pub fn within(&self, nth: usize, command: &Command) -> Command {
        let mut moved = Command::new("ip");
        moved.args(["netns", "exec", &self.name(nth)]);
        moved.arg(command.get_program()).args(command.get_args());
        moved
    }

    /// Pulls a member's cable, or plugs it in again.
    pub fn plug(&self, nth: usize, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        ip(&["-n", &self.switch(), "link", "set", &port(nth), state]).expect("the switch is there");
    }

    /// From now on nothing that `from` sends reaches `to`; or again it does.
    pub fn mute(&self, from: usize, to: usize, muted: bool) {
        let verb = if muted { "add" } else { "del" };
        let route = format!("{}/32", address(to));
        ip(&["-n", &self.name(from), "route", verb, "blackhole", &route]).expect("the member is there");
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.count).map(|nth| self.name(nth)).chain([self.switch()]) {
            // It may not have been made.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A member's address on the switch.
pub fn address(nth: usize) -> String {
    format!("10.77.0.{}", nth + 1)
}

fn port(nth: usize) -> String {
    format!("port{nth}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let said = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("there is no `ip`: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), why.trim()))
}
