#!/usr/bin/env bash
# Makes the recording that the demo plays when it is given no other: sim/data/town.fcd.xml.gz.
#
# A town that exists nowhere is drawn, filled with traffic and driven in SUMO; five minutes of it
# are kept as floating-car data, one record a vehicle a second. Every random draw has a fixed seed,
# so the same SUMO version makes the same records; safe to repeat. Nobody needs to run it to use
# the project: what it makes is in the repository. It needs python3 with its venv module, gzip and
# a package index; SUMO (about 500 MB) goes to a cache folder of its own.
#
# usage: scripts/record.sh [--keep]     --keep leaves the network and the routes in the cache folder

set -euo pipefail

readonly SUMO_VERSION=1.28.0
readonly SEED_NETWORK=11      # where the junctions are nudged to, and which streets are left out
readonly SEED_TRIPS=12        # who drives from where to where, and when
readonly SEED_TRAFFIC=13      # how each driver drives
readonly WARM_UP_S=1200       # the town fills up; nothing is recorded
readonly RECORDED_S=300       # what is recorded
readonly VEHICLES_PER_HOUR=1480
readonly BYTES_MAX=3000000    # a clone of the repository should stay quick

say() { printf 'record: %s\n' "$*" >&2; }
fail() { printf 'record: %s\n' "$*" >&2; exit 1; }

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="$root/sim/data/town.fcd.xml.gz"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/milepost/record"
venv="$cache/sumo-$SUMO_VERSION"

keep=no
case "${1-}" in
    '') ;;
    --keep) keep=yes ;;
    *) printf 'usage: scripts/record.sh [--keep]\n' >&2; exit 2 ;;
esac

command -v python3 >/dev/null || fail 'python3 is missing; on Debian and Ubuntu: apt-get install python3-venv'
command -v gzip >/dev/null || fail 'gzip is missing; on Debian and Ubuntu: apt-get install gzip'

# The mark is set last, so that an interrupted installation is done again.
if [[ -e "$venv/installed" ]]; then
    say "SUMO $SUMO_VERSION is in $venv"
else
    say "installing SUMO $SUMO_VERSION into $venv"
    mkdir -p "$cache"
    python3 -m venv --clear "$venv" \
        || fail 'python3 cannot make a venv; on Debian and Ubuntu: apt-get install python3-venv'
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        "eclipse-sumo==$SUMO_VERSION" "sumo-data==$SUMO_VERSION"
    touch "$venv/installed"
fi
# SUMO's own tools look each other up by these.
SUMO_HOME="$("$venv/bin/python" -c 'import sumo; print(sumo.SUMO_HOME)')"
export SUMO_HOME
export PATH="$venv/bin:$PATH"

work="$(mktemp -d "${TMPDIR:-/tmp}/milepost-record.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cd "$work"

say 'drawing the junctions'
# 13 by 11 junctions, 150 m apart and each nudged by up to 30 m; straight roads lead out of town.
netgenerate --grid --grid.x-number 13 --grid.y-number 11 --grid.length 150 --grid.attach-length 240 \
    --perturb-x 'normc(0,14,-30,30)' --perturb-y 'normc(0,14,-30,30)' --seed "$SEED_NETWORK" \
    --plain-output-prefix plain --output-file drawn.net.xml >&2

say 'sorting the roads into radial, ring, main and residential'
cat >town.typ.xml <<'XML'
<types>
    <type id="radial" priority="4" numLanes="2" speed="19.44"/>
    <type id="ring" priority="4" numLanes="2" speed="16.67"/>
    <type id="main" priority="3" numLanes="2" speed="13.89"/>
    <type id="residential" priority="1" numLanes="1" speed="8.33"/>
</types>
XML
python3 - "$SEED_NETWORK" <<'PY'
"""Reads plain.{nod,edg}.xml, writes town.{nod,edg}.xml: which road is what, and where lights are."""
import random
import re
import sys
import xml.etree.ElementTree as ET

COLUMNS, ROWS = 13, 11
RING_X, RING_Y = {0, COLUMNS - 1}, {0, ROWS - 1}
MAIN_X, MAIN_Y = {4, 8}, {3, 7}
LEFT_OUT = 0.3  # share of the residential streets

rng = random.Random(int(sys.argv[1]))


def place(node):
    """Column and row of a junction; roads out of town end at a junction named after its side."""
    if found := re.fullmatch(r"([A-Z])(\d+)", node):
        return ord(found[1]) - ord("A"), int(found[2])
    side, number = re.fullmatch(r"(left|right|top|bottom)(\d+)", node).groups()
    return {"left": (-1, int(number)), "right": (COLUMNS, int(number)),
            "bottom": (int(number), -1), "top": (int(number), ROWS)}[side]


def in_town(node):
    x, y = place(node)
    return 0 <= x < COLUMNS and 0 <= y < ROWS


def kind(a, b):
    """None where no road is wanted."""
    (ax, ay), (bx, by) = place(a), place(b)
    if not (in_town(a) and in_town(b)):
        on_main = (ax == bx and ax in MAIN_X) or (ay == by and ay in MAIN_Y)
        return "radial" if on_main else None
    if (ax == bx and ax in RING_X) or (ay == by and ay in RING_Y):
        return "ring"
    if (ax == bx and ax in MAIN_X) or (ay == by and ay in MAIN_Y):
        return "main"
    return "residential"


edges = ET.parse("plain.edg.xml")
roads = {}  # both directions of a road go together
for edge in edges.getroot().findall("edge"):
    ends = tuple(sorted((edge.get("from"), edge.get("to"))))
    roads[ends] = kind(*ends)
roads = {ends: it for ends, it in roads.items() if it}
arms = {}
for a, b in roads:
    for node in (a, b):
        arms[node] = arms.get(node, 0) + 1
residential = sorted(ends for ends, it in roads.items() if it == "residential")
wanted = round(LEFT_OUT * len(residential))
rng.shuffle(residential)
for a, b in residential:
    if wanted and arms[a] > 2 and arms[b] > 2:
        del roads[a, b]
        arms[a] -= 1
        arms[b] -= 1
        wanted -= 1

for edge in edges.getroot().findall("edge"):
    ends = tuple(sorted((edge.get("from"), edge.get("to"))))
    if ends in roads:
        for name in ("priority", "numLanes", "speed"):
            edge.attrib.pop(name, None)
        edge.set("type", roads[ends])
    else:
        edges.getroot().remove(edge)
edges.write("town.edg.xml")

nodes = ET.parse("plain.nod.xml")
for node in nodes.getroot().findall("node"):
    name = node.get("id")
    if name not in arms:
        nodes.getroot().remove(node)
        continue
    met = [it for ends, it in roads.items() if name in ends]
    big = sum(it != "residential" for it in met)
    if big == 0:
        node.set("type", "right_before_left")
    elif big >= 3 or (big == 2 and len(met) > 3):
        node.set("type", "traffic_light")
    else:
        node.set("type", "priority")
nodes.write("town.nod.xml")
PY
netconvert --node-files town.nod.xml --edge-files town.edg.xml --type-files town.typ.xml \
    --keep-edges.components 1 --tls.default-type static --tls.cycle.time 120 \
    --no-turnarounds.except-deadend --output-file town.net.xml >&2

# Everybody calls at two places on the way, and takes the shortest way in time on empty roads: that
# fills the main roads and their lights as commuters do.
say 'deciding who drives where'
cat >types.add.xml <<'XML'
<additional>
    <vTypeDistribution id="traffic">
        <vType id="car" vClass="passenger" probability="0.84" speedFactor="normc(1.00,0.10,0.75,1.30)" sigma="0.5"/>
        <vType id="van" vClass="delivery" probability="0.09" speedFactor="normc(0.97,0.08,0.75,1.20)" sigma="0.5"/>
        <vType id="truck" vClass="truck" probability="0.04" speedFactor="normc(0.90,0.06,0.70,1.05)" sigma="0.4"/>
        <vType id="bus" vClass="bus" probability="0.03" speedFactor="normc(0.92,0.05,0.75,1.05)" sigma="0.4"/>
    </vTypeDistribution>
</additional>
XML
python3 "$SUMO_HOME/tools/randomTrips.py" --net-file town.net.xml --additional-files types.add.xml \
    --trip-attributes 'type="traffic" departLane="best" departSpeed="max" departPos="random_free"' \
    --prefix v --seed "$SEED_TRIPS" --begin 0 --end $((WARM_UP_S + RECORDED_S)) \
    --insertion-rate "$VEHICLES_PER_HOUR" --random-depart --min-distance 1200 \
    --intermediate 2 --lanes --speed-exponent 2 --fringe-factor 6 --threads 1 --validate \
    --output-trip-file trips.xml --route-file routes.xml >&2

say "driving $((WARM_UP_S + RECORDED_S)) s, recording the last $RECORDED_S"
sumo --net-file town.net.xml --route-files routes.xml \
    --seed "$SEED_TRAFFIC" --begin 0 --end $((WARM_UP_S + RECORDED_S)) --step-length 1 \
    --time-to-teleport 300 --no-step-log --duration-log.statistics \
    --fcd-output town.fcd.xml --fcd-output.attributes id,x,y,angle,type,speed,lane \
    --fcd-output.skip-empty --device.fcd.probability 1 --device.fcd.begin "$WARM_UP_S" \
    --device.fcd.period 1 --precision 2 >&2

# SUMO opens the file with the time and the paths of its run, which say nothing about the town.
python3 - "$SUMO_VERSION" <<'PY'
import re
import sys

text = open("town.fcd.xml", encoding="utf-8").read()
text, dropped = re.subn(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
note = f"<!-- A made-up town, local metres. Made by scripts/record.sh with SUMO {sys.argv[1]}. -->\n"
head, body = text.split("<fcd-export", 1)
head = head.strip() + "\n" + note
body = re.sub(r'\s+xmlns:xsi="[^"]*"|\s+xsi:[A-Za-z]+="[^"]*"', "", body, count=2)
open("clean.fcd.xml", "w", encoding="utf-8").write(head + "<fcd-export" + body)
PY
gzip -9 -n -c clean.fcd.xml >town.fcd.xml.gz

bytes="$(wc -c <town.fcd.xml.gz)"
((bytes <= BYTES_MAX)) || fail "the recording came out at $bytes bytes, above $BYTES_MAX"
mkdir -p "$(dirname "$out")"
if cmp -s town.fcd.xml.gz "$out"; then
    say "sim/data/town.fcd.xml.gz is as it was ($bytes bytes)"
else
    cp town.fcd.xml.gz "$out"
    say "wrote sim/data/town.fcd.xml.gz ($bytes bytes)"
fi

if [[ $keep == yes ]]; then
    cp town.net.xml types.add.xml trips.xml routes.xml "$cache/"
    say "network and routes are in $cache"
fi

# For sim/data/README.md.
python3 - town.fcd.xml.gz <<'PY'
import gzip
import sys
import xml.etree.ElementTree as ET

vehicles, kinds, lanes, present, speeds, xs, ys, times = set(), {}, set(), [], [], [], [], []
for _, step in ET.iterparse(gzip.open(sys.argv[1])):
    if step.tag != "timestep":
        continue
    times.append(float(step.get("time")))
    present.append(len(step))
    for it in step:
        if it.get("id") not in vehicles:
            vehicles.add(it.get("id"))
            kinds[it.get("type")] = kinds.get(it.get("type"), 0) + 1
        lanes.add(it.get("lane"))
        speeds.append(float(it.get("speed")))
        xs.append(float(it.get("x")))
        ys.append(float(it.get("y")))
    step.clear()
edges = {lane.rsplit("_", 1)[0] for lane in lanes if not lane.startswith(":")}
print(f"seconds      {len(times)}, from {times[0]:.0f} to {times[-1]:.0f}")
print(f"vehicles     {len(vehicles)} ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))})")
print(f"at a time    {min(present)} to {max(present)}, mean {sum(present) / len(present):.0f}")
print(f"records      {len(speeds)}")
print(f"mean speed   {3.6 * sum(speeds) / len(speeds):.1f} km/h; "
      f"standing (below 0.1 m/s) {100 * sum(v < 0.1 for v in speeds) / len(speeds):.0f} %")
print(f"roads        {len(edges)} directed, {len(lanes)} lanes (those inside junctions included)")
print(f"bounds       x {min(xs):.2f} to {max(xs):.2f} m, y {min(ys):.2f} to {max(ys):.2f} m")
PY
