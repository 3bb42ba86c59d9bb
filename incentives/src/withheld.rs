//! When is it taken for true that a member does not hand out what it acknowledged?
//!
//! When members with more than a third of the power say so within [`Params::withheld_blocks`] blocks, each of whatever batch
//! it asked for in vain ([`Complaint`]): at most a third lie, so one of them means well and saw it. That is recorded, and
//! told. It costs nothing by default, for whoever is cut off from some looks to them like one that does not want to; where
//! the members have voted so, it costs a part of the operator's share ([`Params::withheld_forfeit_bps`]). Nobody loses its
//! vote by it.
//!
//! One complaint of a member about another stands at a time. It counts once, and stands for as long as a promise can be held
//! against who made it: so no promise makes two complaints of one member.
//!
//! Source: docs/adr/0016-misconduct.md.
//!
//! [`Params::withheld_blocks`]: crate::Params::withheld_blocks
//! [`Params::withheld_forfeit_bps`]: crate::Params::withheld_forfeit_bps

use milepost_wire::output::Output;
use milepost_wire::state::Withheld;
use milepost_wire::withheld::NoPromise;
use milepost_wire::{Address, Complaint, Height, PublicKey};
use wincode::{SchemaRead, SchemaWrite};

use crate::state::State;

/// Why nobody listens to a complaint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// Of one that has no vote, under no name of late.
    #[error("{0} is no member of the consortium that anything could be complained of")]
    Stranger(Address),
    /// Of the complainer.
    #[error("{0} complains of itself")]
    OfItself(Address),
    /// A promise too old.
    #[error("a promise of height {found} is too old: what is older than {oldest} is not heard")]
    TooOld {
        /// Of which height it is.
        found: Height,
        /// The oldest that is heard.
        oldest: Height,
    },
    /// It has said so.
    #[error("a complaint of {by} about {of} stands since block {since}")]
    Stands {
        /// Whose.
        by: Address,
        /// About whom.
        of: Address,
        /// Since when.
        since: Height,
    },
    /// Nothing that the other promised.
    #[error(transparent)]
    NoPromise(#[from] NoPromise),
}

/// Who complains of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, SchemaWrite, SchemaRead)]
pub(crate) struct Between {
    /// Whom.
    pub(crate) of: Address,
    /// Who.
    pub(crate) by: Address,
}

/// A complaint that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(crate) struct Lodged {
    /// In which block.
    pub(crate) at: Height,
    /// It has counted.
    pub(crate) spent: bool,
}

impl State {
    /// About whom, by its present name, the member `by` complains in block `height`. Cost: a square root and a verification.
    ///
    /// # Errors
    ///
    /// [`Unheard`].
    pub fn heed(&self, height: Height, by: &Address, complaint: &Complaint) -> Result<Address, Unheard> {
        let oldest = Height(height.0.saturating_sub(self.params().withheld_blocks));
        let found = complaint.promise.message.height;
        if found < oldest {
            return Err(Unheard::TooOld { found, oldest });
        }
        let name = complaint.accused();
        let (of, key) = self.promiser(&name).ok_or(Unheard::Stranger(name))?;
        if of == *by {
            return Err(Unheard::OfItself(of));
        }
        let by = *by;
        if let Some(lodged) = self.open.complaints.get(&Between { of, by })
            && self.stands(lodged, height)
        {
            let since = lodged.at;
            return Err(Unheard::Stands { by, of, since });
        }
        let point = key.verifying_key();
        let point = point.map_err(|_| NoPromise::NotSigned(name))?;
        complaint.verify(&self.genesis.chain, &point)?;
        Ok(of)
    }

    /// Whether others complained of a member, and how often it came to that.
    pub fn withheld(&self, member: &Address) -> Option<&Withheld> {
        self.withheld.get(member)
    }

    fn stands(&self, lodged: &Lodged, height: Height) -> bool {
        lodged.at.0.saturating_add(self.params().withheld_blocks) >= height.0
    }

    /// Who had this name when it promised, by its present name, and the key that it signed with. Listening units promise
    /// nothing.
    fn promiser(&self, name: &Address) -> Option<(Address, PublicKey)> {
        if let Some(member) = self.members().get(name) {
            return Some((*name, member.key));
        }
        let renamed = self.open.renamed.get(name)?;
        self.members().get(&renamed.to).map(|_| (renamed.to, renamed.key))
    }
}

/// Takes a complaint of the member `by`; records what enough of them say.
pub(crate) fn complain(
    state: &mut State,
    by: Address,
    height: Height,
    complaint: &Complaint,
    outputs: &mut Vec<Output>,
) -> Result<(), Unheard> {
    let of = state.heed(height, &by, complaint)?;
    let over = state.open.complaints.iter();
    let over = over.filter(|(_, lodged)| !state.stands(lodged, height));
    for between in over.map(|(between, _)| *between).collect::<Vec<_>>() {
        state.open.complaints.remove(&between);
    }
    let lodged = Lodged {
        at: height,
        spent: false,
    };
    state.open.complaints.insert(Between { of, by }, lodged);

    let (first, last) = (Address([0; 20]), Address([0xff; 20]));
    let about = Between { of, by: first }..=Between { of, by: last };
    let counting: Vec<_> = state
        .open
        .complaints
        .range(about)
        .filter(|(_, lodged)| !lodged.spent)
        .filter_map(|(between, lodged)| Some((*between, *lodged, state.members().get(&between.by)?.power)))
        .collect();
    let power: u64 = counting.iter().map(|(.., power)| power).sum();
    if u128::from(power) * 3 <= u128::from(state.members().total_power()) {
        return Ok(());
    }
    let epoch = state.books().epoch;
    let complaints = u32::try_from(counting.len()).unwrap_or(u32::MAX);
    for (between, lodged, _) in counting {
        let spent = Lodged {
            spent: true,
            ..lodged
        };
        state.open.complaints.insert(between, spent);
    }
    let times = state.withheld(&of).map_or(0, |before| before.times);
    let times = times.saturating_add(1);
    state.withheld.insert(of, Withheld { epoch, height, times });
    outputs.push(Output::Withheld {
        epoch,
        member: of,
        complaints,
    });
    Ok(())
}

/// A member goes on under another name: with what it complained of, and what it was complained of.
pub(crate) fn rename(state: &mut State, from: Address, to: Address) {
    let name = |name: Address| if name == from { to } else { name };
    let all: Vec<_> = state
        .open
        .complaints
        .iter()
        .map(|(at, lodged)| (*at, *lodged))
        .collect();
    for (Between { of, by }, lodged) in all {
        if of == from || by == from {
            state.open.complaints.remove(&Between { of, by });
            let between = Between {
                of: name(of),
                by: name(by),
            };
            state.open.complaints.insert(between, lodged);
        }
    }
    if let Some(record) = state.withheld(&from).copied() {
        state.withheld.remove(&from);
        state.withheld.insert(to, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Audit;
    use crate::params::Params;
    use crate::sighting::ServedKey;
    use crate::testing::{Chain, Town};
    use crate::transact::Rejected;
    use milepost_wire::{Acks, Action, Change, Hash, Member, Members, SecretKey, Signed};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn chain(params: Params) -> Chain {
        Chain::new(Town::with(0, params), 5_000)
    }

    /// A chain of members with these powers.
    fn chain_of_powers(powers: &[u64]) -> Chain {
        let mut town = Town::new(0);
        let keys = 0..powers.len() as u64;
        town.members = keys
            .map(|seed| SecretKey::from_seed("town member", seed))
            .collect();
        let members = town.members.iter().zip(powers).map(|(key, &power)| Member {
            key: key.public(),
            provider: "a provider".into(),
            power,
        });
        town.genesis.members = Members::new(members.collect()).expect("members");
        Chain::new(town, 5_000)
    }

    impl Chain {
        /// What a member acknowledged when block `height` was its newest.
        fn promise(&self, of: usize, batch: u8, height: u64) -> Complaint {
            let key = &self.town.members[of];
            let acks = Acks {
                member: key.address(),
                height: Height(height),
                batches: vec![Hash([0xee; 32]), Hash([batch; 32])],
            };
            Complaint {
                promise: Signed::sign(acks, &self.town.genesis.chain, key).into_signed(),
                batch: Hash([batch; 32]),
            }
        }

        /// A block in which a member brings a complaint.
        fn bring(&mut self, by: usize, complaint: Complaint) -> Result<bool, Unheard> {
            let mut outputs = Vec::new();
            let key = self.town.members[by].clone();
            let done = self.ask(&key, Action::Complain(complaint), &mut outputs);
            self.pass(1);
            match done {
                Ok(()) => Ok(outputs
                    .iter()
                    .any(|output| matches!(output, Output::Withheld { .. }))),
                Err(Rejected::Unheard(why)) => Err(why),
                Err(other) => unreachable!("not about the complaint: {other:?}"),
            }
        }

        /// A member complains of another's newest promise. Says whether that is recorded with it.
        fn complain(&mut self, by: usize, of: usize, batch: u8) -> Result<bool, Unheard> {
            let complaint = self.promise(of, batch, self.height - 1);
            self.bring(by, complaint)
        }

        fn times(&self, member: usize) -> u32 {
            let record = self.state.withheld(&self.address(member));
            record.map_or(0, |record| record.times)
        }

        /// The members from the second on agree on a change.
        fn decide(&mut self, change: Change) {
            let from = Height::ZERO;
            for (nth, key) in self.town.members.clone()[1..].iter().enumerate() {
                let proposal = self.state.charter().newest;
                let action = if nth == 0 {
                    let change = change.clone();
                    Action::Propose { change, from }
                } else {
                    Action::Approve { proposal }
                };
                let _ = self.ask(key, action, &mut Vec::new());
            }
            self.pass(3);
        }
    }

    fn blocks() -> u64 {
        Params::default().withheld_blocks
    }

    #[test]
    fn it_takes_complaints_of_more_than_a_third_about_whatever_batch() {
        let mut chain = chain(Params::default());
        assert_eq!(chain.complain(0, 3, 1), Ok(false));
        assert_eq!(chain.complain(1, 2, 2), Ok(false), "of another");
        assert_eq!(chain.times(3), 0);
        assert_eq!(chain.complain(1, 3, 2), Ok(true));
        assert_eq!((chain.times(3), chain.times(2)), (1, 0));
        let record = chain.state.withheld(&chain.address(3)).copied();
        assert_eq!(record.map(|record| record.height), Some(Height(chain.height - 1)));
        // Its vote stays, and what was counted does not count again.
        assert!(chain.state.members().get(&chain.address(3)).is_some());
        assert!(chain.state.sentence(&chain.address(3)).is_none());
        assert_eq!(chain.complain(2, 3, 3), Ok(false));
        assert_eq!(chain.times(3), 1);
        chain.pass(blocks());
        assert_eq!(
            chain.complain(0, 3, 4),
            Ok(false),
            "the third one's stands no longer"
        );
        assert_eq!(chain.complain(2, 3, 4), Ok(true));
        assert_eq!(chain.times(3), 2);
        assert_eq!(chain.state.check(), Ok(()));
    }

    #[test]
    fn without_a_promise_there_is_no_complaint() {
        let mut chain = chain(Params::default());
        let newest = chain.height - 1;
        let sound = chain.promise(3, 1, newest);
        let mut of_another = sound.clone();
        of_another.batch = Hash([9; 32]);
        assert!(matches!(
            chain.bring(0, of_another),
            Err(Unheard::NoPromise(NoPromise::NotOfThis { .. }))
        ));
        let mut in_anothers_name = sound.clone();
        in_anothers_name.promise.message.member = chain.address(2);
        let mut later = sound.clone();
        later.promise.message.height = Height(newest + 100);
        for forged in [in_anothers_name, later] {
            assert!(matches!(
                chain.bring(0, forged),
                Err(Unheard::NoPromise(NoPromise::NotSigned(_)))
            ));
        }
        assert_eq!(
            chain.bring(3, sound.clone()),
            Err(Unheard::OfItself(chain.address(3)))
        );
        chain.town.members.push(SecretKey::from_seed("stranger", 1));
        let strange = chain.promise(4, 1, newest);
        assert!(matches!(chain.bring(0, strange), Err(Unheard::Stranger(_))));
        let stranger = chain.town.members[4].clone();
        let refused = chain.ask(&stranger, Action::Complain(sound), &mut Vec::new());
        assert!(matches!(refused, Err(Rejected::NotAMember(_))));
        assert_eq!(chain.state.open.complaints.iter().count(), 0);
    }

    #[test]
    fn a_promise_makes_one_complaint_of_a_member_and_both_expire() {
        let mut chain = chain(Params::default());
        let promised = chain.height - 1;
        let complaint = chain.promise(3, 1, promised);
        assert_eq!(chain.bring(0, complaint.clone()), Ok(false));
        let stands = |result| matches!(result, Err(Unheard::Stands { .. }));
        assert!(stands(chain.bring(0, complaint.clone())));
        assert!(stands(chain.complain(0, 3, 2)), "one at a time");
        // To the last block in which the promise is heard, the complaint stands.
        chain.height = promised + blocks();
        assert!(stands(chain.bring(0, complaint.clone())));
        assert!(matches!(
            chain.bring(0, complaint.clone()),
            Err(Unheard::TooOld { .. })
        ));
        // It no longer counts, either.
        assert_eq!(chain.complain(1, 3, 2), Ok(false));
        assert_eq!(chain.times(3), 0);
        assert_eq!(chain.state.open.complaints.iter().count(), 1, "forgotten");
    }

    #[test]
    fn complaints_go_along_with_who_makes_them_and_who_they_are_of() {
        for renamed in [0, 3] {
            let mut chain = chain(Params::default());
            let promised = chain.promise(3, 2, chain.height - 1);
            assert_eq!(chain.complain(0, 3, 1), Ok(false));
            let key = SecretKey::from_seed("another", 1);
            let change = Change::SetKey {
                member: chain.address(renamed),
                key: key.public(),
            };
            chain.decide(change);
            assert!(chain.state.members().get(&key.address()).is_some());
            chain.town.members[renamed] = key;
            if renamed == 0 {
                let again = chain.complain(0, 3, 1);
                assert!(matches!(again, Err(Unheard::Stands { .. })), "under any name");
            }
            // A promise under the name of before holds.
            assert_eq!(chain.bring(1, promised), Ok(true));
            assert_eq!(chain.times(3), 1);
            let key = SecretKey::from_seed("another", 2);
            let member = chain.address(3);
            let change = Change::SetKey {
                member,
                key: key.public(),
            };
            chain.decide(change);
            assert!(chain.state.withheld(&member).is_none());
            chain.town.members[3] = key;
            assert_eq!(chain.times(3), 1);
        }
    }

    #[test]
    fn who_has_no_vote_any_more_is_neither_counted_nor_complained_of() {
        let mut chain = chain_of_powers(&[1; 7]);
        for by in [0, 1] {
            assert_eq!(chain.complain(by, 6, 1), Ok(false));
        }
        let member = chain.address(0);
        chain.decide(Change::RemoveMember { member });
        assert_eq!(chain.complain(2, 6, 1), Ok(false), "two of six");
        assert_eq!(chain.complain(3, 6, 1), Ok(true), "three of six");
        assert!(matches!(chain.complain(2, 0, 1), Err(Unheard::Stranger(_))));
    }

    /// What two members' complaints about a third come to when the epoch is closed: the third's share, and the treasury's.
    fn paid(forfeit_bps: u32, complaints: usize) -> (u64, u64) {
        let params = Params {
            withheld_forfeit_bps: forfeit_bps,
            ..Params::default()
        };
        let mut chain = chain(params);
        let epoch = chain.state.books().epoch;
        for operator in [chain.address(2), chain.address(3)] {
            let key = ServedKey { epoch, operator };
            chain.state.open.served.insert(key, milepost_wire::state::Q);
        }
        let recorded = (0..complaints).map(|by| chain.complain(by, 3, 1)).last();
        let outputs = crate::epoch::close(&mut chain.state, epoch);
        assert_eq!(chain.state.check(), Ok(()));
        let mut audit = Audit::new(chain.state.params());
        if recorded == Some(Ok(true)) {
            let forfeits = outputs
                .iter()
                .any(|output| matches!(output, Output::Forfeited { .. }));
            assert_eq!(
                audit.clone().read(&outputs).is_err(),
                forfeits,
                "without complaints"
            );
            let member = chain.address(3);
            let complaints = 2;
            let told = Output::Withheld {
                epoch,
                member,
                complaints,
            };
            assert_eq!(audit.read(&[told]), Ok(()));
        }
        assert_eq!(audit.read(&outputs), Ok(()));
        let balance = chain.state.account(&chain.address(3)).balance.micro();
        (balance, chain.state.books().treasury.micro())
    }

    #[test]
    fn it_costs_what_the_members_voted_and_nothing_by_default() {
        let (share, treasury) = paid(0, 0);
        assert!(share > 0);
        assert_eq!(paid(0, 2), (share, treasury));
        assert_eq!(paid(5_000, 1), (share, treasury));
        assert_eq!(paid(5_000, 2), (share - share / 2, treasury + share / 2));
        assert_eq!(paid(10_000, 2), (0, treasury + share));
    }

    #[test]
    fn what_is_complained_of_survives_the_disk() {
        let mut chain = chain(Params::default());
        for (by, of) in [(0, 3), (1, 3), (1, 2)] {
            assert!(chain.complain(by, of, 1).is_ok());
        }
        let state = &chain.state;
        let loaded = State::load(&chain.town.genesis, state.tree_entries(), state.open_entries());
        let loaded = loaded.expect("its own entries");
        assert!(loaded.tree_entries().eq(state.tree_entries()));
        assert_eq!(loaded.open_root(), state.open_root());
        assert_eq!(
            loaded.withheld(&chain.address(3)),
            state.withheld(&chain.address(3))
        );
    }

    /// Who complains of whom, about which batch, how many blocks later, and of a promise how many blocks old.
    type Step = (usize, usize, u8, u64, u64);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let later = prop_oneof![4 => 0u64..20, 1 => 0..2 * blocks()];
        let step = (0usize..7, 0usize..7, 0u8..4, later, 1u64..50);
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What the module's header claims: whatever liars with at most a third of the power bring, with every promise
        /// that there is, nobody is recorded.
        #[test]
        fn a_third_alone_gets_nobody_recorded(
            powers in prop::collection::vec(1u64..9, 4..8),
            order in any::<[prop::sample::Index; 8]>(),
            steps in steps(),
        ) {
            let mut chain = chain_of_powers(&powers);
            let all: u64 = powers.iter().sum();
            let mut liars = BTreeSet::new();
            for index in order {
                let liar = index.index(powers.len());
                let lying: u64 = liars.iter().chain([&liar]).collect::<BTreeSet<_>>().into_iter().map(|&liar| powers[liar]).sum();
                if lying * 3 <= all {
                    liars.insert(liar);
                }
            }
            for (by, of, batch, later, old) in steps {
                chain.height += later;
                let (by, of) = (by % powers.len(), of % powers.len());
                if liars.contains(&by) {
                    let complaint = chain.promise(of, batch, chain.height - old);
                    prop_assert_ne!(chain.bring(by, complaint), Ok(true));
                }
            }
            prop_assert!((0..powers.len()).all(|member| chain.times(member) == 0));
        }

        /// A record is made exactly when members with more than a third have complained within the window, none of it
        /// counted before; and no more is kept than one complaint for each two members.
        #[test]
        fn a_record_needs_more_than_a_third_within_the_window(
            powers in prop::collection::vec(1u64..9, 4..8),
            steps in steps(),
        ) {
            let mut chain = chain_of_powers(&powers);
            let all: u64 = powers.iter().sum();
            // When each last complained of each, and whether that has counted.
            let mut model: BTreeMap<(usize, usize), (u64, bool)> = BTreeMap::new();
            for (by, of, batch, later, old) in steps {
                chain.height += later;
                let (now, by, of) = (chain.height, by % powers.len(), of % powers.len());
                let complaint = chain.promise(of, batch, now - old);
                let brought = chain.bring(by, complaint);
                model.retain(|_, (at, _)| *at + blocks() >= now);
                if by == of || model.contains_key(&(of, by)) {
                    prop_assert!(brought.is_err());
                    continue;
                }
                model.insert((of, by), (now, false));
                let fresh = |(_, spent): &(u64, bool)| !spent;
                let power: u64 = (0..powers.len())
                    .filter(|by| model.get(&(of, *by)).is_some_and(fresh))
                    .map(|by| powers[by])
                    .sum();
                prop_assert_eq!(brought, Ok(power * 3 > all));
                if power * 3 > all {
                    let about = model.iter_mut().filter(|((about, _), _)| *about == of);
                    about.for_each(|(_, (_, spent))| *spent = true);
                }
                prop_assert!(chain.state.open.complaints.iter().count() <= powers.len() * (powers.len() - 1));
            }
        }
    }
}
