//! What have the members decided?
//!
//! A member proposes a change; members approve. As soon as members with more than two thirds of the power approve,
//! the change is *scheduled*: for the height that was asked for, but not before the one after next, so that the
//! members of a height are known while the height below it is being decided. At the end of the block below that
//! height it is done: the header of that block is the first to name the new members as its next.
//!
//! What cannot be done is refused when it is proposed, when it is decided on and when it is due, since others may have
//! been decided on in between. A change of members that would move too much power at once waits for a later height:
//! [`crate::membership`].
//!
//! Bounds: [`OF_ONE_MAX`] open proposals a member, and a life of `proposal_life_ms` each. Who loses its vote takes
//! its proposals and approvals along.
//!
//! Source: docs/adr/0015-membership.md.

use milepost_wire::output::Output;
use milepost_wire::state::{Charter, Ground, Proposal};
use milepost_wire::time::Epoch;
use milepost_wire::{Address, Change, Height, KeyId, Members, ProposalId, Setting};

use crate::membership::{self, Unfit, Verdict};
use crate::misconduct;
use crate::params::{Params, ParamsError};
use crate::quarantine::{self, Moment};
use crate::sighting::ServedKey;
use crate::state::State;
use crate::transact::Rejected;

/// The most proposals of one member that are open.
pub const OF_ONE_MAX: usize = 8;

/// Why there is nothing to decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Improper {
    /// The members cannot change so.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The numbers make no rules.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// No numbers, or too many, or a name that is too long.
    #[error(
        "a change sets 1 to {} numbers, with names of at most {} bytes",
        Setting::COUNT_MAX,
        Setting::NAME_LEN_MAX
    )]
    Settings,
    /// It is so already.
    #[error("it is so already")]
    AsIs,
    /// A member that lost its vote by a sentence, and wants it back too early.
    #[error("{member} signed two different things and gets no vote before epoch {until}")]
    Barred {
        /// Whose key.
        member: Address,
        /// The first epoch in which it may.
        until: Epoch,
    },
    /// No such vehicle, or its enrolment has ended.
    #[error("{0} is not enrolled as a vehicle")]
    NotEnrolled(KeyId),
    /// A vehicle that is not in quarantine, or has not shown since that it can be heard again.
    #[error("{0} is not in quarantine, or its record there is not good enough yet")]
    NotReformed(KeyId),
    /// The member has as many open proposals as it may.
    #[error("{0} has {OF_ONE_MAX} open proposals: withdraw one, or wait")]
    TooMany(Address),
    /// No such proposal is open.
    #[error("no proposal {0} is open")]
    NotOpen(ProposalId),
    /// The member has approved.
    #[error("{member} approves of proposal {proposal} already")]
    Approved {
        /// Which proposal.
        proposal: ProposalId,
        /// Who.
        member: Address,
    },
    /// The member has not approved.
    #[error("{member} does not approve of proposal {proposal}")]
    NotApproved {
        /// Which proposal.
        proposal: ProposalId,
        /// Who.
        member: Address,
    },
}

/// Makes a proposal, with its maker's approval. The sender is a member.
pub(crate) fn propose(
    state: &mut State,
    sender: Address,
    change: &Change,
    from: Height,
    height: Height,
) -> Result<(), Rejected> {
    let own = state.proposals().filter(|(_, open)| open.by == sender);
    if own.count() >= OF_ONE_MAX {
        return Err(Improper::TooMany(sender).into());
    }
    check(state, change)?;

    let mut charter = state.charter();
    charter.newest = ProposalId(charter.newest.0.saturating_add(1));
    let (id, life_ms) = (charter.newest, state.params().proposal_life_ms);
    state.charter.insert((), charter);
    let proposal = Proposal {
        by: sender,
        change: change.clone(),
        from,
        made_at: height,
        until: state.time().plus(life_ms),
    };
    state.proposals.insert(id, proposal);
    state.approvals.insert((id, sender), height);
    settle(state, id, height);
    Ok(())
}

/// Adds the sender's approval. The sender is a member.
pub(crate) fn approve(
    state: &mut State,
    member: Address,
    proposal: ProposalId,
    height: Height,
) -> Result<(), Rejected> {
    if state.proposal(proposal).is_none() {
        return Err(Improper::NotOpen(proposal).into());
    }
    if state.approvals.contains(&(proposal, member)) {
        return Err(Improper::Approved { proposal, member }.into());
    }
    state.approvals.insert((proposal, member), height);
    settle(state, proposal, height);
    Ok(())
}

/// Takes the sender's approval back, or its whole proposal. The sender is a member.
pub(crate) fn withdraw(state: &mut State, member: Address, proposal: ProposalId) -> Result<(), Rejected> {
    let open = state.proposal(proposal).ok_or(Improper::NotOpen(proposal))?;
    if open.by == member {
        close(state, proposal);
    } else if state.approvals.contains(&(proposal, member)) {
        state.approvals.remove(&(proposal, member));
    } else {
        return Err(Improper::NotApproved { proposal, member }.into());
    }
    Ok(())
}

/// Whether a change could be done as things stand.
fn check(state: &State, change: &Change) -> Result<(), Improper> {
    match change {
        Change::AddMember(_)
        | Change::RemoveMember { .. }
        | Change::SetPower { .. }
        | Change::SetKey { .. } => {
            if let Change::AddMember(newcomer) = change
                && let Ok(member) = newcomer.key.address()
                && let Some(until) = misconduct::barred(state, &member)
            {
                return Err(Improper::Barred { member, until });
            }
            let changed = membership::after(state.members(), change)?;
            membership::is_gentle(state.members(), &changed)?;
        }
        Change::SetParams(settings) => {
            changed_params(state, settings)?;
        }
        Change::SetAccess(access) => {
            if state.charter().access == *access {
                return Err(Improper::AsIs);
            }
        }
        &Change::Quarantine { vehicle, .. } => {
            let known = state.vehicle(&vehicle);
            let known = known.filter(|known| !known.revoked && !known.role.is_unit());
            if known.ok_or(Improper::NotEnrolled(vehicle))?.quarantine.is_some() {
                return Err(Improper::AsIs);
            }
        }
        &Change::Release { vehicle } => {
            if !quarantine::is_reformed(state, &vehicle) {
                return Err(Improper::NotReformed(vehicle));
            }
        }
        &Change::Revoke { vehicle } => {
            let known = state.vehicle(&vehicle).filter(|known| !known.revoked);
            known.ok_or(Improper::NotEnrolled(vehicle))?;
        }
    }
    Ok(())
}

fn changed_params(state: &State, settings: &[Setting]) -> Result<Params, Improper> {
    let fits = |setting: &Setting| setting.name.len() <= Setting::NAME_LEN_MAX;
    if !(1..=Setting::COUNT_MAX).contains(&settings.len()) || !settings.iter().all(fits) {
        return Err(Improper::Settings);
    }
    let changed = state.params().with(settings)?;
    changed.can_follow(state.books().minted)?;
    if changed == *state.params() {
        return Err(Improper::AsIs);
    }
    Ok(changed)
}

/// Schedules a proposal once enough members approve.
fn settle(state: &mut State, id: ProposalId, height: Height) {
    let Some(proposal) = state.proposal(id).cloned() else {
        return;
    };
    if !state.members().is_quorum(state.approving_power(id)) {
        return;
    }
    close(state, id);
    // What has lost its sense meanwhile is told so when it is due.
    let at = proposal.from.max(earliest(height));
    state.scheduled.insert((at, id), proposal.change);
}

/// Schedules what a rule decides in block `height`, as if the members had.
pub(crate) fn schedule(state: &mut State, change: Change, height: Height) {
    let mut charter = state.charter();
    charter.newest = ProposalId(charter.newest.0.saturating_add(1));
    let id = charter.newest;
    state.charter.insert((), charter);
    state.scheduled.insert((earliest(height), id), change);
}

/// The first height for which block `height` can decide who votes: the members of the next are certain already.
const fn earliest(height: Height) -> Height {
    Height(height.0.saturating_add(2))
}

fn close(state: &mut State, id: ProposalId) {
    state.proposals.remove(&id);
    for (member, _) in state.approvals_of(id) {
        state.approvals.remove(&(id, member));
    }
}

/// At the end of block `height`: does what holds from the next one on, and forgets what was not approved in time.
pub(crate) fn end_block(state: &mut State, height: Height) -> Vec<Output> {
    let now = state.time();
    let lapsed: Vec<_> = state
        .proposals()
        .filter(|(_, open)| open.until < now)
        .map(|(id, _)| id)
        .collect();
    lapsed.into_iter().for_each(|id| close(state, id));

    let next = height.next();
    let due = state.due_at(next);
    let before = state.members().clone();
    let (members, verdicts) = membership::step(&before, due.iter().map(|(_, id, change)| (*id, change)));
    let mut outputs = Vec::new();
    for ((at, id, change), (_, verdict)) in due.into_iter().zip(verdicts) {
        state.scheduled.remove(&(at, id));
        let done = match verdict {
            Verdict::Later => {
                state.scheduled.insert((next.next(), id), change);
                continue;
            }
            Verdict::Void => false,
            Verdict::Done => enact(state, height, &change, &mut outputs),
        };
        outputs.push(Output::Enacted {
            proposal: id,
            change,
            done,
        });
    }
    if members != before {
        state.set_members(members);
        forget_strangers(state, height);
    }
    outputs
}

/// What a change does beside changing who votes; `false` where it has lost its sense.
fn enact(state: &mut State, height: Height, change: &Change, outputs: &mut Vec<Output>) -> bool {
    let now = Moment::of_block(state);
    match change {
        &Change::Quarantine { vehicle, .. } => {
            let imposed = quarantine::impose(state, vehicle, Ground::Vote, now.epoch, now);
            outputs.extend(imposed.clone());
            return imposed.is_some();
        }
        &Change::Release { vehicle } => {
            // It may have got worse since.
            if !quarantine::is_reformed(state, &vehicle) {
                return false;
            }
            outputs.extend(quarantine::lift(state, vehicle, now.epoch));
        }
        &Change::Revoke { vehicle } => {
            if state.vehicle(&vehicle).is_none_or(|known| known.revoked) {
                return false;
            }
            state.revoke(vehicle);
        }
        Change::SetParams(settings) => match changed_params(state, settings) {
            Ok(params) => state.params.insert((), params),
            Err(_) => return false,
        },
        Change::SetAccess(access) => {
            let charter = Charter {
                access: *access,
                ..state.charter()
            };
            state.charter.insert((), charter);
        }
        Change::AddMember(newcomer) => {
            if let Ok(member) = newcomer.key.address() {
                misconduct::readmit(state, &member);
            }
        }
        Change::RemoveMember { .. } | Change::SetPower { .. } => {}
        Change::SetKey { .. } => {
            if let Some((from, to)) = membership::renamed(change) {
                if let Some(key) = state.members().get(&from).map(|member| member.key) {
                    misconduct::rename(state, from, key, to, height);
                }
                rename(state, from, to);
            }
        }
    }
    true
}

/// What a member has under its key goes on under another, except for its tokens: an account is its key's.
fn rename(state: &mut State, from: Address, to: Address) {
    if let Some(operator) = state.operators.get(&from).copied() {
        state.operators.remove(&from);
        state.operators.insert(to, operator);
    }
    let own: Vec<_> = state
        .vehicles()
        .filter(|(_, vehicle)| vehicle.operator() == Some(from))
        .map(|(id, vehicle)| (*id, vehicle.clone()))
        .collect();
    for (id, mut vehicle) in own {
        vehicle.role = vehicle.role.of(to);
        vehicle.enrolled_by = vehicle.enrolled_by.map(|_| to);
        if state.units.contains(&(from, id)) {
            state.units.remove(&(from, id));
            state.units.insert((to, id), ());
        }
        state.vehicles.insert(id, vehicle);
    }
    let served: Vec<_> = state
        .open
        .served
        .iter()
        .filter(|(key, _)| key.operator == from)
        .map(|(key, served)| (*key, *served))
        .collect();
    for (key, served) in served {
        state.open.served.remove(&key);
        let key = ServedKey { operator: to, ..key };
        let there = state.open.served.get(&key).copied().unwrap_or(0);
        state.open.served.insert(key, there.saturating_add(served));
    }
}

/// After the members changed: what others proposed or approved is gone, and what waits may have enough approval.
fn forget_strangers(state: &mut State, height: Height) {
    let open: Vec<_> = state.proposals().map(|(id, open)| (id, open.by)).collect();
    for (id, by) in open {
        if state.members().get(&by).is_none() {
            close(state, id);
            continue;
        }
        for (member, _) in state.approvals_of(id) {
            if state.members().get(&member).is_none() {
                state.approvals.remove(&(id, member));
            }
        }
        settle(state, id, height);
    }
}

impl State {
    /// What the consortium has settled about itself.
    pub fn charter(&self) -> Charter {
        self.charter.get(&()).copied().unwrap_or_default()
    }

    /// Proposals that are open, oldest first.
    pub fn proposals(&self) -> impl Iterator<Item = (ProposalId, &Proposal)> {
        self.proposals.iter().map(|(id, open)| (*id, open))
    }

    /// A proposal that is open.
    pub fn proposal(&self, id: ProposalId) -> Option<&Proposal> {
        self.proposals.get(&id)
    }

    /// Who approves of an open proposal, and since which height.
    pub fn approvals_of(&self, id: ProposalId) -> Vec<(Address, Height)> {
        let of = |address| (id, Address(address));
        let approvals = self.approvals.range(of([0; 20])..=of([0xff; 20]));
        approvals.map(|((_, member), since)| (*member, *since)).collect()
    }

    /// With how much power members approve of an open proposal.
    pub fn approving_power(&self, id: ProposalId) -> u64 {
        let power = |(member, _)| Some(self.members().get(&member)?.power);
        self.approvals_of(id).into_iter().filter_map(power).sum()
    }

    /// What was decided on and takes force later, in that order.
    pub fn scheduled(&self) -> impl Iterator<Item = (Height, ProposalId, &Change)> {
        self.scheduled.iter().map(|((at, id), change)| (*at, *id, change))
    }

    /// Who will vote at `height`, as far as is decided by now. Exact for the height after the next block's: what is
    /// decided in the next block takes force one later.
    pub fn members_at(&self, height: Height) -> Members {
        let due = self.due_at(height);
        if due.is_empty() {
            return self.members().clone();
        }
        membership::step(self.members(), due.iter().map(|(_, id, change)| (*id, change))).0
    }

    fn due_at(&self, height: Height) -> Vec<(Height, ProposalId, Change)> {
        self.scheduled()
            .take_while(|(at, _, _)| *at <= height)
            .map(|(at, id, change)| (at, id, change.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlockInput;
    use crate::membership::member;
    use crate::testing::{Chain, Town};
    use milepost_wire::{Access, Action, SecretKey};

    fn chain() -> Chain {
        let mut chain = Chain::new(Town::new(1), 1);
        chain.state.seal();
        chain
    }

    impl Chain {
        /// Executes a block with one transaction, or none; says which transactions were done, and what was enacted.
        fn block(&mut self, asked: Option<(&SecretKey, Action)>) -> (bool, Vec<(ProposalId, bool)>) {
            let transactions: Vec<_> = asked
                .map(|(key, action)| self.town.transaction(key, self.transaction(key, action)))
                .into_iter()
                .collect();
            let following = self.state.members_at(Height(self.height + 1));
            let outputs = self.state.apply(&BlockInput {
                height: Height(self.height),
                time: self.town.at(self.height * 1000),
                transactions: &transactions,
                batches: &[],
            });
            self.height += 1;
            assert_eq!(self.state.check(), Ok(()));
            assert_eq!(
                *self.state.members(),
                following,
                "the next members are known before the block"
            );
            let loaded = State::load(
                &self.town.genesis,
                self.state.tree_entries(),
                self.state.open_entries(),
            );
            assert_eq!(loaded.expect("loads").members(), self.state.members());
            let done = outputs
                .iter()
                .any(|output| matches!(output, Output::Transacted { done: true, .. }));
            let enacted = outputs.iter().filter_map(|output| match output {
                Output::Enacted { proposal, done, .. } => Some((*proposal, *done)),
                _ => None,
            });
            (done, enacted.collect())
        }

        fn propose(&mut self, member: usize, change: Change, from: u64) -> bool {
            let key = self.town.members[member].clone();
            let from = Height(from);
            self.block(Some((&key, Action::Propose { change, from }))).0
        }

        fn approve(&mut self, member: usize, id: u64) -> bool {
            let key = self.town.members[member].clone();
            let proposal = ProposalId(id);
            self.block(Some((&key, Action::Approve { proposal }))).0
        }
    }

    fn settings(name: &str, value: u64) -> Change {
        let name = name.into();
        Change::SetParams(vec![Setting { name, value }])
    }

    #[test]
    fn three_of_four_admit_a_member_two_heights_after_the_last_approval() {
        let mut chain = chain();
        assert!(chain.propose(0, Change::AddMember(member("new", 1, 1)), 0));
        assert!(chain.approve(1, 1));
        chain.block(None);
        assert_eq!(chain.state.members().count(), 4, "two of four are not enough");
        assert!(chain.approve(2, 1));
        assert_eq!(chain.height, 5);
        assert_eq!(
            chain.state.members().count(),
            4,
            "who votes on 5 was certain before 4"
        );
        let (_, enacted) = chain.block(None);
        assert_eq!(enacted, [(ProposalId(1), true)]);
        assert_eq!(chain.state.members().count(), 5, "who votes on 6");
        assert!(!chain.approve(3, 1), "it is no longer open");
    }

    #[test]
    fn a_change_waits_for_the_height_that_was_asked_for() {
        let mut chain = chain();
        assert!(chain.propose(0, settings("need_max", 7), 10));
        assert!(chain.approve(1, 1) && chain.approve(2, 1));
        while chain.height < 9 {
            chain.block(None);
        }
        assert_ne!(chain.state.params().need_max, 7);
        chain.block(None);
        assert_eq!(chain.state.params().need_max, 7, "for block 10");
    }

    #[test]
    fn strangers_doubles_and_nonsense_are_refused() {
        let mut chain = chain();
        let stranger = chain.town.keys[0].clone();
        let change = Change::SetAccess(Access::Private);
        let from = Height(0);
        assert!(
            !chain
                .block(Some((
                    &stranger,
                    Action::Propose {
                        change: change.clone(),
                        from
                    }
                )))
                .0
        );
        assert!(chain.propose(0, change, 0));
        assert!(!chain.approve(0, 1), "whoever proposes approves");
        for nonsense in [
            Change::SetAccess(Access::Consortium),
            Change::AddMember(member("town member", 0, 1)),
            Change::AddMember(member("new", 1, 5)),
            Change::SetPower {
                member: chain.town.members[1].address(),
                power: 1 << 33,
            },
            settings("slot_ms", 1000),
            settings("freshness_ms.speed", 1000),
            settings("no_such_number", 1),
            settings("need_max", 1 << 40),
            settings("need_max", 0),
            settings("speed", 1),
            Change::SetParams(Vec::new()),
        ] {
            assert!(!chain.propose(1, nonsense.clone(), 0), "{nonsense:?}");
        }
        assert!(chain.propose(1, settings("speed.near", 200), 0));
    }

    #[test]
    fn a_members_open_proposals_are_bounded_and_end_in_time() {
        let mut chain = chain();
        for value in 0..OF_ONE_MAX as u64 {
            assert!(chain.propose(0, settings("need_max", 10 + value), 0));
        }
        assert!(!chain.propose(0, settings("need_max", 30), 0));
        let member = chain.town.members[0].clone();
        let proposal = ProposalId(3);
        assert!(chain.block(Some((&member, Action::Withdraw { proposal }))).0);
        assert!(chain.propose(0, settings("need_max", 30), 0));
        chain.height += chain.state.params().proposal_life_ms / 1000 + 20;
        chain.block(None);
        assert_eq!(chain.state.proposals().count(), 0);
        assert_eq!(chain.state.approvals.iter().count(), 0);
    }

    #[test]
    fn who_loses_its_vote_takes_its_proposals_and_approvals_along() {
        let mut chain = chain();
        let gone = chain.town.members[3].address();
        assert!(chain.propose(3, settings("need_max", 9), 0));
        assert!(chain.propose(0, settings("need_max", 8), 0));
        assert!(chain.approve(3, 2));
        assert!(chain.propose(0, Change::RemoveMember { member: gone }, 0));
        assert!(chain.approve(1, 3) && chain.approve(2, 3));
        chain.block(None);
        assert_eq!(chain.state.members().count(), 3);
        let open: Vec<_> = chain.state.proposals().map(|(id, _)| id.0).collect();
        assert_eq!(open, [2]);
        assert_eq!(chain.state.approving_power(ProposalId(2)), 1);
    }

    #[test]
    fn a_member_goes_on_under_another_key() {
        let mut chain = chain();
        let member = chain.town.members[2].address();
        let key = SecretKey::from_seed("next key", 2);
        let public = key.public();
        assert!(chain.propose(0, Change::SetKey { member, key: public }, 0));
        assert!(chain.approve(1, 1) && chain.approve(2, 1));
        chain.block(None);
        assert_eq!(chain.state.members().get(&member), None);
        assert!(chain.state.members().get(&key.address()).is_some());
        let change = settings("need_max", 5);
        let from = Height(0);
        assert!(chain.block(Some((&key, Action::Propose { change, from }))).0);
    }
}

#[cfg(test)]
mod quarantine_tests {
    use super::*;
    use crate::testing::Town;
    use crate::transact::execute;
    use milepost_wire::state::Q;
    use milepost_wire::{Action, Hash, Transaction};

    /// All members but the last approve of `change`, and enough blocks pass for it to take force.
    fn decide(town: &Town, state: &mut State, change: &Change) -> Result<Vec<Output>, Rejected> {
        for (nth, member) in town.members[..3].iter().enumerate() {
            let action = match nth {
                0 => Action::Propose {
                    change: change.clone(),
                    from: Height(0),
                },
                _ => Action::Approve {
                    proposal: state.charter().newest,
                },
            };
            let from = member.public();
            let nonce = state.account(&member.address()).nonce;
            let transaction = Transaction { from, nonce, action };
            execute(state, Height(1), &transaction, &mut Vec::new())?;
        }
        let mut outputs = Vec::new();
        for height in 1..4 {
            outputs.extend(end_block(state, Height(height)));
        }
        Ok(outputs)
    }

    #[test]
    fn three_of_four_members_put_a_vehicle_away_and_let_it_out_once_it_has_reformed() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let vehicle = town.keys[0].key_id();
        let evidence = Hash([7; 32]);
        let away = decide(&town, &mut state, &Change::Quarantine { vehicle, evidence });
        assert!(away.is_ok_and(|outputs| outputs.iter().any(|output| matches!(
            output,
            Output::Quarantined {
                ground: Ground::Vote,
                ..
            }
        ))));
        let known = state.vehicle(&vehicle).expect("enrolled").clone();
        assert!(known.quarantine.is_some());

        let out = Change::Release { vehicle };
        assert!(matches!(
            decide(&town, &mut state, &out),
            Err(Rejected::Improper(Improper::NotReformed(_)))
        ));
        let mut reformed = known;
        (reformed.standing.good, reformed.standing.bad) = (9 * Q, Q);
        reformed.standing.evaluated = state.params().evaluated_min;
        state.vehicles.insert(vehicle, reformed);
        assert!(decide(&town, &mut state, &out).is_ok());
        assert!(
            state
                .vehicle(&vehicle)
                .is_some_and(|known| known.quarantine.is_none())
        );
    }

    #[test]
    fn one_member_alone_quarantines_nobody() {
        let town = Town::new(1);
        let mut state = State::genesis(&town.genesis);
        let (vehicle, member) = (town.keys[0].key_id(), &town.members[0]);
        let action = Action::Propose {
            change: Change::Quarantine {
                vehicle,
                evidence: Hash::ZERO,
            },
            from: Height(0),
        };
        let from = member.public();
        let transaction = Transaction {
            from,
            nonce: 0,
            action,
        };
        assert_eq!(
            execute(&mut state, Height(1), &transaction, &mut Vec::new()),
            Ok(())
        );
        for height in 1..9 {
            end_block(&mut state, Height(height));
        }
        assert!(
            state
                .vehicle(&vehicle)
                .is_some_and(|known| known.quarantine.is_none())
        );
    }
}
