#!/usr/bin/env bash
# Tries whatever reads bytes from outside, led by coverage, for some seconds a target.
#
# The same targets run for some seconds in the suite, without coverage (tests/tests/fuzz.rs). This takes cargo-fuzz:
# `cargo install cargo-fuzz --locked`. What a target learnt stays in tests/fuzz/corpus and is gone on from; what breaks
# one is in tests/fuzz/artifacts, and is to be added to its seeds.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET...]]

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../tests/fuzz"

seconds="${1:-120}"
shift || true
# The workspace's own versions of all dependencies.
cp ../../Cargo.lock Cargo.lock
# No sanitizer: there is no unsafe code of ours, and they would need a nightly toolchain.
cargo fuzz build --sanitizer none --fuzz-dir . any
if (($# == 0)); then
    mapfile -t names < <(cargo fuzz run --sanitizer none --fuzz-dir . any -- -runs=0 2>&1 |
        sed -n 's/.*expected one of \[\(.*\)\].*/\1/p' | sed 's/", "/\n/g; s/"//g')
    set -- "${names[@]}"
fi
failed=0
for name in "$@"; do
    corpus="corpus/${name// /-}"
    mkdir -p "$corpus"
    printf 'fuzz: %s for %s s\n' "$name" "$seconds" >&2
    # The first run writes the seeds, the second begins with them.
    export MILEPOST_FUZZ_TARGET="$name" MILEPOST_FUZZ_SEEDS="$corpus"
    run=(cargo fuzz run --sanitizer none --fuzz-dir . any "$corpus")
    if ! { "${run[@]}" -- -runs=0 && "${run[@]}" -- -max_total_time="$seconds" -max_len=65536 -timeout=10; }; then
        failed=1
    fi
done
exit "$failed"
