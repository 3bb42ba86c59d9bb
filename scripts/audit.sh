#!/usr/bin/env bash
# Asks the RustSec advisory database about every dependency in Cargo.lock.
#
# Exit status: 0 nothing found, or not checked because the database is out of reach (it says
# which); 1 an advisory applies, or the check itself went wrong.
#
# usage: scripts/audit.sh

set -euo pipefail

readonly DATABASE=https://github.com/RustSec/advisory-db   # cargo-deny's default

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'audit: %s\n' "$*" >&2; }

# Rustup's folder may not be in this shell's PATH.
cargo_bin="${CARGO_HOME:-$HOME/.cargo}/bin"
if [[ -x "$cargo_bin/cargo" && ":$PATH:" != *":$cargo_bin:"* ]]; then export PATH="$cargo_bin:$PATH"; fi
if ! cargo deny --version >/dev/null 2>&1; then
    say 'cargo-deny is missing; scripts/setup.sh --checks installs it'
    exit 1
fi

# cargo-deny gives the same exit status for "could not fetch" and "found something", so the first
# is found out beforehand, by the same means: git.
if ! GIT_TERMINAL_PROMPT=0 timeout 60 git ls-remote --exit-code "$DATABASE" HEAD >/dev/null; then
    say "NOT CHECKED: the advisory database cannot be reached ($DATABASE)"
    say 'this says nothing about the dependencies, neither good nor bad; repeat it where there is a network'
    exit 0
fi

if cargo deny check advisories; then
    say 'checked: no advisory applies, save those that deny.toml ignores and says why'
else
    say 'FOUND: an advisory applies, or the check went wrong; see above'
    exit 1
fi
