//! Any message, for property tests. Values are within their units' ranges and lists are short; what is out of
//! range or too long, the tests make from the bytes.

#![allow(unreachable_pub, reason = "a module of tests has no users outside")]

use milepost_wire::bad_batch::BadBatch;
use milepost_wire::batch::{BatchHead, BatchRef};
use milepost_wire::certificate::Head;
use milepost_wire::equivocation::Word;
use milepost_wire::merkle::Path;
use milepost_wire::output::{Bond, EpochClosed, Estimate, Fate, Item, Outcome, Payment, Receipt, Score};
use milepost_wire::payout::Purse;
use milepost_wire::proof::{OutputsProof, ReceiptNotice, StateProof};
use milepost_wire::state::{
    Account, Books, Ground, Operator, Quarantine, Road, Standing, StateKey, Vehicle, Vesting, Withheld,
};
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::tree::{End, StatePath};
use milepost_wire::vote::Step;
use milepost_wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

pub fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

pub fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

pub fn key_id() -> impl Strategy<Value = KeyId> {
    any::<[u8; 8]>().prop_map(KeyId)
}

/// Mostly no point of the curve, which decoding does not look at.
pub fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[[u8; 11]; 3]>().prop_map(|parts| PublicKey(parts.concat().try_into().expect("33 bytes")))
}

/// Mostly no signature, which decoding does not look at.
pub fn signature() -> impl Strategy<Value = Signature> {
    any::<[[u8; 32]; 2]>().prop_map(|parts| Signature(parts.concat().try_into().expect("64 bytes")))
}

pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

pub fn amount() -> impl Strategy<Value = Amount> {
    any::<u64>().prop_map(Amount::from_micro)
}

pub fn chain() -> impl Strategy<Value = ChainId> {
    "[a-z0-9-]{1,32}".prop_map(|text| ChainId::new(&text).expect("an id"))
}

pub fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

pub fn place() -> impl Strategy<Value = Place> {
    (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000).prop_map(|(latitude, longitude)| {
        Place::from_tenth_microdegrees(latitude, longitude).expect("on the globe")
    })
}

pub fn heading() -> impl Strategy<Value = Heading> {
    prop_oneof![
        9 => (0u16..3_600).prop_map(|value| Heading::from_decidegrees(value).expect("below 360°")),
        1 => Just(Heading::UNAVAILABLE),
    ]
}

pub fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        (place(), heading()).prop_map(|(place, heading)| Cell::at(place, heading)),
        "[a-zA-Z0-9_#:-]{1,20}".prop_map(|name| Cell::segment(&name)),
    ]
}

pub fn measure() -> impl Strategy<Value = Measure> {
    prop_oneof![
        (0..=Speed::MAX.cm_per_s())
            .prop_map(|value| Measure::Speed(Speed::from_cm_per_s(value).expect("within range"))),
        (0..=Measure::CONGESTION_MAX).prop_map(Measure::Congestion),
        (0u16..=1_000)
            .prop_map(|value| Measure::Humidity(Humidity::from_permille(value).expect("within range"))),
        (1..=Measure::HAZARD_MAX).prop_map(Measure::Hazard),
    ]
}

pub fn observation() -> impl Strategy<Value = Observation> {
    (cell(), place(), heading(), any::<u16>(), measure()).prop_map(
        |(cell, place, heading, age_ms, measure)| Observation {
            cell,
            place,
            heading,
            age_ms,
            measure,
        },
    )
}

pub fn report() -> impl Strategy<Value = Report> {
    (key_id(), any::<u64>(), timestamp(), vec(observation(), 1..12)).prop_map(
        |(vehicle, sequence, sent_at, observations)| Report {
            version: Report::VERSION,
            vehicle,
            sequence: Sequence(sequence),
            sent_at,
            observations,
        },
    )
}

pub fn signed<T: std::fmt::Debug>(message: impl Strategy<Value = T>) -> impl Strategy<Value = Signed<T>> {
    (message, signature()).prop_map(|(message, signature)| Signed { message, signature })
}

pub fn batch() -> impl Strategy<Value = Batch> {
    (
        address(),
        any::<[u64; 2]>(),
        timestamp(),
        vec(signed(report()), 0..4),
    )
        .prop_map(|(author, [sequence, height], created_at, reports)| Batch {
            author,
            sequence,
            height: Height(height),
            created_at,
            reports,
        })
}

pub fn batch_ref() -> impl Strategy<Value = BatchRef> {
    (hash(), address()).prop_map(|(digest, author)| BatchRef { digest, author })
}

pub fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::Vehicle),
        address().prop_map(|operator| Role::Anchor { operator }),
        address().prop_map(|operator| Role::Unit { operator })
    ]
}

pub fn change() -> impl Strategy<Value = Change> {
    let member = (public_key(), "[a-z]{1,64}", any::<u64>()).prop_map(|(key, provider, power)| Member {
        key,
        provider,
        power,
    });
    let setting = ("[a-z_.0-9]{1,32}", any::<u64>()).prop_map(|(name, value)| Setting { name, value });
    let access = prop_oneof![
        Just(Access::Consortium),
        Just(Access::Private),
        Just(Access::Public)
    ];
    prop_oneof![
        member.prop_map(Change::AddMember),
        address().prop_map(|member| Change::RemoveMember { member }),
        (address(), any::<u64>()).prop_map(|(member, power)| Change::SetPower { member, power }),
        (address(), public_key()).prop_map(|(member, key)| Change::SetKey { member, key }),
        vec(setting, 1..=Setting::COUNT_MAX).prop_map(Change::SetParams),
        access.prop_map(Change::SetAccess),
        (key_id(), hash()).prop_map(|(vehicle, evidence)| Change::Quarantine { vehicle, evidence }),
        key_id().prop_map(|vehicle| Change::Release { vehicle }),
        key_id().prop_map(|vehicle| Change::Revoke { vehicle }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![Step::Propose, Step::Prevote, Step::Precommit])
}

fn word() -> impl Strategy<Value = Word> {
    let (value, valid_round) = (proptest::option::of(hash()), proptest::option::of(any::<u32>()));
    (value, valid_round, signature()).prop_map(|(value, valid_round, signature)| Word {
        value,
        valid_round,
        signature,
    })
}

pub fn bad_batch() -> impl Strategy<Value = BadBatch> {
    let head = (address(), any::<[u64; 2]>(), timestamp(), any::<u32>(), hash());
    let head = head.prop_map(
        |(author, [sequence, height], created_at, count, reports_root)| BatchHead {
            author,
            sequence,
            height: Height(height),
            created_at,
            count,
            reports_root,
        },
    );
    (signed(head), signed(report()), merkle_path()).prop_map(|(head, report, path)| BadBatch {
        head,
        report,
        path,
    })
}

pub fn equivocation() -> impl Strategy<Value = Equivocation> {
    (address(), step(), any::<u64>(), any::<u32>(), word(), word()).prop_map(
        |(member, step, height, round, one, other)| Equivocation {
            member,
            step,
            height: Height(height),
            round,
            one,
            other,
        },
    )
}

pub fn withheld() -> impl Strategy<Value = Withheld> {
    (any::<[u32; 2]>(), any::<u64>()).prop_map(|([epoch, times], height)| Withheld {
        epoch: Epoch(epoch),
        height: Height(height),
        times,
    })
}

pub fn acks() -> impl Strategy<Value = Acks> {
    (address(), any::<u64>(), vec(hash(), 0..6)).prop_map(|(member, height, batches)| Acks {
        member,
        height: Height(height),
        batches,
    })
}

pub fn complaint() -> impl Strategy<Value = Complaint> {
    (signed(acks()), hash()).prop_map(|(promise, batch)| Complaint { promise, batch })
}

pub fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (change(), any::<u64>()).prop_map(|(change, from)| Action::Propose {
            change,
            from: Height(from)
        }),
        any::<u64>().prop_map(|id| Action::Approve {
            proposal: ProposalId(id)
        }),
        any::<u64>().prop_map(|id| Action::Withdraw {
            proposal: ProposalId(id)
        }),
        (address(), amount()).prop_map(|(to, amount)| Action::Transfer { to, amount }),
        (public_key(), any::<u64>(), role()).prop_map(|(key, group, role)| Action::Enrol(Enrolment {
            key,
            group,
            role
        })),
        key_id().prop_map(|vehicle| Action::Revoke { vehicle }),
        (signed(report()), signed(report())).prop_map(|(one, other)| Action::Accuse { one, other }),
        equivocation().prop_map(|words| Action::Blame(Evidence::Equivocation(words))),
        bad_batch().prop_map(|batch| Action::Blame(Evidence::BadBatch(batch))),
        complaint().prop_map(Action::Complain),
    ]
}

pub fn transaction() -> impl Strategy<Value = Transaction> {
    (public_key(), any::<u64>(), action()).prop_map(|(from, nonce, action)| Transaction {
        from,
        nonce,
        action,
    })
}

pub fn header() -> impl Strategy<Value = Header> {
    (
        chain(),
        any::<u64>(),
        timestamp(),
        address(),
        any::<[[u8; 32]; 7]>(),
    )
        .prop_map(|(chain, height, time, proposer, hashes)| {
            let [
                parent,
                transactions_root,
                batches_root,
                outputs_root,
                state_root,
                members_hash,
                next_members_hash,
            ] = hashes.map(Hash);
            Header {
                version: Header::VERSION,
                chain,
                height: Height(height),
                time,
                proposer,
                parent,
                transactions_root,
                batches_root,
                outputs_root,
                state_root,
                members_hash,
                next_members_hash,
            }
        })
}

pub fn body() -> impl Strategy<Value = Body> {
    (vec(signed(transaction()), 0..4), vec(batch_ref(), 0..4)).prop_map(|(transactions, batches)| Body {
        transactions,
        batches,
    })
}

pub fn a_block() -> impl Strategy<Value = Block> {
    (header(), body()).prop_map(|(header, body)| Block { header, body })
}

pub fn a_certificate() -> impl Strategy<Value = Certificate> {
    (
        any::<u64>(),
        any::<u32>(),
        hash(),
        vec((address(), signature()), 0..5),
    )
        .prop_map(|(height, round, block, signatures)| Certificate {
            height: Height(height),
            round,
            block,
            signatures,
        })
}

pub fn head() -> impl Strategy<Value = Head> {
    (header(), a_certificate()).prop_map(|(header, certificate)| Head { header, certificate })
}

pub fn state_key() -> impl Strategy<Value = StateKey> {
    prop_oneof![
        Just(StateKey::Books),
        address().prop_map(StateKey::Account),
        key_id().prop_map(StateKey::Vehicle),
        (cell(), kind()).prop_map(|(cell, kind)| StateKey::Road(cell, kind)),
        address().prop_map(StateKey::Operator),
        Just(StateKey::Charter),
        Just(StateKey::Params),
        address().prop_map(StateKey::Member),
        any::<u64>().prop_map(|id| StateKey::Proposal(ProposalId(id))),
        (any::<u64>(), address()).prop_map(|(id, member)| StateKey::Approval(ProposalId(id), member)),
        any::<[u64; 2]>().prop_map(|[at, id]| StateKey::Scheduled(Height(at), ProposalId(id))),
        address().prop_map(StateKey::Sentence),
        address().prop_map(StateKey::Withheld),
    ]
}

pub fn state_path() -> impl Strategy<Value = StatePath> {
    let end = prop_oneof![
        Just(End::Present),
        Just(End::Empty),
        (hash(), hash()).prop_map(|(key_hash, value_hash)| End::Other { key_hash, value_hash }),
    ];
    (vec(hash(), 0..5), end).prop_map(|(siblings, end)| StatePath { siblings, end })
}

pub fn state_proof() -> impl Strategy<Value = StateProof> {
    let value = prop::option::of(vec(any::<u8>(), 0..60));
    (head(), hash(), state_key(), value, state_path()).prop_map(|(head, open_root, key, value, path)| {
        StateProof {
            head,
            open_root,
            key,
            value,
            path,
        }
    })
}

pub fn item() -> impl Strategy<Value = Item> {
    (any::<u32>(), cell(), kind()).prop_map(|(slot, cell, kind)| Item {
        slot: Slot(slot),
        cell,
        kind,
    })
}

pub fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Counted,
        Outcome::HeardBefore,
        Outcome::NotEnrolled,
        Outcome::Quarantined,
        Outcome::NothingNew,
    ])
}

pub fn purse() -> impl Strategy<Value = Purse> {
    any::<[u64; 4]>().prop_map(|amounts| {
        let [by_use, by_base, point_max, vehicle_max] = amounts.map(Amount::from_micro);
        Purse {
            by_use,
            by_base,
            point_max,
            vehicle_max,
        }
    })
}

pub fn an_output() -> impl Strategy<Value = Output> {
    let receipt = (key_id(), any::<u64>(), outcome()).prop_map(|(vehicle, sequence, outcome)| {
        Output::Receipt(Receipt {
            vehicle,
            sequence: Sequence(sequence),
            outcome,
        })
    });
    let transacted = (hash(), any::<bool>()).prop_map(|(digest, done)| Output::Transacted { digest, done });
    let estimate = (item(), any::<[i32; 4]>(), any::<u32>(), any::<u64>()).prop_map(
        |(item, [value, low, high, spread], vehicles, weight)| {
            Output::Estimate(Estimate {
                item,
                value,
                low,
                high,
                vehicles,
                weight,
                spread,
            })
        },
    );
    let score = (
        any::<u32>(),
        key_id(),
        item(),
        any::<[i32; 7]>(),
        any::<[u32; 7]>(),
        any::<i64>(),
    )
        .prop_map(|(epoch, vehicle, item, signed, of_q, points)| {
            let [value, before, others, known, agreement, anywhere, quality] = signed;
            let [groups, kappa, need, share, freshness, worth, presence] = of_q;
            Output::Score(Score {
                epoch: Epoch(epoch),
                vehicle,
                item,
                value,
                before,
                others,
                known,
                agreement,
                anywhere,
                quality,
                groups,
                kappa,
                need,
                share,
                freshness,
                worth,
                points,
                presence,
            })
        });
    let payment = (
        any::<u32>(),
        key_id(),
        any::<[i64; 2]>(),
        any::<[u32; 2]>(),
        any::<[u64; 6]>(),
    )
        .prop_map(
            |(epoch, vehicle, [points, debt], [reputation, multiplier], rest)| {
                let [useful, presence, base, by_use, by_base, amount] = rest;
                Output::Payment(Payment {
                    epoch: Epoch(epoch),
                    vehicle,
                    points,
                    debt,
                    reputation,
                    multiplier,
                    useful,
                    presence,
                    base,
                    by_use: Amount::from_micro(by_use),
                    by_base: Amount::from_micro(by_base),
                    amount: Amount::from_micro(amount),
                })
            },
        );
    let operator = (any::<[u32; 2]>(), address(), any::<u64>(), amount()).prop_map(
        |([epoch, reputation], operator, served, amount)| Output::OperatorPayment {
            epoch: Epoch(epoch),
            operator,
            served,
            reputation,
            amount,
        },
    );
    let quarantined =
        (any::<u32>(), key_id(), ground(), amount()).prop_map(|(epoch, vehicle, ground, slashed)| {
            Output::Quarantined {
                epoch: Epoch(epoch),
                vehicle,
                ground,
                slashed,
            }
        });
    let released = (any::<u32>(), key_id()).prop_map(|(epoch, vehicle)| Output::Released {
        epoch: Epoch(epoch),
        vehicle,
    });
    let withheld =
        (any::<[u32; 2]>(), address()).prop_map(|([epoch, complaints], member)| Output::Withheld {
            epoch: Epoch(epoch),
            member,
            complaints,
        });
    let fate = prop_oneof![
        Just(Fate::Locked),
        Just(Fate::Returned),
        Just(Fate::Burned),
        key_id().prop_map(|to| Fate::Awarded { to })
    ];
    let bond =
        (any::<u32>(), key_id(), item(), fate, amount()).prop_map(|(epoch, claimant, item, fate, amount)| {
            Output::Bond(Bond {
                epoch: Epoch(epoch),
                claimant,
                item,
                fate,
                amount,
            })
        });
    let closed = (
        any::<u32>(),
        any::<[u64; 5]>(),
        purse(),
        any::<[u64; 2]>(),
        hash(),
    )
        .prop_map(
            |(epoch, amounts, purse, [useful_total, base_total], payout_root)| {
                let [minted, to_vehicles, to_operators, to_treasury, carry] = amounts.map(Amount::from_micro);
                Output::EpochClosed(EpochClosed {
                    epoch: Epoch(epoch),
                    minted,
                    to_vehicles,
                    to_operators,
                    to_treasury,
                    carry,
                    purse,
                    useful_total,
                    base_total,
                    payout_root,
                })
            },
        );
    prop_oneof![
        receipt,
        transacted,
        estimate,
        score,
        payment,
        operator,
        closed,
        bond,
        quarantined,
        released,
        withheld
    ]
}

pub fn merkle_path() -> impl Strategy<Value = Path> {
    (any::<u32>(), any::<u32>(), vec(hash(), 0..5)).prop_map(|(index, count, siblings)| Path {
        index,
        count,
        siblings,
    })
}

pub fn proved_outputs() -> impl Strategy<Value = Vec<(Output, Path)>> {
    vec((an_output(), merkle_path()), 0..4)
}

pub fn outputs_proof() -> impl Strategy<Value = OutputsProof> {
    (head(), proved_outputs()).prop_map(|(head, outputs)| OutputsProof { head, outputs })
}

pub fn receipt_notice() -> impl Strategy<Value = ReceiptNotice> {
    (any::<u64>(), proved_outputs()).prop_map(|(height, outputs)| ReceiptNotice {
        height: Height(height),
        outputs,
    })
}

pub fn books() -> impl Strategy<Value = Books> {
    (any::<[u32; 3]>(), any::<[u64; 4]>(), hash()).prop_map(
        |([epoch, slot, vehicles], amounts, payout_root)| {
            let [minted, burned, treasury, carry] = amounts.map(Amount::from_micro);
            Books {
                epoch: Epoch(epoch),
                slot: Slot(slot),
                minted,
                burned,
                treasury,
                carry,
                payout_root,
                vehicles,
            }
        },
    )
}

pub fn account() -> impl Strategy<Value = Account> {
    (amount(), any::<u64>()).prop_map(|(balance, nonce)| Account { balance, nonce })
}

pub fn standing() -> impl Strategy<Value = Standing> {
    (any::<[u64; 2]>(), any::<i64>(), any::<u32>()).prop_map(|([good, bad], debt, evaluated)| Standing {
        good,
        bad,
        debt,
        evaluated,
    })
}

pub fn operator() -> impl Strategy<Value = Operator> {
    standing().prop_map(|standing| Operator { standing })
}

pub fn vesting() -> impl Strategy<Value = Vesting> {
    (any::<[u32; 2]>(), amount(), amount()).prop_map(|([left, since], released, slashed)| Vesting {
        left,
        since: Epoch(since),
        released,
        slashed,
    })
}

pub fn ground() -> impl Strategy<Value = Ground> {
    prop::sample::select(vec![
        Ground::Reputation,
        Ground::TwoContents,
        Ground::ImpossibleMotion,
        Ground::FalseHazard,
        Ground::Vote,
    ])
}

pub fn vehicle() -> impl Strategy<Value = Vehicle> {
    let quarantine = (any::<u32>(), any::<u8>(), ground()).prop_map(|(since, times, ground)| Quarantine {
        since: Epoch(since),
        times,
        ground,
    });
    (
        public_key(),
        any::<[u64; 5]>(),
        vesting(),
        (role(), prop::option::of(address())),
        any::<bool>(),
        standing(),
        prop::option::of(quarantine),
    )
        .prop_map(
            |(
                key,
                [group, height, bond, unvested, earned],
                vesting,
                (role, enrolled_by),
                revoked,
                standing,
                quarantine,
            )| {
                Vehicle {
                    key,
                    group,
                    role,
                    enrolled_by,
                    bond: Amount::from_micro(bond),
                    enrolled_at: Height(height),
                    revoked,
                    standing,
                    quarantine,
                    unvested: Amount::from_micro(unvested),
                    vesting,
                    earned: Amount::from_micro(earned),
                }
            },
        )
}

pub fn road() -> impl Strategy<Value = Road> {
    (any::<[i32; 2]>(), any::<[u32; 5]>()).prop_map(
        |([value, usual], [slot, heard, memory, deviation, judged])| Road {
            value,
            slot: Slot(slot),
            heard,
            usual,
            memory,
            deviation,
            judged,
        },
    )
}
