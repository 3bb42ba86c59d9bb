//! What do members do that cannot reach one another?
//!
//! Four members in network namespaces of their own. One is cut off: the others go on, and it catches up. Two are cut
//! off: nobody decides, the live picture goes on, reports wait; after healing all of them become final. One cannot
//! send to another while it still hears it: messages find their way through the others.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use milepost_tests::namespaces::{Namespaces, address};
use milepost_tests::{Consortium, Plan, Program, Ride, Said, end_within, eventually};
use serde_json::Value;

/// How long some blocks, or coming back after a cut, may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long one looks whether nothing happens.
const STILL_FOR: Duration = Duration::from_secs(6);
/// Where every member's API is, in its own namespace.
const API: &str = "127.0.0.1:8080";

#[test]
fn cut_off_members_stop_or_go_on_and_all_end_alike() {
    let spaces = match Namespaces::make(4) {
        Ok(spaces) => spaces,
        Err(why) => {
            eprintln!("not tried, for want of network namespaces: {why}");
            return;
        }
    };
    // Fresh for long: what waits during a cut still counts after it.
    let mut consortium = Consortium::make(Plan {
        overrides: &[
            "params.freshness_ms.speed=300000",
            "config.node.heartbeat_ms=1000",
        ],
        ..Plan::default()
    });
    let mut town = Town::start(&spaces, &consortium);
    town.all_reach(3);

    // One.
    spaces.plug(3, false);
    let cut_at = town.height(0);
    for nth in 0..3 {
        town.reach(nth, cut_at + 5);
    }
    assert!(
        town.height(3) <= cut_at + 1,
        "a member that is cut off decided alone"
    );
    spaces.plug(3, true);
    town.reach(3, town.height(0));
    town.agree();

    // Two, each from everybody.
    let drive = town.drive(&consortium);
    eventually("the live picture shows the road", WAIT_MAX, || {
        (town.live(0) > 0).then_some(())
    });
    spaces.plug(2, false);
    spaces.plug(3, false);
    std::thread::sleep(Duration::from_secs(1));
    let stuck_at: Vec<u64> = (0..4).map(|nth| town.height(nth)).collect();
    std::thread::sleep(STILL_FOR);
    for (nth, stuck_at) in stuck_at.iter().enumerate() {
        assert_eq!(
            town.height(nth),
            *stuck_at,
            "member {nth} decided without a quorum"
        );
    }
    assert!(town.live(0) > 0, "the live picture stopped with the ledger");
    for nth in [2, 3] {
        spaces.plug(nth, true);
    }
    town.all_reach(stuck_at[0] + 4);
    let summary = drive.finish();
    assert_eq!(
        summary["final"], summary["sent"],
        "reports were lost in the cut: {summary}"
    );

    // One way.
    spaces.mute(0, 1, true);
    town.all_reach(town.height(0) + 6);
    spaces.mute(0, 1, false);
    town.all_reach(town.height(0) + 3);
    town.agree();
    town.stop();
    consortium.stop_all();
}

/// The members, as processes in their namespaces.
struct Town<'a> {
    spaces: &'a Namespaces,
    members: Vec<Child>,
}

impl<'a> Town<'a> {
    fn start(spaces: &'a Namespaces, consortium: &Consortium) -> Self {
        let members = consortium.all().map(|nth| {
            move_to_switch(consortium.home(nth), nth);
            let mut run = Program::Rsu.command();
            run.arg("run").arg("--home").arg(consortium.home(nth));
            let log = std::fs::File::create(consortium.folder().join(format!("member-{nth}.log")));
            let log = log.expect("the testnet's folder can be written");
            let mut run = spaces.within(nth, &run);
            run.stdout(log.try_clone().expect("a handle can be cloned"))
                .stderr(log);
            run.spawn().expect("ip was there a moment ago")
        });
        Self {
            spaces,
            members: members.collect(),
        }
    }

    fn status(&self, nth: usize) -> Option<Value> {
        let mut status = Program::Rsu.command();
        status.args(["status", "--json", "--api", &format!("http://{API}")]);
        let said = Said::by(&mut self.spaces.within(nth, &status), WAIT_MAX);
        (said.status == Some(0)).then(|| said.json())
    }

    fn height(&self, nth: usize) -> u64 {
        let status = self
            .status(nth)
            .unwrap_or_else(|| panic!("member {nth} does not answer"));
        status["height"].as_u64().expect("a number")
    }

    /// Pieces of road in a member's live picture.
    fn live(&self, nth: usize) -> u64 {
        let status = self
            .status(nth)
            .unwrap_or_else(|| panic!("member {nth} does not answer"));
        status["picture"]["live"].as_u64().expect("a number")
    }

    fn reach(&self, nth: usize, height: u64) {
        eventually(&format!("member {nth} has block {height}"), WAIT_MAX, || {
            self.status(nth)?["height"]
                .as_u64()
                .filter(|found| *found >= height)
        });
    }

    fn all_reach(&self, height: u64) {
        for nth in 0..self.members.len() {
            self.reach(nth, height);
        }
    }

    /// All have the same block at a height that all have.
    fn agree(&self) {
        let height = (0..self.members.len())
            .map(|nth| self.height(nth))
            .min()
            .expect("there are four");
        let blocks: Vec<Value> = (0..self.members.len())
            .map(|nth| {
                let mut block = Program::Rsu.command();
                block.args([
                    "block",
                    &height.to_string(),
                    "--json",
                    "--api",
                    &format!("http://{API}"),
                ]);
                let block = Said::by(&mut self.spaces.within(nth, &block), WAIT_MAX)
                    .ended_with(0)
                    .json();
                Value::from(vec![block["hash"].clone(), block["state_root"].clone()])
            })
            .collect();
        assert!(
            blocks.iter().all(|block| *block == blocks[0]),
            "they differ at {height}: {blocks:?}"
        );
    }

    /// A vehicle at member 0, until after the second cut.
    fn drive(&self, consortium: &Consortium) -> Riding {
        let mut vehicle = consortium.vehicle(0);
        vehicle.connect = vec![format!("tcp/{}:7447", address(0))];
        let source = consortium.folder().join("ride.jsonl");
        std::fs::write(&source, Ride::in_line(0).jsonl(15)).expect("the testnet's folder can be written");
        let source = format!("jsonl:{}", source.display());
        let run = vehicle.command("run", &["--json", "--linger", "90", "--source", &source]);
        let out = consortium.folder().join("ride.json");
        let mut run = self.spaces.within(0, &run);
        run.stdout(std::fs::File::create(&out).expect("the testnet's folder can be written"));
        Riding {
            child: run.spawn().expect("ip was there a moment ago"),
            out,
        }
    }

    fn stop(&mut self) {
        for (nth, member) in self.members.iter_mut().enumerate() {
            let killed = std::process::Command::new("kill")
                .args(["-TERM", &member.id().to_string()])
                .status();
            assert!(
                killed.is_ok_and(|status| status.success()),
                "member {nth} is no more"
            );
            let status = end_within(member, Duration::from_secs(30));
            assert!(
                status.is_some_and(|status| status.success()),
                "member {nth}: {status:?}"
            );
        }
    }
}

impl Drop for Town<'_> {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Those that were stopped are gone.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// A vehicle under way.
struct Riding {
    child: Child,
    out: std::path::PathBuf,
}

impl Riding {
    fn finish(mut self) -> Value {
        let status = end_within(&mut self.child, Duration::from_secs(120));
        assert!(
            status.is_some_and(|status| status.success()),
            "the vehicle ended with {status:?}"
        );
        let text = std::fs::read_to_string(&self.out).expect("it wrote its summary");
        serde_json::from_str(&text).expect("a summary")
    }
}

/// Settings that name the member's address on the switch, and the others'.
fn move_to_switch(home: &Path, nth: usize) {
    let path = home.join("rsu.toml");
    let text = std::fs::read_to_string(&path).expect("testnet wrote it");
    let endpoints = |range: std::ops::Range<usize>| {
        let list: Vec<String> = range
            .map(|nth| format!("\"tcp/{}:7447\"", address(nth)))
            .collect();
        format!("[{}]", list.join(", "))
    };
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(" = ").map(|(name, _)| name) {
            Some("listen") => format!("listen = {}", endpoints(nth..nth + 1)),
            Some("connect") => format!("connect = {}", endpoints(0..nth)),
            Some("api") => format!("api = \"{API}\""),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).expect("the testnet's folder can be written");
}
