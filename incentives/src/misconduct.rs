//! What follows when a member has signed what no honest one does?
//!
//! Two different things where it may sign one, or a batch with a report that its vehicle did not sign. Any member brings it
//! before the ledger ([`Evidence`]); every member verifies it with the keys that the ledger has. It is then *sentenced*: its operator's share of the epoch is forfeited to the treasury
//! ([`Params::forfeit_bps`]), and for [`Params::jail_epochs`] it is without a vote. It loses the vote as it would by the
//! members' decision ([`crate::proposal`]): two heights later, in steps that light clients can follow. It gets it back by
//! the members' decision alone, and not before its time: only people can tell whether its key is in one place again.
//!
//! Jailing must not stop the chain. It happens only where the members that stay hold more than two thirds of all power,
//! that of those who are in jail included: so never more are in jail than consensus can bear to be false. Whoever is
//! sentenced beyond that keeps its vote and loses its share.
//!
//! Of a batch of a listening unit: the unit is revoked, and its operator forfeits its share and keeps its vote. What the
//! operator signed itself is not covered by that.
//!
//! Once for each offence: a sentence covers all that its member signed up to the height at which it takes force. Words
//! older than [`Params::evidence_blocks`] are not heard.
//!
//! Not covered: what leaves no signature, [`crate::withheld`].
//!
//! Source: docs/adr/0016-misconduct.md.

use milepost_wire::bad_batch::NoBadBatch;
use milepost_wire::equivocation::NoEquivocation;
use milepost_wire::evidence::{Evidence, Unproven};
use milepost_wire::output::{Offence, Output};
use milepost_wire::state::Sentence;
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Amount, Change, Height, KeyId, Member, PublicKey};
use wincode::{SchemaRead, SchemaWrite};

use crate::fixed::{BPS, muldiv};
use crate::membership;
use crate::proposal;
use crate::state::State;
use crate::withheld;

/// Why a member is not sentenced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Acquittal {
    /// It has no vote, is not in jail, and was not renamed lately.
    #[error("{0} is no member of the consortium, nor was it one lately")]
    Stranger(Address),
    /// Words of a height that is not over.
    #[error("height {found} is not over: block {block} is being made")]
    NotOver {
        /// Of which height they are.
        found: Height,
        /// The block that they were brought in.
        block: Height,
    },
    /// Words too old.
    #[error("words of height {found} are too old: what is older than {oldest} is not heard")]
    TooOld {
        /// Of which height they are.
        found: Height,
        /// The oldest that are heard.
        oldest: Height,
    },
    /// Words that a sentence covers.
    #[error("{member} was sentenced for what it signed up to height {absolved}")]
    Sentenced {
        /// Whose.
        member: Address,
        /// Up to which height.
        absolved: Height,
    },
    /// Words that do not convict it.
    #[error(transparent)]
    Unproven(#[from] Unproven),
}

/// A key that a member had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Renamed {
    /// The key of before.
    pub(crate) key: PublicKey,
    /// Its present name.
    pub(crate) to: Address,
    /// In which block the name ended.
    pub(crate) at: Height,
}

impl State {
    /// Who, by its present name, is convicted by evidence that is brought in block `height`. Cost: a square root and two
    /// verifications.
    ///
    /// # Errors
    ///
    /// [`Acquittal`].
    pub fn convict(&self, height: Height, evidence: &Evidence) -> Result<Address, Acquittal> {
        let (found, block) = (evidence.height(), height);
        if found >= block {
            return Err(Acquittal::NotOver { found, block });
        }
        let oldest = Height(block.0.saturating_sub(self.params().evidence_blocks));
        if found < oldest {
            return Err(Acquittal::TooOld { found, oldest });
        }
        let name = evidence.accused();
        let of_unit = self.guilty_unit(evidence).is_some();
        let (member, key) = self.accused(&name).ok_or(Acquittal::Stranger(name))?;
        if let Some(absolved) = self.sentence(&member).map(|sentence| sentence.absolved)
            && found <= absolved
            && !of_unit
        {
            return Err(Acquittal::Sentenced { member, absolved });
        }
        self.prove(evidence, name, key)?;
        Ok(member)
    }

    fn prove(&self, evidence: &Evidence, name: Address, key: PublicKey) -> Result<(), Unproven> {
        let (chain, point) = (&self.genesis.chain, key.verifying_key());
        match evidence {
            Evidence::Equivocation(words) => {
                let point = point.map_err(|_| NoEquivocation::NotSigned(name))?;
                words.verify(chain, &point)?;
            }
            Evidence::BadBatch(batch) => {
                let point = point.map_err(|_| NoBadBatch::NotSigned(name))?;
                let vehicle = self.vehicle(&batch.report.message.vehicle);
                let vehicle = vehicle.and_then(|vehicle| vehicle.key.verifying_key().ok());
                batch.verify(chain, &point, vehicle.as_ref())?;
            }
        }
        Ok(())
    }

    /// The listening unit whose batch it is, if so.
    fn guilty_unit(&self, evidence: &Evidence) -> Option<KeyId> {
        match evidence {
            Evidence::Equivocation(_) => None,
            Evidence::BadBatch(batch) => {
                let author = batch.author();
                let is_member = self.members().get(&author).is_some();
                self.unit(&author).filter(|_| !is_member).map(|_| author.key_id())
            }
        }
    }

    /// What a member was last sentenced to.
    pub fn sentence(&self, member: &Address) -> Option<&Sentence> {
        self.sentences.get(member)
    }

    /// Whoever was ever sentenced, and to what last.
    pub fn sentences(&self) -> impl Iterator<Item = (Address, &Sentence)> {
        self.sentences
            .iter()
            .map(|(member, sentence)| (*member, sentence))
    }

    /// Whether a member lost its vote by a sentence and did not get it back.
    pub fn is_jailed(&self, member: &Address) -> bool {
        self.sentence(member)
            .is_some_and(|sentence| sentence.jailed.is_some())
    }

    /// Who had this name when it signed, by its present name, and the key that it signed with.
    fn accused(&self, name: &Address) -> Option<(Address, PublicKey)> {
        let voting = self.members().get(name);
        let jailed = || self.sentence(name)?.jailed.as_ref();
        if let Some(member) = voting.or_else(jailed) {
            return Some((*name, member.key));
        }
        if let Some(renamed) = self.open.renamed.get(name) {
            return Some((renamed.to, renamed.key));
        }
        let unit = self.unit(name)?;
        Some((unit.role.operator()?, unit.key))
    }
}

/// Sentences whom evidence convicts.
pub(crate) fn blame(
    state: &mut State,
    height: Height,
    evidence: &Evidence,
    outputs: &mut Vec<Output>,
) -> Result<(), Acquittal> {
    let member = state.convict(height, evidence)?;
    let epoch = state.books().epoch;
    let before = state.sentence(&member).cloned();
    let kept = before.as_ref().and_then(|sentence| sentence.jailed.clone());
    let unit = state.guilty_unit(evidence);
    let (jailed, until, absolved) = match unit {
        Some(unit) => {
            state.revoke(unit);
            let before = before.as_ref();
            (
                kept,
                before.map_or(epoch, |sentence| sentence.until),
                before.map_or(Height::ZERO, |sentence| sentence.absolved),
            )
        }
        None => {
            let vote = may_lose_vote(state, &member).filter(|_| state.params().jail_epochs > 0);
            if vote.is_some() {
                proposal::schedule(state, Change::RemoveMember { member }, height);
            }
            let until = Epoch(epoch.0.saturating_add(state.params().jail_epochs));
            // It may be there already.
            (vote.or(kept), until, height.next().next())
        }
    };
    outputs.push(Output::Sentenced {
        epoch,
        member,
        offence: offence(evidence),
        jailed_until: jailed.as_ref().map(|_| until),
    });
    let sentence = Sentence {
        epoch,
        until,
        absolved,
        times: before.map_or(0, |sentence| sentence.times).saturating_add(1),
        jailed,
    };
    state.sentences.insert(member, sentence);
    Ok(())
}

fn offence(evidence: &Evidence) -> Offence {
    match evidence {
        Evidence::Equivocation(words) => Offence::Equivocation {
            step: words.step,
            height: words.height,
            round: words.round,
        },
        Evidence::BadBatch(batch) => Offence::BadBatch {
            author: batch.author(),
            sequence: batch.head.message.sequence,
        },
    }
}

/// The vote that a member loses, where the others can do without.
fn may_lose_vote(state: &State, member: &Address) -> Option<Member> {
    if state.is_jailed(member) {
        return None;
    }
    let vote = state.members().get(member)?;
    let now = state.books().epoch;
    // In jail, or on the way there: they are members still until their sentence takes force.
    let jailed = state.sentences.iter().filter_map(|(address, sentence)| {
        let jailed = sentence.jailed.as_ref()?;
        (sentence.until > now).then_some((address, jailed.power))
    });
    let (mut all, mut rest) = (
        state.members().total_power(),
        state.members().total_power() - vote.power,
    );
    for (address, power) in jailed {
        match state.members().get(address) {
            Some(voting) => rest -= voting.power,
            None => all += power,
        }
    }
    let is_enough = u128::from(rest) * 3 > u128::from(all) * 2;
    let removal = Change::RemoveMember { member: *member };
    let after = membership::after(state.members(), &removal).ok()?;
    (is_enough && membership::is_gentle(state.members(), &after).is_ok()).then(|| vote.clone())
}

/// How much of its share of `epoch` an operator forfeits.
pub(crate) fn forfeited(state: &State, operator: &Address, epoch: Epoch, share: Amount) -> Amount {
    let sentence = state.sentence(operator);
    let is_due = sentence.is_some_and(|sentence| sentence.epoch == epoch || sentence.jailed.is_some());
    let record = state.withheld(operator);
    let withholds = record.is_some_and(|record| record.epoch == epoch);
    // Whoever is guilty of both forfeits the greater part of the two.
    let params = state.params();
    let bps = if is_due { params.forfeit_bps } else { 0 };
    let bps = bps.max(if withholds { params.withheld_forfeit_bps } else { 0 });
    Amount::from_micro(muldiv(share.micro(), bps.into(), BPS))
}

/// Until which epoch a key may not get its vote back.
pub(crate) fn barred(state: &State, member: &Address) -> Option<Epoch> {
    let sentence = state
        .sentence(member)
        .filter(|sentence| sentence.jailed.is_some())?;
    (sentence.until > state.books().epoch).then_some(sentence.until)
}

/// A member has its vote again.
pub(crate) fn readmit(state: &mut State, member: &Address) {
    if let Some(mut sentence) = state.sentence(member).cloned() {
        sentence.jailed = None;
        state.sentences.insert(*member, sentence);
    }
}

/// A member goes on under another key in block `height`: what it is guilty of goes along, and what it signed with its
/// key of before can be held against it for as long as evidence is heard.
pub(crate) fn rename(state: &mut State, from: Address, key: PublicKey, to: Address, height: Height) {
    if let Some(sentence) = state.sentence(&from).cloned() {
        state.sentences.remove(&from);
        state.sentences.insert(to, sentence);
    }
    withheld::rename(state, from, to);
    let oldest = Height(height.0.saturating_sub(state.params().evidence_blocks));
    let earlier: Vec<_> = state
        .open
        .renamed
        .iter()
        .map(|(name, renamed)| (*name, *renamed))
        .collect();
    for (name, mut renamed) in earlier {
        if renamed.at < oldest {
            state.open.renamed.remove(&name);
        } else if renamed.to == from {
            renamed.to = to;
            state.open.renamed.insert(name, renamed);
        }
    }
    let renamed = Renamed { key, to, at: height };
    state.open.renamed.insert(from, renamed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::sighting::ServedKey;
    use crate::testing::{Chain, Town};
    use crate::transact::{Rejected, execute};
    use milepost_wire::bad_batch::BadBatch;
    use milepost_wire::equivocation::{Equivocation, Word};
    use milepost_wire::vote::{self, Step};
    use milepost_wire::{Action, Hash, SecretKey, Signature, Transaction};

    /// Two prevotes of a member.
    fn two_words(town: &Town, key: &SecretKey, height: u64) -> Equivocation {
        let (chain, member, height) = (&town.genesis.chain, key.address(), Height(height));
        let word = |value| {
            let digest = vote::digest(chain, Step::Prevote, height, 0, value, member);
            let signature = Signature::sign(key, &digest);
            Word {
                value,
                valid_round: None,
                signature,
            }
        };
        Equivocation {
            member,
            step: Step::Prevote,
            height,
            round: 0,
            one: word(None),
            other: word(Some(Hash([1; 32]))),
        }
    }

    fn chain(params: Params) -> Chain {
        Chain::new(Town::with(1, params), 10)
    }

    impl Chain {
        /// A block in which a member asks for something.
        fn hear(&mut self, member: usize, action: Action) -> Result<(), Rejected> {
            let key = self.town.members[member].clone();
            let done = self.ask(&key, action, &mut Vec::new());
            self.pass(1);
            done
        }

        /// What the first member says of two words of another's.
        fn blame(&mut self, of: usize, height: u64) -> Result<(), Rejected> {
            let evidence = two_words(&self.town, &self.town.members[of], height);
            self.hear(0, Action::Blame(Evidence::Equivocation(evidence)))
        }

        fn votes(&self, member: usize) -> bool {
            self.state.members().get(&self.address(member)).is_some()
        }
    }

    fn acquitted(result: Result<(), Rejected>) -> Acquittal {
        match result {
            Err(Rejected::Acquitted(why)) => why,
            other => unreachable!("not acquitted: {other:?}"),
        }
    }

    #[test]
    fn who_signed_two_things_loses_its_vote_two_heights_later_and_once() {
        let mut chain = chain(Params::default());
        assert_eq!(chain.blame(3, 9), Ok(()));
        assert!(chain.votes(3), "block 11 has its members already");
        assert!(
            matches!(acquitted(chain.blame(3, 9)), Acquittal::Sentenced { absolved, .. } if absolved == Height(12))
        );
        assert!(!chain.votes(3));
        assert_eq!(
            chain
                .state
                .sentence(&chain.address(3))
                .map(|sentence| sentence.times),
            Some(1)
        );
        assert_eq!(chain.state.check(), Ok(()));
    }

    #[test]
    fn never_more_are_jailed_than_the_chain_can_do_without() {
        let mut chain = chain(Params::default());
        assert_eq!(chain.blame(3, 9), Ok(()));
        // In the next block, and again once the first has lost its vote.
        assert_eq!(chain.blame(2, 9), Ok(()));
        chain.pass(5);
        assert!(chain.votes(2) && !chain.votes(3));
        let height = chain.height - 1;
        assert_eq!(chain.blame(2, height), Ok(()));
        chain.pass(5);
        assert!(chain.votes(2), "sentenced, and needed");
        let sentence = chain.state.sentence(&chain.address(2));
        assert!(sentence.is_some_and(|sentence| sentence.times == 2 && sentence.jailed.is_none()));
    }

    #[test]
    fn words_of_strangers_of_old_and_of_what_is_not_over_are_not_heard() {
        let mut chain = chain(Params {
            evidence_blocks: 5,
            ..Params::default()
        });
        assert!(matches!(acquitted(chain.blame(3, 4)), Acquittal::TooOld { .. }));
        let now = chain.height;
        assert!(matches!(
            acquitted(chain.blame(3, now)),
            Acquittal::NotOver { .. }
        ));
        let stranger = two_words(&chain.town, &chain.town.keys[0], 9);
        assert!(matches!(
            acquitted(chain.hear(0, Action::Blame(Evidence::Equivocation(stranger)))),
            Acquittal::Stranger(_)
        ));
        let mut forged = two_words(&chain.town, &chain.town.members[3], 9);
        forged.member = chain.address(2);
        assert!(matches!(
            acquitted(chain.hear(0, Action::Blame(Evidence::Equivocation(forged)))),
            Acquittal::Unproven(_)
        ));
        // And nobody but a member may ask.
        let evidence = two_words(&chain.town, &chain.town.members[3], 9);
        let vehicle = &chain.town.keys[0];
        let transaction = Transaction {
            from: vehicle.public(),
            nonce: 0,
            action: Action::Blame(Evidence::Equivocation(evidence)),
        };
        let height = Height(chain.height);
        let refused = execute(&mut chain.state, height, &transaction, &mut Vec::new());
        assert!(matches!(refused, Err(Rejected::NotAMember(_))));
    }

    #[test]
    fn the_others_vote_it_back_in_and_not_before_its_time() {
        let mut chain = chain(Params::default());
        let member = chain.town.genesis.members.get(&chain.address(3)).cloned();
        let change = Change::AddMember(member.expect("a member"));
        let propose = || Action::Propose {
            change: change.clone(),
            from: Height::ZERO,
        };
        assert_eq!(chain.blame(3, 9), Ok(()));
        chain.pass(3);
        assert!(matches!(
            chain.hear(0, propose()),
            Err(Rejected::Improper(proposal::Improper::Barred { .. }))
        ));
        let mut books = chain.state.books();
        books.epoch = Epoch(chain.state.params().jail_epochs);
        chain.state.books.insert((), books);
        assert_eq!(chain.hear(0, propose()), Ok(()));
        let proposal = chain.state.charter().newest;
        for voter in [1, 2] {
            assert_eq!(chain.hear(voter, Action::Approve { proposal }), Ok(()));
        }
        chain.pass(3);
        assert!(chain.votes(3) && !chain.state.is_jailed(&chain.address(3)));
        assert!(matches!(
            acquitted(chain.blame(3, 9)),
            Acquittal::Sentenced { .. }
        ));
    }

    #[test]
    fn another_key_does_not_wash_it_clean() {
        let mut chain = chain(Params::default());
        let evidence = two_words(&chain.town, &chain.town.members[3], 9);
        let (member, key) = (chain.address(3), SecretKey::from_seed("another", 3));
        let change = Change::SetKey {
            member,
            key: key.public(),
        };
        let from = Height::ZERO;
        assert_eq!(chain.hear(0, Action::Propose { change, from }), Ok(()));
        let proposal = chain.state.charter().newest;
        for voter in [1, 2] {
            assert_eq!(chain.hear(voter, Action::Approve { proposal }), Ok(()));
        }
        chain.pass(3);
        assert!(chain.state.members().get(&key.address()).is_some());
        assert_eq!(
            chain.hear(0, Action::Blame(Evidence::Equivocation(evidence))),
            Ok(())
        );
        chain.pass(3);
        assert!(chain.state.members().get(&key.address()).is_none());
    }

    #[test]
    fn the_share_of_the_epoch_goes_to_the_treasury_and_nothing_is_lost() {
        let paid = |guilty: bool| {
            let mut chain = chain(Params::default());
            let epoch = chain.state.books().epoch;
            for operator in [chain.address(2), chain.address(3)] {
                let key = ServedKey { epoch, operator };
                chain.state.open.served.insert(key, milepost_wire::state::Q);
            }
            if guilty {
                assert_eq!(chain.blame(3, 9), Ok(()));
            }
            let outputs = crate::epoch::close(&mut chain.state, epoch);
            assert_eq!(chain.state.check(), Ok(()));
            let mut audit = crate::Audit::new(chain.state.params());
            if guilty {
                let sentenced = Output::Sentenced {
                    epoch,
                    member: chain.address(3),
                    offence: Offence::Equivocation {
                        step: Step::Prevote,
                        height: Height(9),
                        round: 0,
                    },
                    jailed_until: None,
                };
                assert!(audit.read(&outputs).is_err(), "forfeited without a sentence");
                audit = crate::Audit::new(chain.state.params());
                assert_eq!(audit.read(&[sentenced]), Ok(()));
            }
            assert_eq!(audit.read(&outputs), Ok(()));
            let balance = |member| chain.state.account(&chain.address(member)).balance.micro();
            (balance(2), balance(3), chain.state.books().treasury.micro())
        };
        let (innocent, guilty) = (paid(false), paid(true));
        assert!(innocent.1 > 0);
        assert_eq!(guilty, (innocent.0, 0, innocent.2 + innocent.1));
    }

    /// A batch of `author` with a report in the vehicle's name: signed by it, or not.
    fn batch(town: &Town, author: &SecretKey, height: u64, forged: bool) -> Evidence {
        let key = if forged { &town.members[0] } else { &town.keys[0] };
        let seen = vec![crate::testing::seen(
            crate::testing::cell(1),
            0,
            crate::testing::speed(900),
        )];
        let said = town.report(0, 1, town.at(5), seen).into_signed().message;
        let batch = milepost_wire::Batch {
            author: author.address(),
            sequence: 3,
            height: Height(height),
            created_at: town.at(9),
            reports: vec![milepost_wire::Signed::sign(said, &town.genesis.chain, key).into_signed()],
        };
        let signed = milepost_wire::Signed::sign(batch, &town.genesis.chain, author).into_signed();
        Evidence::BadBatch(BadBatch::of(&signed, 0).expect("one report"))
    }

    #[test]
    fn a_batch_with_a_forged_report_costs_the_vote_and_a_sound_one_nothing() {
        let mut chain = chain(Params::default());
        let sound = batch(&chain.town, &chain.town.members[3], 9, false);
        assert!(matches!(
            acquitted(chain.hear(0, Action::Blame(sound))),
            Acquittal::Unproven(Unproven::BadBatch(NoBadBatch::Sound(_)))
        ));
        let forged = batch(&chain.town, &chain.town.members[3], 9, true);
        assert_eq!(chain.hear(0, Action::Blame(forged.clone())), Ok(()));
        assert!(matches!(
            acquitted(chain.hear(1, Action::Blame(forged))),
            Acquittal::Sentenced { .. }
        ));
        chain.pass(3);
        assert!(!chain.votes(3));
        assert_eq!(chain.state.check(), Ok(()));
        let stranger = batch(&chain.town, &chain.town.keys[0], 9, true);
        assert!(matches!(
            acquitted(chain.hear(0, Action::Blame(stranger))),
            Acquittal::Stranger(_)
        ));
    }

    #[test]
    fn a_unit_that_forges_is_revoked_and_its_operator_answers_for_it_and_is_not_absolved() {
        let mut chain = chain(Params::default());
        let unit = SecretKey::from_seed("unit", 1);
        let operator = chain.address(3);
        let enrol = milepost_wire::transaction::Enrolment {
            key: unit.public(),
            group: 0,
            role: milepost_wire::Role::Unit { operator },
        };
        assert_eq!(chain.hear(3, Action::Enrol(enrol)), Ok(()));
        let height = chain.height - 1;
        let forged = batch(&chain.town, &unit, height, true);
        assert_eq!(chain.hear(0, Action::Blame(forged.clone())), Ok(()));
        assert_eq!(chain.state.provider(&unit.address()), None, "revoked");
        assert!(matches!(
            acquitted(chain.hear(1, Action::Blame(forged))),
            Acquittal::Stranger(_)
        ));
        chain.pass(3);
        assert!(chain.votes(3), "the vote is its own");
        let epoch = chain.state.books().epoch;
        let share = Amount::from_micro(100);
        assert_eq!(forfeited(&chain.state, &operator, epoch, share), share);
        // Its unit's offence does not wash its own words clean.
        assert_eq!(chain.blame(3, height), Ok(()));
        chain.pass(3);
        assert!(!chain.votes(3));
    }
}
