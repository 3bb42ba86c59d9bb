//! How does a test come by a long chain quickly?
//!
//! A [`Chain`] makes blocks one after the other as a consortium would that always agrees: real reports in real batches,
//! executed by the ledger's own code, and certificates of a quorum's real signatures. What is left out is the voting.
//! [`Chain::grow`] commits them to a store, and lets a keeper see each, as a running unit does.

use std::sync::Arc;

use milepost_incentives::{Genesis, Params};
use milepost_node::VerifiedBatch;
use milepost_node::keeper::Keeper;
use milepost_node::ledger::{Contents, Executed, Ledger};
use milepost_node::store::{Commit, Rocks, Store};
use milepost_wire::certificate::Head;
use milepost_wire::transaction::{Enrolment, Role};
use milepost_wire::vote::{self, Step};
use milepost_wire::{
    Action, Block, Cell, Certificate, ChainId, Change, Hash, Heading, Height, Measure, Member, Members,
    Observation, Place, ProposalId, Report, SecretKey, Sequence, Signature, Signed, Speed, Timestamp,
    Transaction, Verified,
};

/// Every so many blocks one holds reports.
const REPORTS_EVERY: u64 = 10;
/// So many vehicles report in such a block.
const REPORTS: usize = 20;
/// Time between two blocks.
const INTERVAL_MS: u64 = 500;

/// A chain that grows on demand.
pub struct Chain {
    /// Its beginning.
    pub genesis: Genesis,
    /// The members' keys, in the order in which they were made.
    pub keys: Vec<SecretKey>,
    vehicles: Vec<SecretKey>,
    ledger: Ledger,
    reports: u64,
    again: Vec<Arc<VerifiedBatch>>,
    asked: Vec<Verified<Transaction>>,
}

/// A block and what it came to.
pub struct Made {
    /// The block.
    pub block: Block,
    /// A quorum's.
    pub certificate: Certificate,
    /// What it names.
    pub batches: Vec<Arc<VerifiedBatch>>,
    /// What executing it gave.
    pub executed: Executed,
}

impl Made {
    /// Header and certificate.
    pub fn head(&self) -> Head {
        Head {
            header: self.block.header.clone(),
            certificate: self.certificate.clone(),
        }
    }
}

impl Chain {
    /// A chain of its own, with members and vehicles that anyone can derive.
    pub fn new(members: u64, vehicles: u64) -> Self {
        Self::since(Timestamp::from_millis(700_000_000_000), members, vehicles)
    }

    /// The same, begun at a given time.
    pub fn since(time: Timestamp, members: u64, vehicles: u64) -> Self {
        let keys: Vec<_> = (0..members)
            .map(|nth| SecretKey::from_seed("chain member", nth))
            .collect();
        let cars: Vec<_> = (0..vehicles)
            .map(|nth| SecretKey::from_seed("chain vehicle", nth))
            .collect();
        let member = |(nth, key): (usize, &SecretKey)| Member {
            key: key.public(),
            provider: format!("provider-{nth}"),
            power: 1,
        };
        let enrolment = |(nth, key): (usize, &SecretKey)| Enrolment {
            key: key.public(),
            group: nth as u64,
            role: Role::Vehicle,
        };
        let genesis = Genesis {
            access: milepost_wire::Access::default(),
            chain: ChainId::new("long-chain").expect("an id"),
            time,
            members: Members::new(keys.iter().enumerate().map(member).collect()).expect("members"),
            params: Params {
                slot_ms: 10_000,
                epoch_ms: 60_000,
                ..Params::default()
            },
            vehicles: cars.iter().enumerate().map(enrolment).collect(),
        };
        Self::of(genesis, keys, cars)
    }

    /// A chain with this beginning, whose members' keys, and some of whose vehicles', are known.
    pub fn of(genesis: Genesis, keys: Vec<SecretKey>, vehicles: Vec<SecretKey>) -> Self {
        Self {
            ledger: Ledger::genesis(&genesis),
            genesis,
            keys,
            vehicles,
            reports: 0,
            again: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// The ledger after the newest block.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Makes the next block.
    pub fn make(&mut self) -> Made {
        let height = self.ledger.height().next();
        let time = self.ledger.time().plus(INTERVAL_MS);
        let mut batches = std::mem::take(&mut self.again);
        if height.0.is_multiple_of(REPORTS_EVERY) {
            batches.push(Arc::new(self.batch(time)));
        }
        let contents = Contents {
            transactions: std::mem::take(&mut self.asked),
            batches: batches.clone(),
        };
        let voters = self.voters();
        let proposer = voters[height.0 as usize % voters.len()].address();
        let (block, executed) = self
            .ledger
            .build(proposer, time, &contents)
            .expect("an honest block builds");
        Made {
            certificate: self.certify(&block),
            block,
            batches,
            executed,
        }
    }

    /// In the next block the members decide that the one that has been here longest goes on under a new key.
    pub fn replace_oldest(&mut self) {
        let key = SecretKey::from_seed("chain member", self.keys.len() as u64);
        let change = Change::SetKey {
            member: self.voters()[0].address(),
            key: key.public(),
        };
        self.keys.push(key);
        self.decide(change);
    }

    /// The keys of those who vote on the next block, in the order in which they were made.
    pub fn voters(&self) -> Vec<&SecretKey> {
        let votes = |key: &&SecretKey| self.ledger.members().get(&key.address()).is_some();
        self.keys.iter().filter(votes).collect()
    }

    /// In the next block one member proposes a change, and as many others approve as it takes.
    pub fn decide(&mut self, change: Change) {
        let state = self.ledger.state();
        let proposal = ProposalId(state.charter().newest.0 + 1);
        let (mut asked, mut power) = (Vec::new(), 0);
        for key in self.voters() {
            if state.members().is_quorum(power) {
                break;
            }
            let action = match power {
                0 => Action::Propose {
                    change: change.clone(),
                    from: Height(0),
                },
                _ => Action::Approve { proposal },
            };
            let transaction = Transaction {
                from: key.public(),
                nonce: state.account(&key.address()).nonce,
                action,
            };
            asked.push(Signed::sign(transaction, &self.genesis.chain, key));
            power += state
                .members()
                .get(&key.address())
                .map_or(0, |member| member.power);
        }
        self.asked = asked;
    }

    /// The next block will name a batch of an earlier block once more.
    pub fn name_again(&mut self, digest: Hash, store: &Rocks) {
        let signed = store.batch(&digest).expect("reads").expect("it is there");
        let members = self.ledger.members();
        let author = members.point(&signed.message.author).expect("a member");
        let key = |vehicle| {
            let found = self.ledger.state().vehicle(&vehicle)?;
            found.key.verifying_key().ok()
        };
        let batch = VerifiedBatch::verify(
            signed,
            self.ledger.height(),
            &self.genesis.chain,
            author,
            key,
            |_| None,
        );
        self.again.push(Arc::new(batch.expect("it verifies")));
    }

    /// Goes on from a block that was made.
    pub fn advance(&mut self, made: &Made) {
        self.ledger = self.ledger.advance(&made.block, made.executed.clone());
    }

    /// Commits so many blocks to a store.
    pub fn grow(&mut self, store: &mut Rocks, keeper: Option<&Keeper>, count: u64) {
        for _ in 0..count {
            let made = self.make();
            let signed: Vec<_> = made.batches.iter().map(|batch| batch.signed()).collect();
            store
                .commit(&Commit {
                    block: &made.block,
                    certificate: &made.certificate,
                    batches: &signed,
                    outputs: &made.executed.outputs,
                    tree: &made.executed.tree_changes,
                    open: &made.executed.open_changes,
                    members: self.ledger.changed_members(),
                })
                .expect("the disk works");
            self.advance(&made);
            if let Some(keeper) = keeper {
                keeper
                    .committed(&made.head(), self.ledger.state())
                    .expect("the disk works");
            }
        }
    }

    /// A quorum's certificate for a block.
    pub fn certify(&self, block: &Block) -> Certificate {
        let (height, hash) = (block.header.height, block.hash());
        let voters = self.voters();
        let quorum = voters.len() * 2 / 3 + 1;
        let mut signatures: Vec<_> = voters[..quorum]
            .iter()
            .map(|key| {
                let voter = key.address();
                let digest = vote::digest(&self.genesis.chain, Step::Precommit, height, 0, Some(hash), voter);
                (voter, Signature::sign(key, &digest))
            })
            .collect();
        signatures.sort_by_key(|(voter, _)| *voter);
        Certificate {
            height,
            round: 0,
            block: hash,
            signatures,
        }
    }

    /// A few vehicles report their speed, each from a place of its own.
    fn batch(&mut self, now: Timestamp) -> VerifiedBatch {
        let chain = self.genesis.chain.clone();
        let heading = Heading::from_degrees(0.0);
        let reports = (0..REPORTS)
            .map(|_| {
                self.reports += 1;
                let nth = self.reports as usize % self.vehicles.len();
                let north = 44.3 + f64::from((self.reports % 400) as u32) * 0.001;
                let place = Place::from_degrees(north, 8.8).expect("on the globe");
                let speed = Speed::from_cm_per_s(900 + (self.reports % 300) as u16);
                let observation = Observation {
                    cell: Cell::at(place, heading),
                    place,
                    heading,
                    age_ms: 0,
                    measure: Measure::Speed(speed.expect("slow enough")),
                };
                let report = Report {
                    version: Report::VERSION,
                    vehicle: self.vehicles[nth].key_id(),
                    sequence: Sequence(self.reports),
                    sent_at: now,
                    observations: vec![observation],
                };
                Signed::sign(report, &chain, &self.vehicles[nth])
            })
            .collect();
        let voters = self.voters();
        let author = voters[self.reports as usize % voters.len()];
        VerifiedBatch::own(author, &chain, self.reports, self.ledger.height(), now, reports)
    }
}
