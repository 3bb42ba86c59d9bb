//! A real consortium on this machine: its folder, its ports, its processes.
//!
//! `milepost-rsu testnet` makes the homes, one `milepost-rsu run` a member runs in each. Whatever way this program
//! ends, short of being killed itself, dropping a [`Consortium`] ends its processes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

/// The first ports that are tried.
const PORTS: std::ops::Range<u16> = 21_000..60_000;
/// How long members may take until their API answers.
const START_MAX: Duration = Duration::from_secs(30);
/// How long members may take to end in order.
const END_MAX: Duration = Duration::from_secs(5);

/// Running members.
pub(super) struct Consortium {
    folder: PathBuf,
    base_port: u16,
    program: PathBuf,
    children: Vec<Child>,
    agent: ureq::Agent,
}

impl Consortium {
    /// Makes the homes in `folder` and starts a process in each.
    ///
    /// # Errors
    ///
    /// Where `milepost-rsu` is missing, or does not do as it is told.
    pub(super) fn start(
        folder: &Path,
        members: usize,
        vehicles: usize,
        overrides: &[String],
    ) -> anyhow::Result<Self> {
        let program = program()?;
        let base_port = free_ports(2 * members as u16)?;
        let mut testnet = Command::new(&program);
        testnet.arg("testnet").arg("--out").arg(folder);
        for (name, value) in [
            ("--members", members.to_string()),
            ("--vehicles", vehicles.to_string()),
            ("--base-port", base_port.to_string()),
        ] {
            testnet.args([name, &value]);
        }
        for setting in overrides {
            testnet.args(["--config-override", setting]);
        }
        let made = testnet
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if !made.status.success() {
            bail!(
                "milepost-rsu testnet failed: {}",
                String::from_utf8_lossy(&made.stderr).trim()
            );
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let mut consortium = Self {
            folder: folder.to_owned(),
            base_port,
            program,
            children: Vec::new(),
            agent,
        };
        for member in 0..members {
            let child = consortium.spawn(member)?;
            consortium.children.push(child);
        }
        Ok(consortium)
    }

    fn spawn(&self, member: usize) -> anyhow::Result<Child> {
        let home = self.home(member);
        let log = std::fs::File::create(self.log(member))
            .with_context(|| format!("cannot write {}", self.log(member).display()))?;
        Command::new(&self.program)
            .args(["run", "--home"])
            .arg(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))
    }

    /// How many members.
    pub(super) fn count(&self) -> usize {
        self.children.len()
    }

    /// A member's folder.
    pub(super) fn home(&self, member: usize) -> PathBuf {
        self.folder.join(format!("member-{member}"))
    }

    fn log(&self, member: usize) -> PathBuf {
        self.home(member).join("rsu.log")
    }

    /// Where a member's API is.
    pub(super) fn api(&self, member: usize) -> String {
        format!("http://127.0.0.1:{}", self.base_port + 2 * member as u16)
    }

    /// Where the members listen for vehicles.
    pub(super) fn endpoints(&self) -> Vec<String> {
        (0..self.count() as u16)
            .map(|member| format!("tcp/127.0.0.1:{}", self.base_port + 2 * member + 1))
            .collect()
    }

    /// What a member's API answers.
    ///
    /// # Errors
    ///
    /// Where it does not, or its process is no more.
    pub(super) fn ask(&self, member: usize, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.api(member));
        let mut response = self
            .agent
            .get(&url)
            .call()
            .with_context(|| format!("cannot ask {url}"))?;
        let body = response.body_mut().with_config().limit(64 << 20).read_json();
        body.with_context(|| format!("cannot read the answer of {url}"))
    }

    /// Waits until every member's API answers and sees the others.
    ///
    /// # Errors
    ///
    /// Where one ends, or takes too long; with the end of its log.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for member in 0..self.count() {
            loop {
                if let Some(status) = self.children[member].try_wait()? {
                    bail!("member {member} ended ({status}): {}", self.last_words(member));
                }
                let peers = self
                    .ask(member, "/v1/status")
                    .ok()
                    .and_then(|status| status["peers"].as_u64());
                if peers.is_some_and(|peers| peers as usize + 1 >= self.count()) {
                    break;
                }
                if begun.elapsed() > START_MAX {
                    bail!(
                        "member {member} is not ready after {} s ({peers:?} peers): {}",
                        START_MAX.as_secs(),
                        self.last_words(member)
                    );
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    fn last_words(&self, member: usize) -> String {
        let log = std::fs::read_to_string(self.log(member)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
        format!("the end of {}:\n  {last}", self.log(member).display())
    }

    /// Whether a member's log says this.
    pub(super) fn logged(&self, text: &str) -> bool {
        (0..self.count())
            .any(|member| std::fs::read_to_string(self.log(member)).is_ok_and(|log| log.contains(text)))
    }

    /// Ends the processes: in order, or else at once.
    pub(super) fn stop(&mut self) {
        for child in &self.children {
            // The standard library can only kill; a member that is told to end closes its store.
            let _ = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .stderr(Stdio::null())
                .status();
        }
        let begun = Instant::now();
        while begun.elapsed() < END_MAX
            && self
                .children
                .iter_mut()
                .any(|child| matches!(child.try_wait(), Ok(None)))
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What `milepost-rsu verify` says of a stopped member's chain.
    ///
    /// # Errors
    ///
    /// Where it says nothing readable.
    pub(super) fn verify(&self, member: usize) -> anyhow::Result<Value> {
        let told = Command::new(&self.program)
            .args(["verify", "--json", "--home"])
            .arg(self.home(member))
            .output()?;
        serde_json::from_slice(&told.stdout).map_err(|_| {
            anyhow!(
                "milepost-rsu verify: {}",
                String::from_utf8_lossy(&told.stderr).trim()
            )
        })
    }
}

impl Drop for Consortium {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `milepost-rsu`, beside this program.
fn program() -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = me.with_file_name("milepost-rsu");
    if !beside.is_file() {
        bail!(
            "milepost-rsu is missing: expected at {}; build it with `cargo build --release -p milepost-rsu`",
            beside.display()
        );
    }
    Ok(beside)
}

/// The first of `count` neighbouring ports that nobody listens on.
fn free_ports(count: u16) -> anyhow::Result<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Two demos at a time begin to look in different places.
    let first = PORTS.start + (std::process::id() % 300) as u16 * 100;
    (first..PORTS.end)
        .step_by(usize::from(count.max(1)))
        .find(|base| (*base..base + count).all(free))
        .ok_or_else(|| anyhow!("found no {count} free ports from {first} on"))
}
