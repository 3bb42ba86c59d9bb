#!/usr/bin/env python3
"""The reward rules once more, written from the documents and not from the ledger's code.

Reads worlds (`cargo run --release -p milepost-incentives --example worlds -- 50`), one JSON object a line, reckons
truth, scores, reputation, pay and vesting by itself, in plain lists and loops, and compares every payment and every
balance with the ledger's, to the micro-token. Exits 1 at the first difference.

Taken as given: what is published of each road (value, usual value, reporters), which other tests judge. Not here:
claims of danger and their bonds, evidence, votes, transfers.

Sources: docs/incentives.md, docs/adr/0008, 0011, 0012, 0029, 0030.
"""

import json
import sys

Q = 65536
BPS = 10_000
KINDS = ["speed", "congestion", "humidity", "hazard"]
SLOW = {"humidity", "hazard"}
CODES = {"congestion", "hazard"}
NEVER = 10**18


def times(a, b):
    """The product of two fractions, rounded towards minus infinity."""
    return a * b // Q


def portion(pool, part, whole):
    return pool * part // whole if whole else 0


def toward_zero(part, whole):
    """part / whole as a fraction."""
    fraction = abs(part) * Q // max(whole, 1)
    return -fraction if part < 0 else fraction


def reputation(record):
    whole = record["good"] + record["bad"]
    return record["good"] * Q // whole if whole else 0


def weighted_median(pairs):
    """The least value up to which at least half of the weight lies."""
    pairs = sorted((value, weight) for value, weight in pairs if weight > 0)
    whole, running = sum(weight for _, weight in pairs), 0
    for value, weight in pairs:
        running += weight
        if 2 * running >= whole:
            return value
    return None


def plurality(pairs):
    """The value of the greatest weight; of equals, the smallest."""
    weights = {}
    for value, weight in pairs:
        weights[value] = weights.get(value, 0) + weight
    best = max(weights.values(), default=0)
    return min((value for value, weight in weights.items() if weight == best), default=None) if best else None


class Word:
    """What one vehicle says on one item."""

    def __init__(self, operator):
        self.operator, self.seen, self.latest = operator, [], None

    def add(self, kind, value, known, at, age):
        if kind in CODES:
            # The latest counts; of two equally late ones the smaller.
            if not self.seen or at > self.latest or (at == self.latest and value < self.seen[0][0]):
                self.seen, self.latest = [(value, known, age)], at
        else:
            self.seen.append((value, known, age))

    def mean(self, which):
        return sum(seen[which] for seen in self.seen) // len(self.seen)


class Ledger:
    def __init__(self, world):
        self.p = world["params"]
        self.genesis = world["genesis_ms"]
        self.providers = world["providers"]
        self.vehicles = {}
        for one in world["enrolled"]:
            self.vehicles[one["vehicle"]] = {
                "group": one["group"], "operator": one["operator"],
                "good": self.p["start_good"], "bad": self.p["start_bad"], "debt": 0, "evaluated": 0,
                "quarantined": False, "times": 0,
                "earned": 0, "unvested": 0, "left": 0, "since": 0, "balance": 0,
            }
        start = {"good": self.p["operator_start_good"], "bad": self.p["operator_start_bad"], "evaluated": 0}
        self.operators = {address: dict(start) for address in self.providers}
        self.operator_balance = {}
        self.words = {}     # (kind, slot) -> cell -> vehicle -> Word
        self.waiting = {}   # (kind, cell, vehicle) -> (slot, Word, share)
        self.roads = {}     # (cell, kind) -> (value, usual, heard)
        self.tallies = {}   # epoch -> vehicle -> dict
        self.served = {}    # epoch -> operator -> amount
        self.minted = self.burned = self.treasury = self.carry = 0
        self.next_epoch = 0
        self.paid = []

    # --- time ---

    def slot(self, at):
        return max(0, at - self.genesis) // self.p["slot_ms"]

    def epoch_of_slot(self, slot):
        return slot // (self.p["epoch_ms"] // self.p["slot_ms"])

    def slot_due(self, slot, kind):
        return self.genesis + (slot + 1) * self.p["slot_ms"] + self.p["freshness_ms"][kind]

    def epoch_due(self, epoch):
        return self.genesis + (epoch + 1) * self.p["epoch_ms"] + max(self.p["freshness_ms"].values())

    # --- a block ---

    def apply(self, block, given):
        now = block["time_ms"]
        while True:
            due = [(self.slot_due(slot, kind), 0, slot, KINDS.index(kind)) for kind, slot in self.words]
            due += [(self.epoch_due(epoch), 1, epoch, 0) for epoch in self.tallies]
            at, is_epoch, which, kind = min(due, default=(NEVER, 0, 0, 0))
            if at > now:
                break
            if is_epoch:
                self.close(which)
            else:
                self.settle(KINDS[kind], which, given)
        stale = now - max(self.p["freshness_ms"].values())
        self.skip_to(max(0, stale - self.genesis) // self.p["epoch_ms"])
        for report in sorted(block["reports"], key=lambda report: (report["vehicle"], report["sequence"])):
            self.hear(now, report)

    def default(self, kind):
        return self.p["speed_default_cm_s"] if kind == "speed" else 0

    def hear(self, now, report):
        vehicle = report["vehicle"]
        for cell, kind, value, age in report["observations"]:
            at = report["sent_ms"] - age
            fresh = max(0, now - at) < self.p["freshness_ms"][kind]
            if at < self.genesis or not fresh or at - now > self.p["future_ms"]:
                continue
            if kind == "speed" and value > self.p["motion_max_cm_s"]:
                continue
            slot = self.slot(at)
            words = self.words.get((kind, slot), {}).get(cell, {})
            if vehicle not in words:
                tally = self.tally(self.epoch_of_slot(slot), vehicle)
                if tally["items"] >= self.p["items_max"]:
                    continue
                tally["items"] += 1
                words = self.words.setdefault((kind, slot), {}).setdefault(cell, {})
                words[vehicle] = Word(report["operator"])
            known = self.roads.get((cell, kind), (self.default(kind),))[0]
            words[vehicle].add(kind, value, known, at, max(0, now - at))

    def tally(self, epoch, vehicle):
        empty = {"items": 0, "points": 0, "presence": 0, "evaluated": 0, "good": 0, "bad": 0}
        return self.tallies.setdefault(epoch, {}).setdefault(vehicle, empty)

    # --- truth ---

    def tolerance(self, kind):
        return None if kind in CODES else (self.p[kind]["near"], self.p[kind]["far"])

    def near(self, tolerance, one, other):
        return one == other if tolerance is None else abs(one - other) <= tolerance[0]

    def far(self, kind, tolerance, one, other):
        # Levels next to each other are no contradiction; other codes agree or not.
        codes_apart = 2 if kind == "congestion" else 1
        return abs(one - other) >= (codes_apart if tolerance is None else tolerance[1])

    def say(self, kind, pairs, prior):
        return plurality(pairs + [prior]) if kind in CODES else weighted_median(pairs + [prior])

    def after(self, record, tally):
        """A record once a tally has gone into it."""
        if not tally or tally["evaluated"] == 0:
            return record
        full = max(tally["evaluated"], self.p["evidence_full"]) * Q
        evidence = lambda what: self.p["evidence_per_epoch"] * tally[what] // full
        fade = lambda what: record[what] - (record[what] >> self.p["record_shift"])
        return {
            **record,
            "good": fade("good") + evidence("good"),
            "bad": fade("bad") + evidence("bad") * self.p["bad_weight"],
            "evaluated": record["evaluated"] + tally["evaluated"],
        }

    def settle(self, kind, slot, given):
        cases = []
        for cell, words in sorted(self.words.pop((kind, slot)).items()):
            cases.append(self.case(kind, slot, cell, words))
        self.temper(kind, cases)
        if kind not in CODES:
            self.guess(cases)
        for case in cases:
            if case["outcome"] is not None:
                known = self.known(case, case["voices"][0])
                case["news"] = self.news(case["tolerance"], case["outcome"], known)
        news = [(case["class"], case["news"]) for case in cases if case["news"] is not None]
        for case in cases:
            published = given.get((slot, case["cell"], kind))
            assert (published is not None) == (case["outcome"] is not None), ("published", slot, case["cell"], kind)
            heard = self.p["reporters_needed"] * Q
            if published is not None:
                self.roads[(case["cell"], kind)] = published
                heard = published[2]
            need = self.p["reporters_needed"] * Q * Q // max(heard, 1)
            self.score(case, news, min(max(need, Q), self.p["need_max"] * Q))

    def case(self, kind, slot, cell, words):
        road = self.roads.get((cell, kind))
        before, usual = (road[0], road[1]) if road else (self.default(kind), self.default(kind))
        base = 0 if kind in CODES else before
        epoch = self.epoch_of_slot(slot)
        voices = []
        for vehicle, word in sorted(words.items()):
            known = self.vehicles[vehicle]
            weight = 0
            if known["operator"] is None and not known["quarantined"]:
                so_far = self.after(known, self.tallies.get(epoch, {}).get(vehicle))
                weight = max(1, times(reputation(so_far), reputation(so_far)))
            voices.append({
                "vehicle": vehicle, "group": known["group"], "word": word.mean(0) - base, "weight": weight,
                "known": word.mean(1) - base, "anchor": known["operator"], "heard": word,
            })
        self.cap(voices)
        sensed = self.weigh_anchors(kind, voices)
        prior = (before if kind in CODES else 0, self.p["prior_weight"] if road else 0)
        outcome = None
        if any(voice["weight"] > 0 for voice in voices):
            outcome = self.say(kind, [(voice["word"], voice["weight"]) for voice in voices], prior)
        tolerance, spread = self.tolerance(kind), 0
        if outcome is not None and tolerance:
            spread = weighted_median([(abs(voice["word"] - outcome), voice["weight"]) for voice in voices])
        return {
            "kind": kind, "slot": slot, "cell": cell, "before": before, "base": base, "prior": prior,
            "voices": voices, "outcome": outcome,
            "spread": spread, "tolerance": self.widened(tolerance, spread),
            "class": sum(usual >= bound for bound in self.p["class_bounds_cm_s"]) if kind == "speed" else 0,
            "road": road, "guessed": None, "news": None, "sensed": sensed,
        }

    def widened(self, tolerance, spread):
        spread = min(spread, 1 << 20)
        return tolerance and (tolerance[0] + spread // 2, tolerance[1] + spread)

    def temper(self, kind, cases):
        """Where words spread far more than on half of the slot's roads, somebody lies."""
        shared = []
        for case in cases:
            counting = {voice["group"] for voice in case["voices"] if voice["weight"] > 0 and not voice["anchor"]}
            if len(counting) >= 2:
                shared.append(case["spread"])
        if len(shared) >= 8:
            most = 2 * sorted(shared)[len(shared) // 2]
            for case in cases:
                case["tolerance"] = self.widened(self.tolerance(kind), min(case["spread"], most))

    def guess(self, cases):
        """Of a road that was never published anybody would guess the middle of the slot's roads."""
        outcomes = sorted(case["before"] + case["outcome"] for case in cases if case["outcome"] is not None)
        if len(outcomes) >= 8:
            for case in cases:
                if case["road"] is None:
                    case["guessed"] = outcomes[len(outcomes) // 2] - case["before"]

    def cap(self, voices):
        """A voice weighs at most half, and so does a group."""
        counting = [voice for voice in voices if voice["weight"] > 0]
        if len(counting) >= 3:
            most = max(1, sum(voice["weight"] for voice in counting) // 2)
            for voice in counting:
                voice["weight"] = min(voice["weight"], most)
        groups = {}
        for voice in counting:
            groups[voice["group"]] = groups.get(voice["group"], 0) + voice["weight"]
        if len(groups) >= 2:
            most = max(1, sum(groups.values()) // 2)
            for voice in counting:
                if groups[voice["group"]] > most:
                    voice["weight"] = max(1, voice["weight"] * most // groups[voice["group"]])

    def weigh_anchors(self, kind, voices):
        """A provider's sensors weigh half of what the vehicles do, or as much where another provider's agree. What these
        agree on is returned."""
        whole = max(Q, sum(voice["weight"] for voice in voices))
        trusted = []
        for voice in voices:
            operator = voice["anchor"]
            if operator and not self.vehicles[voice["vehicle"]]["quarantined"]:
                if reputation(self.operators[operator]) >= self.p["reputation_base"]:
                    trusted.append((voice, self.providers[operator]))
        sensed = None
        for voice, provider in trusted:
            mates = sum(other == provider for _, other in trusted)
            agreed = any(
                other != provider and self.near(self.tolerance(kind), voice["word"], witness["word"])
                for witness, other in trusted
            )
            voice["weight"] = max(1, (whole if agreed else whole // 2) // mates)
            if agreed and sensed is None:
                sensed = voice["word"]
        return sensed

    def others(self, case, group):
        """What is said with a group left out, and as how many groups; None where nobody else counts."""
        voices = [voice for voice in case["voices"] if voice["weight"] > 0 and voice["group"] != group]
        judges = {}
        for voice in voices:
            judges[voice["group"]] = max(judges.get(voice["group"], 0), 3 if voice["anchor"] else 1)
        if not judges:
            return None
        word = self.say(case["kind"], [(voice["word"], voice["weight"]) for voice in voices], case["prior"])
        theirs = None
        if case["kind"] not in CODES:
            told = [(voice["word"] - self.known(case, voice), voice["weight"]) for voice in voices]
            theirs = self.say(case["kind"], told, (0, case["prior"][1]))
        return word, sum(judges.values()), sum(voice["weight"] for voice in voices), theirs

    def consent(self, case, voice, others):
        """How far the others agree that a word is wrong: who says what they say, less who says what it says, of all."""
        reach = 0 if case["tolerance"] is None else case["tolerance"][1] // 2
        judges = [(other["word"], other["weight"]) for other in case["voices"] if other["group"] != voice["group"]]
        alike = lambda word: sum(weight for said, weight in judges + [case["prior"]] if abs(said - word) <= reach)
        against, whole = alike(others[0]) - alike(voice["word"]), max(1, others[2])
        return min(max(0, against), whole) * Q // whole

    def known(self, case, voice):
        """What was published when a word was heard; of a road that never was, the middle of the slot's roads."""
        return voice["known"] if case["guessed"] is None else case["guessed"]

    # --- score ---

    def news(self, tolerance, word, known):
        if tolerance is None:
            return word if word != known else "none"
        return word - known

    def overlap(self, tolerance, one, other):
        """How much of its news two tell alike, in units of `full`."""
        if tolerance is None:
            return int(one == other and one != "none")
        alike = min(abs(one), abs(other), self.full(tolerance))
        return alike if (one > 0) == (other > 0) else -alike

    def full(self, tolerance):
        return 1 if tolerance is None else max(1, tolerance[0])

    def anywhere(self, case, news, own):
        tolerance = case["tolerance"]
        full = self.full(tolerance)
        for roads, least in (
            ([road for road in news if road[0] == case["class"]], 8),
            (news, 1),
        ):
            count = len(roads) - (case["news"] is not None)
            if roads and count >= least:
                alike = sum(self.overlap(tolerance, own, other) for _, other in roads)
                if case["news"] is not None:
                    alike -= self.overlap(tolerance, own, case["news"])
                return toward_zero(alike, count * full)
        alone = toward_zero(self.overlap(tolerance, own, own), full)
        return alone // 2

    def score(self, case, news, need):
        kind, counting = case["kind"], {}
        for voice in case["voices"]:
            if voice["weight"] > 0 and not voice["anchor"]:
                counting[voice["group"]] = counting.get(voice["group"], 0) + 1
        for voice in case["voices"]:
            others = self.others(case, voice["group"])
            share = 0
            if voice["weight"] > 0 and not voice["anchor"]:
                share = min(Q, self.p["reporters_needed"] * Q // len(counting)) // counting[voice["group"]]
            if others is None and kind in SLOW:
                if not voice["anchor"]:
                    self.waiting[(kind, case["cell"], voice["vehicle"])] = (case["slot"], voice["heard"], share)
                continue
            self.write(case, news, voice, others, need, share)
        for key, (slot, word, share) in sorted(self.waiting.items(), key=lambda entry: entry[0]):
            if key[:2] != (kind, case["cell"]) or slot >= case["slot"]:
                continue
            if self.epoch_of_slot(case["slot"]) > self.epoch_of_slot(slot) + self.p["wait_epochs"]:
                continue
            known = self.vehicles[key[2]]
            voice = {
                "vehicle": key[2], "group": known["group"], "weight": 0, "anchor": None, "heard": word,
                "word": word.mean(0) - case["base"], "known": word.mean(1) - case["base"],
            }
            others = self.others(case, voice["group"])
            if others is not None:
                del self.waiting[key]
                self.write(case, news, voice, others, need, 0 if known["quarantined"] else share)

    def write(self, case, news, voice, others, need, share):
        kind, epoch = case["kind"], self.epoch_of_slot(case["slot"])
        limit = self.p["freshness_ms"][kind]
        fresh = max(0, limit - voice["heard"].mean(2)) * Q // limit
        kappa = [0, Q // 2, Q // 4 * 3, Q][min(3, others[1] if others else 0)]
        worth = times(times(times(need, share), fresh), kappa)
        tally = self.tally(epoch, voice["vehicle"])
        quality = 0
        if others is not None:
            tolerance = case["tolerance"]
            known = self.known(case, voice)
            own = self.news(tolerance, voice["word"], known)
            alike = self.overlap(tolerance, own, self.news(tolerance, others[0], known))
            if others[3] is not None:
                alike = min(alike, self.overlap(tolerance, own, others[3]))
            confirmed = toward_zero(alike, self.full(tolerance))
            is_far = self.far(kind, tolerance, voice["word"], others[0])
            consent = self.consent(case, voice, others)
            quality = confirmed - self.anywhere(case, news, own) - self.p["news_margin"] - (consent if is_far else 0)
            judged = max(1, voice["weight"])
            certainty = min(others[2], judged) * Q // judged
            tally["evaluated"] += 1
            if self.near(tolerance, voice["word"], others[0]):
                tally["good"] += certainty
            if is_far:
                # Against the sensors of two providers nobody is in the majority.
                is_sensed = case["sensed"] is not None and self.far(kind, tolerance, voice["word"], case["sensed"])
                tally["bad"] += times(certainty, consent) * (5 if is_sensed else 1)
        tally["points"] += times(worth, quality)
        if reputation(self.vehicles[voice["vehicle"]]) >= self.p["reputation_base"]:
            tally["presence"] += worth
        if share > 0:
            served = self.served.setdefault(epoch, {})
            operator = voice["heard"].operator
            served[operator] = served.get(operator, 0) + times(need, share)

    # --- pay ---

    def reward(self, epoch):
        whole = self.p["reward_per_hour_micro"] * self.p["epoch_ms"] // 3_600_000
        minted = whole >> (epoch // self.p["halving_epochs"])
        operators = minted * self.p["operators_bps"] // BPS
        treasury = minted * self.p["treasury_bps"] // BPS
        return minted, operators, treasury, minted - operators - treasury

    def skip_to(self, epoch):
        while self.next_epoch < epoch:
            minted, operators, treasury, vehicles = self.reward(self.next_epoch)
            self.minted += minted
            self.treasury += treasury
            self.carry += operators + vehicles
            self.next_epoch += 1

    def close(self, epoch):
        self.skip_to(epoch)
        minted, for_operators, treasury, fresh = self.reward(epoch)
        tallies = self.tallies.pop(epoch)
        served = sorted(self.served.pop(epoch, {}).items())
        pool = self.carry + fresh
        claims = []
        for vehicle, tally in sorted(tallies.items()):
            known = self.vehicles[vehicle]
            if known["operator"] is None:
                claims.append((vehicle, tally, *self.claim(known, tally)))
        useful_total, base_total = sum(claim[2] for claim in claims), sum(claim[3] for claim in claims)
        by_base = pool * self.p["base_bps"] // BPS
        sharing = max(1, sum(useful > 0 or base > 0 for _, _, useful, base in claims))
        most = max(
            fresh * self.p["vehicle_max_bps"] // BPS,
            fresh * self.p["vehicle_max_averages"] // sharing,
        )
        spent = 0
        for vehicle, tally, useful, base in claims:
            amount = min(
                portion(pool - by_base, useful, useful_total),
                self.p["point_price_max_micro"] * useful // Q,
            )
            amount = min(most, amount + portion(by_base, base, base_total))
            spent += amount
            self.paid.append({"epoch": epoch, "vehicle": vehicle, "points": tally["points"], "amount": amount})
            if amount > 0:
                self.vest(vehicle, amount, epoch + 1)
        merits = {
            operator: times(amount, reputation(self.operators[operator])) for operator, amount in served
        }
        most = for_operators * self.p["operator_max_bps"] // BPS
        for operator, merit in merits.items():
            amount = min(most, portion(for_operators, merit, sum(merits.values())))
            spent += amount
            self.operator_balance[operator] = self.operator_balance.get(operator, 0) + amount
            self.paid.append({"epoch": epoch, "operator": operator, "amount": amount})
        self.waiting = {
            key: value for key, value in self.waiting.items()
            if epoch < self.epoch_of_slot(value[0]) + self.p["wait_epochs"]
        }
        self.judge(epoch, tallies)
        self.minted += minted
        self.treasury += treasury
        self.carry = pool + for_operators - spent
        self.next_epoch = epoch + 1

    def claim(self, known, tally):
        record = self.after(known, tally)
        trust = reputation(record)
        earns = not known["quarantined"] and trust >= self.p["reputation_min"]
        multiplier = trust if earns else 0
        useful = times(max(0, known["debt"] + tally["points"]), multiplier)
        return useful, times(tally["presence"], multiplier) if useful > 0 else 0

    def judge(self, epoch, tallies):
        sums = {}
        for vehicle, tally in tallies.items():
            operator = self.vehicles[vehicle]["operator"]
            if operator:
                whole = sums.setdefault(operator, {"evaluated": 0, "good": 0, "bad": 0})
                for what in whole:
                    whole[what] += tally[what]
        for operator, whole in sums.items():
            self.operators[operator] = self.after(self.operators[operator], whole)
        for vehicle, tally in tallies.items():
            known = self.vehicles[vehicle]
            known.update(self.after(known, tally))
            if tally["evaluated"] > 0:
                owed = min(self.p["debt_max"], max(0, -known["debt"] - tally["points"]))
                known["debt"] = -(owed - (owed >> self.p["record_shift"]))
            if known["evaluated"] < self.p["evaluated_min"]:
                continue
            trust = reputation(known)
            if not known["quarantined"] and trust < self.p["reputation_min"] and tally["bad"] > tally["good"]:
                self.let_go(vehicle, epoch + 1)
                if known["times"] > 0:
                    slashed = known["unvested"] // 2
                    known["unvested"] -= slashed
                    self.burned += slashed
                known.update(quarantined=True, times=known["times"] + 1, debt=0, evaluated=0)
            elif known["quarantined"] and not self.p["release_needs_vote"] and trust > self.p["reputation_release"]:
                known.update(quarantined=False, good=Q, bad=Q, debt=0, evaluated=0, since=epoch + 1)

    def let_go(self, vehicle, now):
        """What has vested by the beginning of epoch `now` goes to the account."""
        known = self.vehicles[vehicle]
        elapsed = (now - known["since"]) * Q
        if known["quarantined"] or known["unvested"] == 0 or elapsed <= 0:
            return
        vested = known["unvested"]
        if elapsed < known["left"]:
            vested = known["unvested"] * elapsed // known["left"]
        known["unvested"] -= vested
        known["balance"] += vested
        known.update(left=max(0, known["left"] - elapsed), since=now)

    def vest(self, vehicle, amount, now):
        self.let_go(vehicle, now)
        known = self.vehicles[vehicle]
        known["earned"] += amount
        if self.p["vest_epochs"] == 0:
            known["balance"] += amount
            return
        whole = known["unvested"] * known["left"] + amount * self.p["vest_epochs"] * Q
        known["unvested"] += amount
        known.update(left=max(1, whole // known["unvested"]), since=now)


def compare(world):
    ledger = Ledger(world)
    paid = []
    for block in world["blocks"]:
        given = {(slot, cell, kind): tuple(road) for slot, cell, kind, *road in block["roads"]}
        ledger.apply(block, given)
        paid += block["paid"]
    key = lambda line: (line["epoch"], line.get("vehicle", ""), line.get("operator", ""))
    mine, theirs = sorted(ledger.paid, key=key), sorted(paid, key=key)
    for one, other in zip(mine, theirs):
        if one != other:
            return f"the model pays {one}, the ledger {other}"
    if len(mine) != len(theirs):
        return f"the model makes {len(mine)} payments, the ledger {len(theirs)}"
    for vehicle, other in world["end"]["vehicles"].items():
        one = {what: ledger.vehicles[vehicle][what] for what in other}
        if one != other:
            return f"vehicle {vehicle} ends as {one}, in the ledger as {other}"
    for what in ("minted", "burned", "treasury", "carry"):
        if getattr(ledger, what) != world["end"][what]:
            return f"{what} is {getattr(ledger, what)}, in the ledger {world['end'][what]}"
    held = ledger.treasury + ledger.carry + sum(ledger.operator_balance.values())
    held += sum(known["balance"] + known["unvested"] for known in ledger.vehicles.values())
    if held != ledger.minted - ledger.burned:
        return f"{held} micro-tokens are held, {ledger.minted - ledger.burned} exist"
    return None


def main():
    worlds = payments = tokens = quarantined = 0
    for line in sys.stdin:
        world = json.loads(line)
        difference = compare(world)
        if difference:
            print(f"world {world['world']}: {difference}", file=sys.stderr)
            return 1
        worlds += 1
        lines = [line for block in world["blocks"] for line in block["paid"]]
        payments += len(lines)
        tokens += sum(line["amount"] for line in lines)
        quarantined += sum(one["quarantined"] for one in world["end"]["vehicles"].values())
    if payments == 0 or quarantined == 0:
        print(f"nothing to compare: {worlds} worlds, {payments} payments, {quarantined} quarantined", file=sys.stderr)
        return 1
    print(f"{worlds} worlds agree: {payments} payments, {tokens} micro-tokens, {quarantined} quarantined at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
