//! How does a test run a consortium?
//!
//! `milepost-rsu testnet` makes it in a temporary folder, on ports that are free; each member is a process that
//! writes its log into that folder. When a test fails, the ends of the logs are shown; no process outlives the
//! consortium.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, SystemTime};

use milepost_wire::question::Question;
use milepost_wire::{ChainId, SecretKey, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::founding;
use crate::program::{Program, end_within, kill, signal};
use crate::turn::Turn;
use crate::vehicle::Vehicle;
use crate::wait::eventually;

/// How long a member may take until its API answers.
const START_MAX: Duration = Duration::from_secs(30);
/// How long a member may take to end.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long it may take until a member knows a proposal.
const DECIDE_MAX: Duration = Duration::from_secs(60);
/// How long `join` may take.
const JOIN_MAX: Duration = Duration::from_secs(120);
/// Lines of a log that a failed test shows.
const LOG_LINES_SHOWN: usize = 25;
/// Units for which ports are kept beside the members'.
const JOINING_MAX: usize = 1;
/// Ports below those that the system gives out by itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What consortium a test wants.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// How many members.
    pub members: usize,
    /// How many vehicles are enrolled.
    pub vehicles: usize,
    /// As for `testnet --config-override`.
    pub overrides: &'a [&'a str],
    /// As for `testnet --tls`.
    pub tls: bool,
}

impl Default for Plan<'_> {
    /// Four members; slots of 5 s and epochs of 10 s, so that pay comes while a test waits for it, and a block
    /// every second at least, so that it comes even where nobody drives any more.
    fn default() -> Self {
        Self {
            members: 4,
            vehicles: 8,
            overrides: &[
                "params.slot_ms=5000",
                "params.epoch_ms=10000",
                "params.freshness_ms.speed=8000",
                // An epoch is paid once nothing of it can come any more, of whatever kind.
                "params.freshness_ms.congestion=8000",
                "params.freshness_ms.humidity=8000",
                "params.freshness_ms.hazard=8000",
                "config.node.heartbeat_ms=1000",
            ],
            tls: false,
        }
    }
}

/// A testnet in a folder of its own.
#[derive(Debug)]
pub struct Consortium {
    members: Vec<Member>,
    base_port: usize,
    vehicles: usize,
    tls: bool,
    folder: TempDir,
    _turn: Turn,
}

#[derive(Debug)]
struct Member {
    home: PathBuf,
    chain: ChainId,
    log: PathBuf,
    api: String,
    endpoint: String,
    environment: Vec<(String, String)>,
    process: Option<Child>,
}

impl Consortium {
    /// Makes one; nobody runs yet.
    pub fn make(plan: Plan<'_>) -> Self {
        let turn = Turn::wait();
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let base_port = free_ports(2 * (plan.members + JOINING_MAX));
        let net = folder.path().join("net");
        let mut command = Program::Rsu.command();
        command.arg("testnet").arg("--out").arg(&net);
        for (name, number) in [
            ("--members", plan.members),
            ("--vehicles", plan.vehicles),
            ("--base-port", base_port.into()),
        ] {
            command.arg(name).arg(number.to_string());
        }
        if plan.tls {
            command.arg("--tls");
        }
        let protocol = if plan.tls { "tls" } else { "tcp" };
        for given in plan.overrides {
            command.args(["--config-override", given]);
        }
        let _ = crate::Said::by(&mut command, START_MAX).ended_with(0);
        let chain = known(&net).chain;
        let members = (0..plan.members)
            .map(|nth| Member {
                chain: chain.clone(),
                home: net.join(format!("member-{nth}")),
                log: folder.path().join(format!("member-{nth}.log")),
                api: format!("http://127.0.0.1:{}", usize::from(base_port) + 2 * nth),
                endpoint: format!("{protocol}/127.0.0.1:{}", usize::from(base_port) + 2 * nth + 1),
                environment: Vec::new(),
                process: None,
            })
            .collect();
        Self {
            members,
            base_port: usize::from(base_port),
            vehicles: plan.vehicles,
            tls: plan.tls,
            folder,
            _turn: turn,
        }
    }

    /// Makes one as operators of real units do, with secured links: `init` at each unit, link certificates by each
    /// provider's own authority, and `genesis`. No vehicle is enrolled; nobody runs yet. See docs/operations.md.
    pub fn founded(members: usize) -> Self {
        let turn = Turn::wait();
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let base_port = usize::from(free_ports(2 * (members + JOINING_MAX)));
        let net = folder.path().join("net");
        let endpoint = |nth: usize| format!("tls/127.0.0.1:{}", base_port + 2 * nth + 1);
        let api = |nth: usize| format!("127.0.0.1:{}", base_port + 2 * nth);
        let units: Vec<_> = (0..members).map(|nth| (endpoint(nth), api(nth))).collect();
        founding::found(folder.path(), &units);
        let chain = known(&net).chain;
        let members = (0..members)
            .map(|nth| Member {
                chain: chain.clone(),
                home: net.join(format!("member-{nth}")),
                log: folder.path().join(format!("member-{nth}.log")),
                api: format!("http://{}", api(nth)),
                endpoint: endpoint(nth),
                environment: Vec::new(),
                process: None,
            })
            .collect();
        Self {
            members,
            base_port,
            vehicles: 0,
            tls: true,
            folder,
            _turn: turn,
        }
    }

    /// Makes a vehicle's key, and has a member enrol it, in a group of its own.
    pub fn enrol(&mut self, nth: usize) -> Vehicle {
        let key = self
            .net()
            .join(format!("vehicles/vehicle-{:04}.key", self.vehicles));
        let path = key.to_str().expect("temporary folders have plain names");
        let made = Program::Obu
            .run(["keygen", "--json", "--out", path])
            .ended_with(0)
            .json();
        let (key, group) = (
            made["public_key"].as_str().expect("a key"),
            self.vehicles.to_string(),
        );
        let _ = self
            .operate(nth, &["vehicle", "enrol", "--key", key, "--group", &group])
            .ended_with(0);
        self.vehicles += 1;
        self.vehicle(self.vehicles - 1)
    }

    /// Makes one, and starts all its members.
    pub fn running(plan: Plan<'_>) -> Self {
        let mut consortium = Self::make(plan);
        consortium.start_all();
        consortium
    }

    /// All members, by number.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.members.len()
    }

    /// Where a test may put its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A member's home.
    pub fn home(&self, nth: usize) -> &Path {
        &self.members[nth].home
    }

    /// The key that a member signs with.
    pub fn secret(&self, nth: usize) -> SecretKey {
        self.members[nth].secret().expect("testnet wrote it")
    }

    /// Where a member's API is.
    pub fn api(&self, nth: usize) -> &str {
        &self.members[nth].api
    }

    /// Where a member hears.
    pub fn endpoint(&self, nth: usize) -> &str {
        &self.members[nth].endpoint
    }

    /// What everybody knows of it.
    pub fn known(&self) -> milepost_wire::Consortium {
        known(&self.net())
    }

    /// An enrolled vehicle that knows all members, beginning with another one for each vehicle.
    pub fn vehicle(&self, nth: usize) -> Vehicle {
        assert!(nth < self.vehicles, "only {} are enrolled", self.vehicles);
        let mut connect: Vec<String> = self
            .members
            .iter()
            .map(|member| member.endpoint.clone())
            .collect();
        connect.rotate_left(nth % self.members.len());
        Vehicle {
            key: self.net().join(format!("vehicles/vehicle-{nth:04}.key")),
            consortium: self.net().join("consortium.json"),
            connect,
            tls: self.tls.then(|| self.net().join("vehicles/tls")),
        }
    }

    /// What `testnet` made.
    pub fn net(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// Lets one more unit into the chain by `milepost-rsu join`, knowing all the others and the hash of the genesis; it
    /// does not run yet. Returns its number, and what `join` said.
    pub fn join(&mut self) -> (usize, Value) {
        let (nth, net) = (self.members.len(), self.net());
        let (api, zenoh) = (self.base_port + 2 * nth, self.base_port + 2 * nth + 1);
        let (home, api) = (net.join(format!("member-{nth}")), format!("127.0.0.1:{api}"));
        let endpoint = format!("tcp/127.0.0.1:{zenoh}");
        let status = self.get(0, "/v1/status").expect("member 0 answers");
        let mut command = Program::Rsu.command();
        command.arg("join").arg("--json").arg("--home").arg(&home);
        command.args(["--genesis-hash", status["genesis"].as_str().expect("a hash")]);
        command.args(["--listen", &endpoint, "--api", &api]);
        for member in &self.members {
            command.args(["--peer", &member.endpoint]);
        }
        let joined = crate::Said::by(&mut command, JOIN_MAX).ended_with(0).json();
        self.members.push(Member {
            home,
            chain: self.known().chain,
            log: self.folder.path().join(format!("member-{nth}.log")),
            api: format!("http://{api}"),
            endpoint,
            environment: Vec::new(),
            process: None,
        });
        (nth, joined)
    }

    /// A command that a member's operator gives, with the member's home and `--json`, to its end.
    pub fn operate(&self, nth: usize, arguments: &[&str]) -> crate::Said {
        let home = self
            .home(nth)
            .to_str()
            .expect("temporary folders have plain names");
        Program::Rsu.run(arguments.iter().chain(&["--home", home, "--json"]))
    }

    /// Variables that a member's process has from its next start on.
    pub fn set_environment(&mut self, nth: usize, environment: Vec<(String, String)>) {
        self.members[nth].environment = environment;
    }

    /// From its next start on, a member links to another by the endpoint that `by` gives for its address.
    pub fn reroute(&self, nth: usize, other: usize, by: impl FnOnce(&str) -> String) {
        let path = self.members[nth].home.join("rsu.toml");
        let text = std::fs::read_to_string(&path).expect("testnet wrote it");
        let endpoint = &self.members[other].endpoint;
        let (protocol, address) = endpoint.split_once('/').expect("an endpoint");
        let changed = text.replace(&**endpoint, &format!("{protocol}/{}", by(address)));
        assert_ne!(changed, text, "member {nth} does not link to member {other}");
        std::fs::write(&path, changed).expect("the testnet's folder can be written");
    }

    /// Starts those that are not running, and waits until each answers.
    pub fn start_all(&mut self) {
        for nth in self.all() {
            if self.members[nth].process.is_none() {
                self.spawn(nth);
            }
        }
        for nth in self.all() {
            self.wait_until_it_answers(nth);
        }
    }

    /// Starts one, and waits until it answers.
    pub fn start(&mut self, nth: usize) {
        self.spawn(nth);
        self.wait_until_it_answers(nth);
    }

    fn spawn(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        assert!(member.process.is_none(), "member {nth} is running already");
        let log = File::options().create(true).append(true).open(&member.log);
        let log = log.expect("the testnet's folder can be written");
        let errors = log.try_clone().expect("a handle can be cloned");
        let mut command = Program::Rsu.command();
        command.arg("run").arg("--home").arg(&member.home);
        let environment = member.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value)));
        let process = command
            .stdin(std::process::Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        member.process = Some(process.expect("it was found, so it can be started"));
    }

    fn wait_until_it_answers(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        eventually(&format!("member {nth}'s API answers"), START_MAX, || {
            let process = member.process.as_mut().expect("it was started");
            let ended = process.try_wait().expect("one's own child can be waited for");
            if let Some(status) = ended {
                panic!("member {nth} ended at its start: {status}");
            }
            member.get("/v1/status")
        });
    }

    /// SIGKILL to one.
    pub fn kill(&mut self, nth: usize) {
        if let Some(mut process) = self.members[nth].process.take() {
            kill(&mut process);
        }
    }

    /// SIGSTOP to one: it keeps its connections and does nothing.
    pub fn freeze(&self, nth: usize) {
        signal(self.process(nth), "STOP");
    }

    /// SIGCONT to one: it goes on where it was.
    pub fn thaw(&self, nth: usize) {
        signal(self.process(nth), "CONT");
    }

    fn process(&self, nth: usize) -> &Child {
        let process = self.members[nth].process.as_ref();
        process.unwrap_or_else(|| panic!("member {nth} is not running"))
    }

    /// SIGTERM to one; it must end with status 0 and never have panicked.
    pub fn stop(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        let mut process = member.process.take().expect("it is running");
        signal(&process, "TERM");
        let status = end_within(&mut process, STOP_MAX);
        let ended_well = status.is_some_and(|status| status.success());
        assert!(ended_well, "member {nth} did not end well: {status:?}");
        let log = self.log(nth);
        assert!(!panicked(&log), "member {nth} panicked:\n{log}");
    }

    /// [`Consortium::stop`] for all that run.
    pub fn stop_all(&mut self) {
        for nth in self.all() {
            if self.members[nth].process.is_some() {
                self.stop(nth);
            }
        }
    }

    /// Whether a member has not ended by itself.
    pub fn is_up(&mut self, nth: usize) -> bool {
        let process = self.members[nth].process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Takes note that a member has ended by itself, so that it can be started again.
    pub fn forget_ended(&mut self, nth: usize) {
        assert!(!self.is_up(nth), "member {nth} is running");
        self.members[nth].process = None;
    }

    /// A member's resident memory, in kB.
    pub fn resident_kb(&self, nth: usize) -> u64 {
        let path = format!("/proc/{}/status", self.process(nth).id());
        let status = std::fs::read_to_string(path).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kb.and_then(|kb| kb.parse().ok()).expect("Linux tells it so")
    }

    /// All that a member ever logged.
    pub fn log(&self, nth: usize) -> String {
        let bytes = std::fs::read(&self.members[nth].log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a member answers its own operator; `None` where it does not.
    pub fn get(&self, nth: usize, path: &str) -> Option<Value> {
        self.members[nth].get(path)
    }

    /// The first of `members` proposes, the others approve; returns the height from which on it holds.
    pub fn decide(&self, proposal: &[&str], members: &[usize]) -> u64 {
        let proposed = self.operate(members[0], proposal).ended_with(0).json();
        assert_eq!(proposed["standing"], "open");
        let number = proposed["proposal"].clone();
        let id = number.to_string();
        let again = self.operate(members[0], &["approve", &id]);
        assert!(again.ended_with(1).stderr.contains("already"));
        let mut last = proposed;
        for nth in &members[1..] {
            // It may hear of the block a moment after the one before.
            eventually("the proposal is known", DECIDE_MAX, || {
                let open = self.get(*nth, "/v1/proposals")?;
                let open = open["open"].as_array()?.iter().any(|open| open["id"] == number);
                open.then_some(())
            });
            last = self.operate(*nth, &["approve", &id]).ended_with(0).json();
        }
        assert_eq!(last["standing"], "decided", "{last}");
        let from = last["from"].as_u64().expect("a height");
        assert!(from >= last["height"].as_u64().expect("a height") + 2, "{last}");
        from
    }

    /// A figure of a member's `/metrics`; `None` where it does not answer, or there is none of that name.
    pub fn metric(&self, nth: usize, series: &str) -> Option<i64> {
        let url = format!("{}/metrics", self.members[nth].api);
        let page = agent().get(url).call().ok()?.body_mut().read_to_string().ok()?;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// Waits until each of these members hears all the others, as zenoh tells: none is left deaf.
    pub fn hear_each_other(&self, members: impl IntoIterator<Item = usize>, within: Duration) {
        let members: Vec<usize> = members.into_iter().collect();
        for nth in &members {
            eventually(&format!("member {nth} hears the others"), within, || {
                let peers = self.get(*nth, "/v1/status")?["peers"].as_u64()?;
                (peers as usize + 1 >= members.len()).then_some(())
            });
        }
    }

    /// The newest block that a member has; `None` where it does not answer.
    pub fn height(&self, nth: usize) -> Option<u64> {
        self.get(nth, "/v1/status")?["height"].as_u64()
    }

    /// Waits until a member has this block.
    pub fn reach(&self, nth: usize, height: u64, within: Duration) {
        eventually(&format!("member {nth} has block {height}"), within, || {
            self.height(nth).filter(|found| *found >= height)
        });
    }

    /// Checks that these members have the same newest common block, and returns its height.
    pub fn agree(&self, members: impl IntoIterator<Item = usize>) -> u64 {
        let members: Vec<usize> = members.into_iter().collect();
        let heights: Vec<u64> = members
            .iter()
            .map(|nth| {
                self.height(*nth)
                    .unwrap_or_else(|| panic!("member {nth} does not answer"))
            })
            .collect();
        let height = *heights.iter().min().expect("some member is asked");
        assert!(height > 0, "there is no block yet: {heights:?}");
        let named: Vec<[String; 2]> = members.iter().map(|nth| self.block(*nth, height)).collect();
        assert!(
            named.iter().all(|other| *other == named[0]),
            "members {members:?} differ at height {height} in [block, state root]: {named:#?}"
        );
        height
    }

    /// Hash and state root of a member's block at `height`.
    pub fn block(&self, nth: usize, height: u64) -> [String; 2] {
        let block = self.get(nth, &format!("/v1/blocks/{height}"));
        let block = block.unwrap_or_else(|| panic!("member {nth} has no block {height}"));
        ["hash", "state_root"].map(|name| block[name].as_str().expect("a block has it").to_owned())
    }
}

impl Drop for Consortium {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for nth in self.all() {
                let status = self.get(nth, "/v1/status").unwrap_or_default();
                eprintln!(
                    "-- member {nth}, {}: block {}, {} peers",
                    status["id"], status["height"], status["peers"]
                );
            }
        }
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                kill(&mut process);
            }
        }
        if std::thread::panicking() {
            for nth in self.all() {
                let log = self.log(nth);
                let lines: Vec<&str> = log.lines().collect();
                let end = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
                eprintln!("-- the end of member {nth}'s log\n{}", end.join("\n"));
            }
        }
    }
}

fn known(net: &Path) -> milepost_wire::Consortium {
    let text = std::fs::read_to_string(net.join("consortium.json")).expect("testnet wrote it");
    serde_json::from_str(&text).expect("testnet wrote it")
}

/// Whether a thread of ours panicked.
///
/// When several routers end at the same time, a receiving thread of zenoh 1.10.2 may panic while the router takes leave of
/// its neighbours' declarations: <https://github.com/eclipse-zenoh/zenoh/issues/2624>. Only that one panic is no fault of
/// the member's, and only where the member is stopping: anywhere else, a thread less would leave it deaf.
fn panicked(log: &str) -> bool {
    let mut lines = log.lines().peekable();
    let mut stopping = false;
    while let Some(line) = lines.next() {
        if line.ends_with("milepost_rsu::run: stopping") {
            stopping = true;
        } else if line.contains("starting anew") || line.starts_with("ready: ") {
            // The next run of the same member, in the same log.
            stopping = false;
        }
        if line.contains("panicked at") {
            let place = line.contains("/zenoh-1.10.2/src/net/routing/dispatcher/resource.rs:");
            let what = lines
                .peek()
                .is_some_and(|next| next.contains("`Option::unwrap()` on a `None`"));
            if !(stopping && place && what) {
                return true;
            }
        }
    }
    false
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .build()
        .into()
}

/// An amount as the API tells it, in micro-tokens.
pub fn micro(amount: &Value) -> Option<u64> {
    let amount: milepost_wire::Amount = amount.as_str()?.parse().ok()?;
    Some(amount.micro())
}

impl Member {
    fn secret(&self) -> Option<SecretKey> {
        let key = std::fs::read_to_string(self.home.join("member.key")).ok()?;
        SecretKey::from_hex(key.trim()).ok()
    }

    /// Asks, signing the question with the member's own key.
    fn get(&self, path: &str) -> Option<Value> {
        let key = self.secret()?;
        let signed = Question::authorization(&key, &self.chain, &format!("GET {path}"), now());
        let asked = agent().get(format!("{}{path}", self.api));
        let mut answer = asked.header("Authorization", signed).call().ok()?;
        answer.body_mut().read_json().ok()
    }
}

/// The time by this machine's clock.
pub fn now() -> Timestamp {
    Timestamp::of_system(SystemTime::now())
}

/// The first of `count` ports in a row that nobody listens on. It is the [`Turn`] that keeps them free.
fn free_ports(count: usize) -> u16 {
    // Test programs that follow one another begin elsewhere: a port just closed may still be refused.
    let span = usize::from(PORTS.end - PORTS.start) - count;
    let begin = std::process::id() as usize * 97 % span;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..span)
        .step_by(count)
        .map(|step| PORTS.start + ((begin + step) % span) as u16)
        .find(|base| (*base..*base + count as u16).all(|port| is_free(&port)))
        .unwrap_or_else(|| panic!("there are no {count} free ports in a row from {PORTS:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOPPING: &str = "2026-01-01T00:00:00Z  INFO milepost_rsu::run: stopping\n";
    const UPSTREAM: &str = "thread 'rx-0' panicked at /r/zenoh-1.10.2/src/net/routing/dispatcher/resource.rs:545:61:\n\
                            called `Option::unwrap()` on a `None` value\n";

    #[test]
    fn only_the_one_known_panic_at_the_end_is_passed_over() {
        let ours = "thread 'milepost-core' panicked at node/src/node.rs:1:1:\nwhy\n";
        let other = UPSTREAM.replace("resource.rs", "tables.rs");
        let start = "ready: api http://127.0.0.1:1 zenoh tcp/127.0.0.1:2\n";
        assert!(!panicked(STOPPING));
        assert!(!panicked(&format!("{STOPPING}{UPSTREAM}")));
        assert!(panicked(UPSTREAM), "before the end it leaves the member deaf");
        assert!(panicked(&format!("{UPSTREAM}{STOPPING}")));
        assert!(
            panicked(&format!("{STOPPING}{start}{UPSTREAM}")),
            "the next run is not ending"
        );
        assert!(panicked(&format!("{STOPPING}{ours}")));
        assert!(panicked(&format!("{STOPPING}{other}")));
        assert!(panicked(&format!(
            "{STOPPING}{}",
            UPSTREAM.replace("Option", "Result")
        )));
    }
}
