#!/usr/bin/env bash
# Plays a SUMO scenario and says what Milepost makes of it: SUMO's floating-car data of all vehicles
# is the truth, a share of them reports. Prints what `milepost-sim run` prints.
#
# The data goes through a pipe while SUMO runs: gigabytes never touch the disk. With --fcd FILE it is
# written there instead and kept, to be played again without SUMO (compressed where it ends in .gz).
#
# usage: scripts/sumo.sh [OPTION]... SCENARIO [-- SUMO-OPTION...]
#        scripts/sumo.sh [OPTION]... --replay FILE
#
#   SCENARIO              a .sumocfg, or a folder that holds one
#   --penetration SHARE   of the vehicles that report: 0.05
#   --liars SHARE         of the reporting vehicles that say 25 km/h less than they go: 0
#   --slot-seconds N      length of a slot: 300
#   --minutes N           play no more than this; all of it by default
#   --members N           of the consortium: 4
#   --seed N              which vehicles report, and all other chance: 1
#   --fcd FILE            keep the recording
#   --replay FILE         play such a recording; SUMO is not run
#   --expect FIGURE=RANGE as under [expect] in a scenario, such as 'picture.speed_mae_kmh={ max = 5 }'; may be repeated
#   --program FILE        this `milepost-sim`, instead of building one
#   --out DIR, --json, --junit FILE   as for `milepost-sim run`
#
# SUMO comes from PyPI (`eclipse-sumo`), into ${XDG_CACHE_HOME:-~/.cache}/milepost/sumo; the version is
# pinned here, since recordings of two versions differ. SUMO_HOME, where it is set, is used instead. Outputs
# that the scenario itself asks for are written where it says.
# Everything but the result goes to standard error.

set -euo pipefail

readonly SUMO_VERSION=1.28.0

say() { printf 'sumo: %s\n' "$*" >&2; }
fail() { printf 'sumo: %s\n' "$*" >&2; exit 1; }
usage() {
    printf 'sumo: %s\n' "$1" >&2
    sed -n '/^# usage/,/^#   --out/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

called_from="$PWD"
absolute() { case "$1" in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$called_from" "$1" ;; esac; }
is_number() { [[ $1 =~ ^[0-9]+(\.[0-9]+)?$ ]]; }

penetration=0.05 liars=0 slot_seconds=300 minutes='' members=4 seed=1 fcd='' replay='' scenario='' program=''
run_options=() sumo_options=() expectations=()
while (($#)); do
    case "$1" in
        --penetration | --liars | --slot-seconds | --minutes | --members | --seed)
            { [[ $# -ge 2 ]] && is_number "$2"; } || usage "$1 takes a number"
            name="${1#--}"
            printf -v "${name//-/_}" '%s' "$2"
            shift 2 ;;
        --fcd) [[ $# -ge 2 ]] || usage '--fcd takes a file'; fcd="$(absolute "$2")"; shift 2 ;;
        --replay) [[ $# -ge 2 ]] || usage '--replay takes a file'; replay="$(absolute "$2")"; shift 2 ;;
        --out) [[ $# -ge 2 ]] || usage '--out takes a folder'; run_options+=(--out "$(absolute "$2")"); shift 2 ;;
        --junit) [[ $# -ge 2 ]] || usage '--junit takes a file'; run_options+=(--junit "$(absolute "$2")"); shift 2 ;;
        --program) [[ $# -ge 2 ]] || usage '--program takes a file'; program="$(absolute "$2")"; shift 2 ;;
        --expect)
            [[ $# -ge 2 && $2 == ?*=?* ]] || usage '--expect takes FIGURE=RANGE'
            expectations+=("\"${2%%=*}\" = ${2#*=}")
            shift 2 ;;
        --json) run_options+=(--json); shift ;;
        --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        --) shift; sumo_options=("$@"); break ;;
        -*) usage "there is no option $1" ;;
        *) [[ -z $scenario ]] || usage "expected one scenario, found $scenario and $1"; scenario="$1"; shift ;;
    esac
done
[[ -n $scenario || -n $replay ]] || usage 'expected a scenario'
[[ -z $program || -x $program ]] || usage "cannot run $program"

if [[ -z $replay ]]; then
    configuration="$(absolute "$scenario")"
    if [[ -d $configuration ]]; then
        shopt -s nullglob
        found=("$configuration"/*.sumocfg)
        [[ ${#found[@]} -eq 1 ]] || usage "expected one .sumocfg in $scenario, found ${#found[@]}"
        configuration="${found[0]}"
    fi
    [[ -r $configuration ]] || usage "cannot read $scenario"
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# --- SUMO ----------------------------------------------------------------------------------------

if [[ -n $replay ]]; then
    [[ -r $replay ]] || usage "cannot read $replay"
elif [[ -n ${SUMO_HOME-} ]]; then
    sumo="$SUMO_HOME/bin/sumo"
    [[ -x $sumo ]] || fail "SUMO_HOME is $SUMO_HOME, and there is no bin/sumo"
else
    home="${XDG_CACHE_HOME:-$HOME/.cache}/milepost/sumo"
    if [[ "$(cat "$home/version" 2>/dev/null || true)" != "$SUMO_VERSION" ]]; then
        say "installing SUMO $SUMO_VERSION into $home"
        python3 -m venv --clear "$home" >&2 || fail 'python3 with venv is needed (Debian, Ubuntu: apt install python3-venv)'
        "$home/bin/pip" install --quiet --disable-pip-version-check "eclipse-sumo==$SUMO_VERSION" >&2
        printf '%s\n' "$SUMO_VERSION" >"$home/version"
    fi
    SUMO_HOME="$("$home/bin/python" -c 'import sumo; print(sumo.SUMO_HOME)')"
    export SUMO_HOME
    sumo="$SUMO_HOME/bin/sumo"
fi
if [[ -z $replay ]]; then
    # Places in degrees need PROJ's tables, which the wheel ships where PROJ does not look.
    for folder in "$SUMO_HOME/data/proj" "$SUMO_HOME/share/proj"; do
        if [[ -z ${PROJ_DATA-} && -r $folder/proj.db ]]; then export PROJ_DATA="$folder"; fi
    done
    found="$("$sumo" --version | sed -n '1s/.* \([0-9][0-9.]*\).*/\1/p')"
    [[ $found == "$SUMO_VERSION" ]] || say "SUMO $found is not $SUMO_VERSION, which the published figures are of"
fi

# --- Milepost ------------------------------------------------------------------------------------

if [[ -z $program ]]; then
    scripts/setup.sh
    cargo_bin="${CARGO_HOME:-$HOME/.cargo}/bin"
    if [[ -x "$cargo_bin/cargo" && ":$PATH:" != *":$cargo_bin:"* ]]; then export PATH="$cargo_bin:$PATH"; fi
    say 'building (the first time takes long: RocksDB is compiled from source)'
    cargo build --release --bin milepost-sim --locked >&2
    program="${CARGO_TARGET_DIR:-target}/release/milepost-sim"
fi

# --- both ----------------------------------------------------------------------------------------

folder="$(mktemp -d)"
# What the JUnit file calls the run.
name="$(basename "${replay:-$configuration}")"
sumo_pid=''
cleanup() {
    if [[ -n $sumo_pid ]] && kill -0 "$sumo_pid" 2>/dev/null; then kill "$sumo_pid" 2>/dev/null || true; fi
    rm -rf "$folder"
}
trap cleanup EXIT

run_sumo() { # with data to $1
    "$sumo" --configuration-file "$configuration" \
        --fcd-output "$1" --fcd-output.geo --fcd-output.attributes x,y,angle,speed,lane \
        --no-step-log --duration-log.disable "${sumo_options[@]}" >"$folder/sumo.log" 2>&1
}

{
    [[ -z $minutes ]] || printf 'minutes = %s\n' "$minutes"
    printf '[world]\nkind = "fcd"\nsegments = "edge"\nfile = "%s"\npenetration = %s\n' \
        "${replay:-${fcd:-$folder/fcd.xml}}" "$penetration"
    printf '[ledger]\nmembers = %s\nslot_seconds = %s\nepoch_minutes = %s\n' \
        "$members" "$slot_seconds" "$(awk -v s="$slot_seconds" 'BEGIN { print s * 3 / 60 }')"
    # Fewer, larger blocks and batches than real members make: the run is faster for it.
    printf 'block_interval_ms = 5000\nheartbeat_ms = 60000\nbatch_age_ms = 2000\n'
    if awk -v l="$liars" 'BEGIN { exit !(l > 0) }'; then
        printf '[[fleet]]\nshare = %s\nbehaviour = "bias"\noffset_kmh = -25.0\nsensor_sd_kmh = 0\n' "$liars"
    fi
    printf '[[fleet]]\nshare = %s\nbehaviour = "honest"\nsensor_sd_kmh = 0\n' \
        "$(awk -v l="$liars" 'BEGIN { print 1 - l }')"
    if ((${#expectations[@]})); then printf '%s\n' '[expect]' "${expectations[@]}"; fi
} >"$folder/$name.toml"
milepost=("$program" run "$folder/$name.toml" --seed "$seed" "${run_options[@]}")

if [[ -n $replay ]]; then
    "${milepost[@]}"
    exit
fi
if [[ -n $fcd ]]; then
    say "recording $configuration to $fcd"
    run_sumo "$fcd" || { cat "$folder/sumo.log" >&2; fail 'SUMO failed'; }
    "${milepost[@]}"
    exit
fi
mkfifo "$folder/fcd.xml"
run_sumo "$folder/fcd.xml" &
sumo_pid=$!
status=0
"${milepost[@]}" || status=$?
# Who reads no more leaves SUMO waiting.
((status == 0)) || kill "$sumo_pid" 2>/dev/null || true
# With --minutes, the reader leaves before SUMO is done, who then finds nobody at the pipe's other end.
if ! wait "$sumo_pid" && [[ $status -eq 0 && -z $minutes ]]; then
    cat "$folder/sumo.log" >&2
    fail 'SUMO failed'
fi
sumo_pid=''
exit "$status"
