#!/usr/bin/env bash
# Sets up what is missing and runs every check there is; stops at the first that fails, with its
# exit status.
#
# Everything is built in the one release profile, clippy and the tests included: RocksDB takes some
# twenty minutes to compile on two cores, and a second profile would compile it a second time. The
# release profile keeps overflow checks on, so the tests lose nothing by it.
#
# Known vulnerabilities are scripts/audit.sh's matter: they are found from outside and at any time,
# and a build that passed should not fail for them without a change.
#
# usage: scripts/test.sh

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'test: %s\n' "$*" >&2; }

passed=0
all_began=$SECONDS

# step NAME COMMAND...
step() {
    local name="$1" began=$SECONDS status=0
    shift
    say "$name: $*"
    "$@" || status=$?
    if ((status != 0)); then
        say "$name failed after $((SECONDS - began)) s (exit status $status)"
        say "FAILED at '$name'; $passed passed before it; $((SECONDS - all_began)) s in all"
        exit "$status"
    fi
    say "$name passed in $((SECONDS - began)) s"
    passed=$((passed + 1))
}

step setup scripts/setup.sh --checks
# Just installed, and this shell does not know it yet.
cargo_bin="${CARGO_HOME:-$HOME/.cargo}/bin"
if [[ -x "$cargo_bin/cargo" && ":$PATH:" != *":$cargo_bin:"* ]]; then export PATH="$cargo_bin:$PATH"; fi

step format cargo fmt --all -- --check
# Before the tests: those of the `tests` crate start the built programs from the target folder.
step build cargo build --release --workspace --bins --locked
step clippy cargo clippy --release --workspace --all-targets --locked -- -D warnings
step tests cargo test --release --workspace --locked
# The reward rules reckoned once more, by an independent model; see incentives/model/model.py.
model() { cargo run --release --locked --quiet --example worlds -- 150 | python3 incentives/model/model.py; }
step model model
step dependencies cargo deny check bans licenses sources

say "PASSED: all $passed steps in $((SECONDS - all_began)) s"
