#!/usr/bin/env bash
# How good is the picture on a SUMO scenario? Records it once, then plays the recording for every share of
# reporting vehicles, with and without liars, and prints a table: docs/picture.md was made so.
#
# usage: scripts/picture.sh SCENARIO [SEEDS]     a .sumocfg or its folder; so many draws of vehicles, 5

set -euo pipefail

[[ $# -ge 1 && $# -le 2 && ${2-5} =~ ^[1-9][0-9]*$ ]] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
scenario="$1" seeds="${2-5}"
here="$(dirname "${BASH_SOURCE[0]}")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
recording="$folder/recording.fcd.xml.gz"

printf '| reporting | liars | draw | covered | error, km/h | plain mean | by vehicles | plain mean | everywhere | plain mean, free flow | 90 %% holds | level right | plain mean |\n'
printf '|---|---|---|---|---|---|---|---|---|---|---|---|---|\n'
for penetration in 0.02 0.05 0.1 0.2; do
    for liars in 0 0.2; do
        for seed in $(seq "$seeds"); do
            options=(--penetration "$penetration" --liars "$liars" --seed "$seed" --members 1 --json)
            [[ -s $recording ]] && options+=(--replay "$recording") || options+=(--fcd "$recording")
            "$here/sumo.sh" "${options[@]}" "$scenario" 2>"$folder/log" >"$folder/result" || { cat "$folder/log" >&2; exit 1; }
            python3 - "$penetration" "$liars" "$seed" "$folder/result" <<'PYTHON'
import json, sys
penetration, liars, seed, file = sys.argv[1:]
picture = json.load(open(file))["picture"]
everywhere = picture["all"]
numbers = [picture["speed_mae_kmh"], picture["plain_mean_mae_kmh"], picture["weighted_mae_kmh"],
           picture["plain_mean_weighted_mae_kmh"], everywhere["speed_mae_kmh"], everywhere["plain_mean_mae_kmh"]]
shares = [picture["interval_90_hit"], picture["los_agreement"], picture["plain_mean_los_agreement"]]
row = [penetration, liars, seed, f'{100 * picture["coverage"]:.0f} %']
row += [f"{number:.2f}" for number in numbers] + [f"{100 * share:.0f} %" for share in shares]
print("| " + " | ".join(row) + " |", flush=True)
PYTHON
        done
    done
done
