#!/usr/bin/env bash
# Sets up what is missing, builds Milepost and runs its main job: four roadside units that agree
# and pay, and the vehicles of a recorded town, some of them liars.
#
# usage: scripts/demo.sh [ARGUMENT]...     as for `milepost-sim demo`; --help lists them
#
# Progress goes to standard error, so `scripts/demo.sh --json >result.json` holds the result alone.

set -euo pipefail

called_from="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
# Just installed, and this shell does not know it yet.
cargo_bin="${CARGO_HOME:-$HOME/.cargo}/bin"
if [[ -x "$cargo_bin/cargo" && ":$PATH:" != *":$cargo_bin:"* ]]; then export PATH="$cargo_bin:$PATH"; fi

printf 'demo: building (the first time takes long: RocksDB is compiled from source)\n' >&2
cargo build --release --workspace --bins --locked >&2

# The job runs from the repository's root, but a path means what it means where it was typed.
arguments=()
is_path=no
for argument in "$@"; do
    if [[ $is_path == yes && $argument != /* ]]; then argument="$called_from/$argument"; fi
    is_path=no
    case "$argument" in
        --fcd | --home | --out) is_path=yes ;;
        --fcd=[!/]* | --home=[!/]* | --out=[!/]*)
            argument="${argument%%=*}=$called_from/${argument#*=}" ;;
    esac
    arguments+=("$argument")
done

exec "${CARGO_TARGET_DIR:-target}/release/milepost-sim" demo "${arguments[@]}"
