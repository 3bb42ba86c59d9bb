//! How do operators found a chain of real units, with secured links?
//!
//! By the commands of docs/operations.md, in the folder `net` as `testnet` would make it: each makes its own unit's home and has
//! its own authority certify the link key, which stays there; one makes the genesis of all.

use std::path::Path;
use std::time::Duration;

use crate::program::{Program, Said};

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// Founds a chain of units with these zenoh endpoints and APIs on loopback, and issues one link certificate for vehicles.
pub(crate) fn found(folder: &Path, units: &[(String, String)]) {
    let rsu = |line: String| {
        let mut command = Program::Rsu.command();
        command.current_dir(folder).args(line.split_whitespace());
        let _ = Said::by(&mut command, COMMAND_MAX).ended_with(0);
    };
    let all = 0..units.len();
    for nth in all.clone() {
        rsu(format!(
            "certificate authority --provider provider-{nth} --out authority-{nth}"
        ));
    }
    let trust = |nth: usize| -> String {
        let others = (0..units.len()).filter(|other| *other != nth);
        others
            .map(|other| format!(" --trust authority-{other}/authority.pem"))
            .collect()
    };
    for (nth, (listen, api)) in units.iter().enumerate() {
        let before = units[..nth].iter();
        let connect: String = before.map(|(other, _)| format!(" --connect {other}")).collect();
        let home = format!("net/member-{nth}");
        rsu(format!(
            "init --home {home} --provider provider-{nth} --name 127.0.0.1 --listen {listen} --api {api}{connect}"
        ));
        rsu(format!(
            "certificate answer --authority authority-{nth} --station roadside --request {home}/link.csr --out {home}{}",
            trust(nth)
        ));
        // A test does not wait ten seconds for a block where nothing happens.
        let settings = folder.join(&home).join("rsu.toml");
        let text = std::fs::read_to_string(&settings).expect("init wrote it");
        let changed = text.replace("heartbeat_ms = 10000", "heartbeat_ms = 1000");
        assert_ne!(changed, text, "init writes every setting");
        std::fs::write(&settings, changed).expect("the temporary folder can be written");
    }
    let members: String = all
        .clone()
        .map(|nth| format!(" --member net/member-{nth}/member.json"))
        .collect();
    rsu(format!(
        "genesis --chain founded --param slot_ms=5000 --param epoch_ms=10000 --out net{members}"
    ));
    for nth in all {
        let home = folder.join(format!("net/member-{nth}/genesis.json"));
        std::fs::copy(folder.join("net/genesis.json"), home).expect("genesis wrote it");
    }
    rsu(format!(
        "certificate issue --authority authority-0 --station vehicle --out net/vehicles/tls{}",
        trust(0)
    ));
}
