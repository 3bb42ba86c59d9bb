#!/usr/bin/env bash
# How good is the picture? Plays recordings for several shares of reporting vehicles, with and without liars, each with
# several draws of who reports, and prints a table of the means in Markdown: docs/picture.md was made so.
#
# usage: scripts/picture.sh [OPTION]... RECORDING-OR-SCENARIO...
#
#   RECORDING        SUMO's floating-car data, as `scripts/sumo.sh --fcd FILE` writes it (.xml or .xml.gz)
#   SCENARIO         a .sumocfg or a folder that holds one: SUMO records it first
#   --shares LIST    of the vehicles that report: '0.05 0.1'
#   --liars LIST     of the reporting vehicles that say 25 km/h less than they go: '0 0.2'
#   --draws N        so many draws of vehicles, seeds 1 to N: 5
#   --jobs N         so many runs at once: one for each processor
#   --program FILE   this `milepost-sim`, instead of building one
#   --out DIR        keep each run's JSON object there, and play only what is not there yet
#   --check          exit 1 unless, in every line, the error is at most 0.9 of the plain mean's over what was heard of, also by
#                    vehicles, 0.85 over everything, 1.3 of the honest error with liars, and 85 to 95 % lie in the 90 % interval
#
# A run of an hour and a half of a small town takes about a minute of a processor. Needs Python 3.

set -euo pipefail

usage() {
    printf 'picture: %s\n' "$1" >&2
    sed -n '/^# usage/,/^#   --check/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
shares='0.05 0.1' liars='0 0.2' draws=5 jobs="$(nproc)" program='' out='' check='' towns=()
while (($#)); do
    case "$1" in
        --shares | --liars)
            [[ $# -ge 2 && $2 =~ ^[0-9.]+(\ [0-9.]+)*$ ]] || usage "$1 takes numbers between blanks"
            printf -v "${1#--}" '%s' "$2"
            shift 2 ;;
        --draws | --jobs)
            [[ $# -ge 2 && $2 =~ ^[1-9][0-9]*$ ]] || usage "$1 takes a whole number"
            printf -v "${1#--}" '%s' "$2"
            shift 2 ;;
        --program) [[ $# -ge 2 && -x $2 ]] || usage '--program takes a program'; program="$(realpath "$2")"; shift 2 ;;
        --out) [[ $# -ge 2 ]] || usage '--out takes a folder'; out="$2"; shift 2 ;;
        --check) check=1; shift ;;
        --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        -*) usage "there is no option $1" ;;
        *) [[ -r $1 ]] || usage "cannot read $1"; towns+=("$(realpath "$1")"); shift ;;
    esac
done
((${#towns[@]})) || usage 'expected a recording or a scenario'

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
out="${out:-$folder/runs}"
mkdir -p "$out"
out="$(realpath "$out")"
if [[ -z $program ]]; then
    "$here/setup.sh"
    cargo_bin="${CARGO_HOME:-$HOME/.cargo}/bin"
    if [[ -x "$cargo_bin/cargo" && ":$PATH:" != *":$cargo_bin:"* ]]; then export PATH="$cargo_bin:$PATH"; fi
    (cd "$here/.." && cargo build --release --bin milepost-sim --locked >&2)
    program="$(cd "$here/.." && realpath "${CARGO_TARGET_DIR:-target}")/release/milepost-sim"
fi

# One line for each run: recording, its name, share, liars, seed.
plan="$folder/plan"
for town in "${towns[@]}"; do
    name="$(basename "$town")" name="${name%.sumocfg}" name="${name%.gz}" name="${name%.xml}" name="${name%.fcd}"
    recording="$town"
    if [[ -d $town || $town == *.sumocfg ]]; then
        recording="$folder/$name.fcd.xml.gz"
        # One vehicle in a hundred: what counts is the recording.
        "$here/sumo.sh" --program "$program" --penetration 0.01 --members 1 --fcd "$recording" "$town" >/dev/null
    fi
    for share in $shares; do for liar in $liars; do for seed in $(seq "$draws"); do
        printf '%s\t%s\t%s\t%s\t%s\n' "$recording" "$name" "$share" "$liar" "$seed"
    done; done; done
done >"$plan"

play() {
    local recording name share liar seed file
    IFS=$'\t' read -r recording name share liar seed <<<"$1"
    file="$out/$name-$share-$liar-$seed.json"
    if [[ ! -s $file ]]; then
        "$here/sumo.sh" --program "$program" --replay "$recording" --penetration "$share" --liars "$liar" \
            --seed "$seed" --members 1 --json >"$file.part" 2>"$file.log" || { cat "$file.log" >&2; return 1; }
        mv "$file.part" "$file"
        rm -f "$file.log"
    fi
    printf 'picture: %s\n' "$(basename "$file" .json)" >&2
}
export -f play
export here program out
tr '\n' '\0' <"$plan" | xargs -0 -P "$jobs" -n 1 bash -c 'play "$1"' play

python3 - "$plan" "$out" "$check" <<'PYTHON'
"""Means over the draws of each town, share and liars; exit 1 where a bound is missed and was to be checked."""
import json, sys
from statistics import fmean

plan, out, check = sys.argv[1:]
runs = {}
for line in open(plan):
    _, *case, seed = line.rstrip("\n").split("\t")
    with open(f"{out}/{'-'.join(case)}-{seed}.json") as file:
        runs.setdefault(tuple(case), []).append(json.load(file)["picture"])

missed = []
print("| town | report | lie | heard of | error, km/h | plain mean | | by vehicles | plain mean | | everywhere | plain mean, free flow | "
      "| to honest | 90 % holds | everywhere | level right | plain mean |")
print("|---|" + "---:|" * 17)
for (town, share, liars), pictures in runs.items():
    def mean(name, of=pictures):
        return fmean((picture["all"] if name.startswith("all.") else picture)[name.removeprefix("all.")] for picture in of)

    def against(name, plain, most):
        ours, theirs = mean(name), mean(plain)
        # With liars among them the plain mean is no measure.
        if float(liars) == 0 and ours > most * theirs:
            missed.append(f"{town}, {share}: {name} {ours:.2f} is {ours / theirs:.2f} of {theirs:.2f}, expected at most {most}")
        return f"{ours:.2f} | {theirs:.2f} | {ours / theirs:.2f}"

    honest = runs.get((town, share, "0"))
    to_honest = ""
    if float(liars) > 0 and honest:
        ratio = mean("speed_mae_kmh") / mean("speed_mae_kmh", honest)
        to_honest = f"{ratio:.2f}"
        if ratio > 1.3:
            missed.append(f"{town}, {share}: with liars the error is {ratio:.2f} times the honest one, expected at most 1.3")
    for name in ("interval_90_hit", "all.interval_90_hit"):
        if not 0.85 <= mean(name) <= 0.95:
            missed.append(f"{town}, {share}, {liars} lie: {name} is {mean(name):.3f}, expected 0.85 to 0.95")
    percent = lambda name: f"{100 * mean(name):.0f} %"
    print("|", " | ".join([
        town, f"{100 * float(share):g} %", f"{100 * float(liars):g} %", percent("coverage"),
        against("speed_mae_kmh", "plain_mean_mae_kmh", 0.9),
        against("weighted_mae_kmh", "plain_mean_weighted_mae_kmh", 0.9),
        against("all.speed_mae_kmh", "all.plain_mean_mae_kmh", 0.85),
        to_honest, percent("interval_90_hit"), percent("all.interval_90_hit"),
        percent("los_agreement"), percent("plain_mean_los_agreement"),
    ]), "|")
if check:
    for what in missed:
        print(f"missed: {what}", file=sys.stderr)
    sys.exit(bool(missed))
PYTHON
