//! Are these still the bytes that everybody else speaks?
//!
//! One file per message in `golden/`, made from fixed values and keys that anyone can derive. A difference here
//! is a new protocol: see `golden/README.md`. What the files hold also verifies, so that they can serve as
//! examples to another implementation.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use milepost_wire::bad_batch::BadBatch;
use milepost_wire::batch::BatchRef;
use milepost_wire::certificate::Head;
use milepost_wire::equivocation::Word;
use milepost_wire::light::{Bounds, LightBlock, LightClient, Progress};
use milepost_wire::output::{
    self, Bond, EpochClosed, Estimate, Fate, Item, Offence, Outcome, Payment, Receipt, Score,
};
use milepost_wire::payout::Purse;
use milepost_wire::proof::{OutputsProof, ReceiptNotice, StateProof};
use milepost_wire::question::{Question, SignedQuestion};
use milepost_wire::state::{
    Account, Books, Ground, Operator, Quarantine, Road, Standing, StateKey, Vehicle, Vesting, Withheld,
};
use milepost_wire::time::{Epoch, Slot};
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::tree::{self, End, StatePath};
use milepost_wire::vote::{self, Step};
use milepost_wire::*;

/// By file name, without `.hex`.
type Golden = BTreeMap<String, Vec<u8>>;

fn chain() -> ChainId {
    ChainId::new("golden").expect("an id")
}

fn vehicle_key() -> SecretKey {
    SecretKey::from_seed("golden vehicle", 1)
}

fn member_key(seed: u64) -> SecretKey {
    SecretKey::from_seed("golden member", seed)
}

fn members() -> Members {
    let member = |seed| Member {
        key: member_key(seed).public(),
        provider: format!("provider-{seed}"),
        power: seed + 1,
    };
    Members::new((0..4).map(member).collect()).expect("members")
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_795_000_000_000)
}

fn digest(name: &str) -> Hash {
    Hash::of("golden", &[name.as_bytes()])
}

fn cell() -> Cell {
    let place = Place::from_degrees(44.494, 11.343).expect("on the globe");
    Cell::at(place, Heading::from_degrees(90.0))
}

/// One observation of each kind; the third on a map's segment, the last without a heading, south and west.
fn report() -> Report {
    let here = Place::from_degrees(44.494, 11.343).expect("on the globe");
    let there = Place::from_degrees(-33.4489, -70.6693).expect("on the globe");
    let east = Heading::from_degrees(90.0);
    let observation = |cell, place, heading, age_ms, measure| Observation {
        cell,
        place,
        heading,
        age_ms,
        measure,
    };
    let speed = Measure::Speed(Speed::from_cm_per_s(1_389).expect("a speed"));
    let humidity = Measure::Humidity(Humidity::from_permille(500).expect("a humidity"));
    let nowhere = Heading::UNAVAILABLE;
    Report {
        version: Report::VERSION,
        vehicle: vehicle_key().key_id(),
        sequence: Sequence(7),
        sent_at: now(),
        observations: vec![
            observation(cell(), here, east, 4_000, speed),
            observation(cell(), here, east, 3_000, Measure::Congestion(2)),
            observation(Cell::segment("gneE12"), here, east, 2_000, humidity),
            observation(Cell::at(there, nowhere), there, nowhere, 0, Measure::Hazard(94)),
        ],
    }
}

fn signed_report() -> Verified<Report> {
    Signed::sign(report(), &chain(), &vehicle_key())
}

/// Another content under the same sequence number.
fn other_content() -> Verified<Report> {
    let mut report = report();
    report.observations.truncate(1);
    Signed::sign(report, &chain(), &vehicle_key())
}

fn batch() -> Batch {
    Batch {
        author: member_key(0).address(),
        sequence: 3,
        height: Height(6),
        created_at: now().plus(500),
        reports: vec![signed_report().into_signed()],
    }
}

fn signed_batch() -> Verified<Batch> {
    Signed::sign(batch(), &chain(), &member_key(0))
}

/// Somebody asks a unit for its status.
fn signed_question() -> SignedQuestion {
    let asked = "GET /v1/status";
    let header = Question::authorization(&member_key(0), &chain(), asked, now());
    let reader = Question::reader(&header, &chain(), asked, now());
    assert_eq!(reader, Ok(member_key(0).address()));
    let bytes = hex::decode(&header[Question::SCHEME.len()..]).expect("hexadecimal");
    decode(&bytes).expect("a question")
}

fn batch_ref() -> BatchRef {
    BatchRef {
        digest: signed_batch().digest(),
        author: member_key(0).address(),
    }
}

fn transactions() -> [(&'static str, Transaction); 16] {
    let actions = [
        (
            "transfer",
            Action::Transfer {
                to: vehicle_key().address(),
                amount: Amount::from_micro(1_500_000),
            },
        ),
        (
            "enrol",
            Action::Enrol(Enrolment {
                key: vehicle_key().public(),
                group: 12,
                role: Role::Vehicle,
            }),
        ),
        (
            "revoke",
            Action::Revoke {
                vehicle: vehicle_key().key_id(),
            },
        ),
        (
            "enrol_anchor",
            Action::Enrol(Enrolment {
                key: SecretKey::from_seed("golden anchor", 0).public(),
                group: 13,
                role: Role::Anchor {
                    operator: member_key(0).address(),
                },
            }),
        ),
        (
            "accuse",
            Action::Accuse {
                one: signed_report().into_signed(),
                other: other_content().into_signed(),
            },
        ),
        (
            "propose_add_member",
            Action::Propose {
                change: Change::AddMember(members().to_vec()[0].clone()),
                from: Height(9),
            },
        ),
        (
            "propose_set_key",
            Action::Propose {
                change: Change::SetKey {
                    member: member_key(0).address(),
                    key: vehicle_key().public(),
                },
                from: Height(9),
            },
        ),
        (
            "propose_set_params",
            Action::Propose {
                change: Change::SetParams(vec![Setting {
                    name: "speed.near".into(),
                    value: 150,
                }]),
                from: Height(9),
            },
        ),
        (
            "approve",
            Action::Approve {
                proposal: ProposalId(3),
            },
        ),
        (
            "withdraw",
            Action::Withdraw {
                proposal: ProposalId(3),
            },
        ),
        ("blame", Action::Blame(Evidence::Equivocation(equivocation()))),
        ("self_enrol", Action::SelfEnrol),
        ("blame_batch", Action::Blame(Evidence::BadBatch(bad_batch()))),
        (
            "enrol_unit",
            Action::Enrol(Enrolment {
                key: SecretKey::from_seed("golden unit", 0).public(),
                group: 0,
                role: Role::Unit {
                    operator: member_key(0).address(),
                },
            }),
        ),
        (
            "propose_revoke",
            Action::Propose {
                change: Change::Revoke {
                    vehicle: vehicle_key().key_id(),
                },
                from: Height(9),
            },
        ),
        ("complain", Action::Complain(complaint())),
    ];
    let mut nonce = 0;
    actions.map(|(name, action)| {
        nonce += 1;
        let from = member_key(0).public();
        (name, Transaction { from, nonce, action })
    })
}

fn signed_transaction() -> Verified<Transaction> {
    let [(_, transfer), ..] = transactions();
    Signed::sign(transfer, &chain(), &member_key(0))
}

fn receipt(outcome: Outcome) -> Output {
    Output::Receipt(Receipt {
        vehicle: vehicle_key().key_id(),
        sequence: Sequence(7),
        outcome,
    })
}

fn bond(fate: Fate) -> Output {
    Output::Bond(Bond {
        epoch: Epoch(5),
        claimant: vehicle_key().key_id(),
        item: Item {
            slot: Slot(1_201),
            cell: cell(),
            kind: Kind::Hazard,
        },
        fate,
        amount: Amount::from_micro(100_000),
    })
}

/// Two prevotes of one member in one round.
/// What shows the first report of the golden batch to be in it.
fn bad_batch() -> BadBatch {
    BadBatch::of(signed_batch().signed(), 0).expect("it has one")
}

fn equivocation() -> Equivocation {
    let key = member_key(0);
    let (member, height, round) = (key.address(), Height(7), 1);
    let word = |value| {
        let digest = vote::digest(&chain(), Step::Prevote, height, round, value, member);
        Word {
            value,
            valid_round: None,
            signature: Signature::sign(&key, &digest),
        }
    };
    Equivocation {
        member,
        step: Step::Prevote,
        height,
        round,
        one: word(Some(digest("block"))),
        other: word(None),
    }
}

/// What a member says of another that acknowledged the golden batch.
fn complaint() -> Complaint {
    let batch = signed_batch().digest();
    let acks = Acks {
        member: member_key(1).address(),
        height: Height(7),
        batches: vec![batch, digest("another batch")],
    };
    Complaint {
        promise: Signed::sign(acks, &chain(), &member_key(1)).into_signed(),
        batch,
    }
}

/// Outputs about members, beside those that are proved below.
fn member_outputs() -> [(&'static str, Output); 4] {
    let epoch = Epoch(5);
    [
        (
            "sentenced",
            Output::Sentenced {
                epoch,
                member: member_key(0).address(),
                offence: Offence::Equivocation {
                    step: Step::Prevote,
                    height: Height(7),
                    round: 1,
                },
                jailed_until: Some(Epoch(173)),
            },
        ),
        (
            "sentenced_for_batch",
            Output::Sentenced {
                epoch,
                member: member_key(0).address(),
                offence: Offence::BadBatch {
                    author: member_key(0).address(),
                    sequence: 3,
                },
                jailed_until: None,
            },
        ),
        (
            "forfeited",
            Output::Forfeited {
                epoch,
                operator: member_key(0).address(),
                amount: Amount::from_micro(40_000),
            },
        ),
        (
            "withheld",
            Output::Withheld {
                epoch,
                member: member_key(1).address(),
                complaints: 2,
            },
        ),
    ]
}

fn outputs() -> [(&'static str, Output); 17] {
    let vehicle = vehicle_key().key_id();
    let (epoch, slot) = (Epoch(5), Slot(1_201));
    let item = Item {
        slot,
        cell: cell(),
        kind: Kind::Speed,
    };
    [
        ("receipt_counted", receipt(Outcome::Counted)),
        ("receipt_heard_before", receipt(Outcome::HeardBefore)),
        ("receipt_not_enrolled", receipt(Outcome::NotEnrolled)),
        ("receipt_quarantined", receipt(Outcome::Quarantined)),
        ("receipt_nothing_new", receipt(Outcome::NothingNew)),
        (
            "transacted",
            Output::Transacted {
                digest: signed_transaction().digest(),
                done: true,
            },
        ),
        (
            "estimate",
            Output::Estimate(Estimate {
                item,
                value: 1_389,
                low: 1_250,
                high: 1_500,
                vehicles: 9,
                weight: 500_000,
                spread: 60,
            }),
        ),
        (
            "score",
            Output::Score(Score {
                epoch,
                vehicle,
                item,
                value: 1_389,
                before: 1_300,
                others: -20,
                known: -20,
                agreement: 60_000,
                anywhere: -2_000,
                quality: 40_000,
                groups: 4,
                kappa: 65_536,
                need: 131_072,
                share: 32_768,
                freshness: 65_000,
                worth: 65_000,
                points: -39_672,
                presence: 65_000,
            }),
        ),
        (
            "payment",
            Output::Payment(Payment {
                epoch,
                vehicle,
                points: 1_000_000,
                debt: -5_000,
                reputation: 60_000,
                multiplier: 54_931,
                useful: 834_000,
                presence: 23_860,
                base: 20_000,
                by_use: Amount::from_micro(70_000),
                by_base: Amount::from_micro(3_000),
                amount: Amount::from_micro(73_000),
            }),
        ),
        (
            "operator_payment",
            Output::OperatorPayment {
                epoch,
                operator: member_key(0).address(),
                served: 700_000,
                reputation: 60_000,
                amount: Amount::from_micro(40_000),
            },
        ),
        (
            "epoch_closed",
            Output::EpochClosed(EpochClosed {
                epoch,
                minted: Amount::from_micro(1_000_000),
                to_vehicles: Amount::from_micro(600_000),
                to_operators: Amount::from_micro(200_000),
                to_treasury: Amount::from_micro(150_000),
                carry: Amount::from_micro(50_000),
                purse: Purse {
                    by_use: Amount::from_micro(630_000),
                    by_base: Amount::from_micro(70_000),
                    point_max: Amount::from_micro(10_000),
                    vehicle_max: Amount::from_micro(7_000),
                },
                useful_total: 9_000_000,
                base_total: 400_000,
                payout_root: digest("payout root"),
            }),
        ),
        ("bond_locked", bond(Fate::Locked)),
        ("bond_returned", bond(Fate::Returned)),
        ("bond_burned", bond(Fate::Burned)),
        (
            "bond_awarded",
            bond(Fate::Awarded {
                to: SecretKey::from_seed("golden vehicle", 2).key_id(),
            }),
        ),
        (
            "quarantined",
            Output::Quarantined {
                epoch,
                vehicle,
                ground: Ground::FalseHazard,
                slashed: Amount::from_micro(7_000),
            },
        ),
        ("released", Output::Released { epoch, vehicle }),
    ]
}

fn account() -> Account {
    Account {
        balance: Amount::from_micro(12_000_001),
        nonce: 4,
    }
}

fn account_key() -> StateKey {
    StateKey::Account(member_key(0).address())
}

/// The block whose state the path leads to.
fn header(path: &StatePath, value: Option<&[u8]>) -> Header {
    let tree_root = path.tree_root(&account_key().bytes(), value).expect("it fits");
    let body = body();
    Header {
        version: Header::VERSION,
        chain: chain(),
        height: Height(42),
        time: now().plus(1_000),
        proposer: member_key(1).address(),
        parent: digest("parent"),
        transactions_root: body.transactions_root(),
        batches_root: body.batches_root(),
        outputs_root: output::root(&outputs().map(|(_, output)| output)),
        state_root: tree::state_root(&tree_root, &digest("open")),
        members_hash: members().hash(),
        next_members_hash: members().hash(),
    }
}

fn body() -> Body {
    Body {
        transactions: vec![signed_transaction().into_signed()],
        batches: vec![batch_ref()],
    }
}

fn precommit(header: &Header, voter: Address) -> Hash {
    let (height, value) = (header.height, Some(header.hash()));
    vote::digest(&chain(), Step::Precommit, height, 1, value, voter)
}

/// Certified by three of the four members, with nine of ten votes.
fn head(header: Header) -> Head {
    let mut signatures: Vec<_> = (1..4)
        .map(|seed| {
            let voter = member_key(seed).address();
            (
                voter,
                Signature::sign(&member_key(seed), &precommit(&header, voter)),
            )
        })
        .collect();
    signatures.sort_by_key(|(address, _)| *address);
    let certificate = Certificate {
        height: header.height,
        round: 1,
        block: header.hash(),
        signatures,
    };
    Head { header, certificate }
}

/// The block with its members, which one starts from who knows [`members`] or a third of them.
fn light_block(head: &Head, next_members: &Members) -> LightBlock {
    let next_members = match *next_members == members() {
        true => Vec::new(),
        false => next_members.to_vec(),
    };
    let block = LightBlock {
        head: head.clone(),
        members: members().to_vec(),
        next_members,
    };
    let consortium = Consortium {
        chain: chain(),
        genesis: digest("genesis"),
        members: members(),
    };
    let time = head.header.time;
    let mut client = LightClient::new(consortium, time, Bounds::default());
    assert_eq!(client.offer(time, block.clone()), Ok(Progress::Believed));
    block
}

/// A head that gives the vote to others: the first member's key is another from the next block on.
fn changing() -> (Head, Members) {
    let mut list = members().to_vec();
    list[0].key = member_key(9).public();
    let next = Members::new(list).expect("members");
    let header = Header {
        next_members_hash: next.hash(),
        ..present().head.header
    };
    (head(header), next)
}

fn state_proof(end: End, value: Option<Vec<u8>>) -> StateProof {
    let siblings = vec![digest("sibling 0"), digest("sibling 1")];
    let path = StatePath { siblings, end };
    let head = head(header(&path, value.as_deref()));
    let (open_root, key) = (digest("open"), account_key());
    let proof = StateProof {
        head,
        open_root,
        key,
        value,
        path,
    };
    proof.verify(key, &chain(), &members()).expect("a proof");
    proof
}

/// Another key's leaf in the place of [`account_key`]: the hash of that key differs in the last bit alone.
fn other() -> End {
    let mut key_hash = tree::key_hash(&account_key().bytes());
    key_hash.0[31] ^= 1;
    let value_hash = Hash::of("value", &[b"another value"]);
    End::Other { key_hash, value_hash }
}

fn present() -> StateProof {
    state_proof(End::Present, Some(encode(&account())))
}

fn proved_outputs() -> Vec<(Output, merkle::Path)> {
    let outputs = outputs().map(|(_, output)| output);
    let tree = merkle::Tree::new(outputs.iter().map(Output::leaf).collect());
    [0, 6, 10]
        .map(|index| (outputs[index].clone(), tree.prove(index).expect("within")))
        .to_vec()
}

/// Notes a message's bytes, having read them back.
fn add<T: Message + PartialEq + Debug>(golden: &mut Golden, name: &str, message: &T) {
    let bytes = encode(message);
    assert_eq!(&decode::<T>(&bytes).expect("its own bytes"), message);
    assert!(golden.insert(name.to_owned(), bytes).is_none(), "{name} twice");
}

fn messages() -> Golden {
    let mut golden = Golden::new();
    let all = &mut golden;

    assert!(report().is_valid());
    add(all, "report", &report());
    add(all, "signed_report", signed_report().signed());
    add(all, "batch", &batch());
    add(all, "signed_batch", signed_batch().signed());
    for (name, transaction) in &transactions() {
        add(all, &format!("transaction_{name}"), transaction);
    }
    add(all, "signed_transaction", signed_transaction().signed());
    add(all, "signed_question", &signed_question());
    add(all, "acks", &complaint().promise.message);

    let head = present().head;
    head.verify(&chain(), &members()).expect("a head");
    add(all, "header", &head.header);
    add(all, "certificate", &head.certificate);
    add(all, "head", &head);
    add(all, "light_block", &light_block(&head, &members()));
    add(
        all,
        "light_block_of_a_change",
        &light_block(&changing().0, &changing().1),
    );
    let (header, body) = (head.header.clone(), body());
    add(all, "block", &Block { header, body });

    add(all, "state_proof_present", &present());
    add(all, "state_proof_empty", &state_proof(End::Empty, None));
    add(all, "state_proof_other", &state_proof(other(), None));
    let notice = ReceiptNotice {
        height: head.header.height,
        outputs: proved_outputs(),
    };
    notice.verify(&head.header).expect("a notice");
    add(all, "receipt_notice", &notice);
    let outputs_proof = OutputsProof {
        head,
        outputs: proved_outputs(),
    };
    outputs_proof.verify(&chain(), &members()).expect("a proof");
    add(all, "outputs_proof", &outputs_proof);
    for (name, output) in outputs().iter().chain(&member_outputs()) {
        add(all, &format!("output_{name}"), output);
    }

    golden.extend(parts());
    golden
}

/// What travels, or is hashed, inside of a message.
fn parts() -> impl Iterator<Item = (String, Vec<u8>)> {
    let vehicle = |quarantine| Vehicle {
        key: vehicle_key().public(),
        group: 12,
        role: Role::Vehicle,
        enrolled_by: Some(member_key(0).address()),
        bond: Amount::from_micro(10_000_000),
        enrolled_at: Height(3),
        revoked: false,
        standing: Standing {
            good: 3 * state::Q,
            bad: state::Q,
            debt: -5_000,
            evaluated: 77,
        },
        quarantine,
        unvested: Amount::from_micro(73_000),
        vesting: Vesting {
            left: 84 * 65_536,
            since: Epoch(4),
            released: Amount::from_micro(820_000),
            slashed: Amount::from_micro(7_000),
        },
        earned: Amount::from_micro(900_000),
    };
    let quarantine = Quarantine {
        since: Epoch(4),
        times: 2,
        ground: Ground::TwoContents,
    };
    let books = Books {
        epoch: Epoch(5),
        slot: Slot(1_201),
        minted: Amount::from_micro(5_000_000),
        burned: Amount::from_micro(1_000),
        treasury: Amount::from_micro(700_000),
        carry: Amount::from_micro(50_000),
        payout_root: digest("payout root"),
        vehicles: 2,
    };
    let road = Road {
        value: 1_389,
        slot: Slot(1_201),
        heard: 200_000,
        usual: 1_300,
        memory: 65_536,
        deviation: 140,
        judged: 300_000,
    };
    let header = present().head.header;
    let (voter, block) = (member_key(1).address(), header.hash());
    let key_hash = tree::key_hash(&account_key().bytes());
    [
        ("batch_ref", encode(&batch_ref())),
        ("state_key_books", StateKey::Books.bytes()),
        ("state_key_account", account_key().bytes()),
        (
            "state_key_vehicle",
            StateKey::Vehicle(vehicle_key().key_id()).bytes(),
        ),
        (
            "state_key_withheld",
            StateKey::Withheld(member_key(1).address()).bytes(),
        ),
        ("state_key_road", StateKey::Road(cell(), Kind::Humidity).bytes()),
        (
            "state_key_operator",
            StateKey::Operator(member_key(0).address()).bytes(),
        ),
        ("state_books", encode(&books)),
        ("state_account", encode(&account())),
        ("state_vehicle", encode(&vehicle(None))),
        ("state_vehicle_quarantined", encode(&vehicle(Some(quarantine)))),
        ("state_road", encode(&road)),
        (
            "state_withheld",
            encode(&Withheld {
                epoch: Epoch(5),
                height: Height(9),
                times: 2,
            }),
        ),
        (
            "state_operator",
            encode(&Operator {
                standing: vehicle(None).standing,
            }),
        ),
        ("member", encode(&members().to_vec()[0])),
        // What is hashed and signed, rather than sent.
        ("digest_report", signed_report().digest().0.to_vec()),
        ("digest_batch", signed_batch().digest().0.to_vec()),
        ("digest_transaction", signed_transaction().digest().0.to_vec()),
        ("digest_precommit", precommit(&header, voter).0.to_vec()),
        (
            "digest_prevote_nil",
            vote::digest(&chain(), Step::Prevote, header.height, 1, None, voter)
                .0
                .to_vec(),
        ),
        (
            "digest_proposal",
            vote::proposal_digest(&chain(), header.height, 1, -1, block, voter)
                .0
                .to_vec(),
        ),
        ("hash_block", block.0.to_vec()),
        ("hash_members", members().hash().0.to_vec()),
        ("hash_outputs_root", header.outputs_root.0.to_vec()),
        (
            "hash_state_leaf",
            tree::leaf_hash(&key_hash, &encode(&account())).0.to_vec(),
        ),
        ("hash_state_root", header.state_root.0.to_vec()),
    ]
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), bytes))
}

/// Thirty-two bytes a line, so that a difference shows where it is.
fn to_text(bytes: &[u8]) -> String {
    bytes
        .chunks(32)
        .map(|line| hex::encode(line) + "\n")
        .collect::<String>()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn every_message_has_the_bytes_that_it_always_had() {
    let bless = std::env::var_os("MILEPOST_BLESS").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for (name, bytes) in &messages() {
        let (path, text) = (folder().join(name).with_extension("hex"), to_text(bytes));
        if bless {
            fs::write(&path, text).expect("the folder can be written");
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            wrong.push(format!("{name}.hex, now:\n{text}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "other bytes than in wire/golden, whose README says what that means:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_file_is_left_of_a_message_that_is_gone() {
    let messages = messages();
    for entry in fs::read_dir(folder()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "hex") {
            let name = path.file_stem().expect("a name").to_string_lossy();
            assert!(
                messages.contains_key(name.as_ref()),
                "{} belongs to no message",
                path.display()
            );
        }
    }
}
