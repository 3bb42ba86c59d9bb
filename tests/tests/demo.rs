//! Does the demonstration demonstrate?
//!
//! `milepost-sim demo` with a small town: it starts real members, drives, and ends by itself; its result must
//! show agreement, conservation, and that honesty pays.

use std::time::Duration;

use milepost_tests::{Program, Said, Turn};
use serde_json::Value;

/// Half a minute of driving, and what starting and settling may take on a busy machine.
const DEMO_MAX: Duration = Duration::from_secs(150);

#[test]
fn a_small_town_agrees_conserves_and_pays_the_honest() {
    let _turn = Turn::wait();
    let mut demo = Program::Sim.command();
    demo.args(["demo", "--json", "--minutes", "0.5", "--vehicles", "40"]);
    let result = Said::by(&mut demo, DEMO_MAX).ended_with(0).json();

    let members = result["members"].as_array().expect("members are listed");
    assert_eq!(members.len(), 4, "{result}");
    for name in ["height", "state_root"] {
        let differs = members.iter().any(|member| member[name] != members[0][name]);
        assert!(
            !differs && !members[0][name].is_null(),
            "the members' {name} differs: {result}"
        );
    }
    assert_eq!(result["invariants"]["conservation"], true, "{result}");
    assert_eq!(result["invariants"]["agreement"], true, "{result}");
    assert!(
        result["picture"]["items"].as_u64() > Some(0),
        "nothing was published: {result}"
    );
    honesty_pays(&result);
}

/// The honest are paid more, each, than any who are not.
fn honesty_pays(result: &Value) {
    let fleets = result["fleets"].as_array().expect("fleets are listed");
    let paid = |fleet: &Value| {
        let paid = &fleet["paid_mean"];
        let text = paid.as_str().and_then(|text| text.parse().ok());
        paid.as_f64()
            .or(text)
            .unwrap_or_else(|| panic!("no paid_mean: {fleet}"))
    };
    let (honest, liars): (Vec<&Value>, Vec<&Value>) =
        fleets.iter().partition(|fleet| fleet["behaviour"] == "honest");
    assert!(
        !honest.is_empty() && !liars.is_empty(),
        "who is compared? {result}"
    );
    for honest in &honest {
        for liar in &liars {
            assert!(paid(honest) > paid(liar), "lying pays: {liar} against {honest}");
        }
    }
}
