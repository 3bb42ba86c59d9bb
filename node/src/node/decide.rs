//! What does the engine want done?
//!
//! Its effects are carried out in their order, after the log entries that they follow from: [`Node::log`] makes those
//! durable before anything leaves. A decided block is committed with one durable write.

use std::collections::VecDeque;
use std::sync::Arc;

use milepost_wire::topic::Channel;
use milepost_wire::{Address, Certificate, Evidence, Hash, Header, SignedBatch, encode};

use super::{Deciding, Fatal, Node, Output};
use crate::engine::{Effected, Stepped, Verdict};
use crate::ledger::Invalid;
use crate::message::{PeerMessage, ProposedBody};
use crate::store::{Commit, Store, Write};
use crate::view::View;

impl<S: Store> Node<S> {
    pub(super) fn run(&mut self, stepped: Stepped) -> Result<(), Fatal> {
        let mut queue = VecDeque::new();
        self.log(stepped, &mut queue)?;
        let mut finished = false;
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effected::Publish(message) => {
                    if let PeerMessage::Proposal(proposal) = &message {
                        let again_at = self.now.mono_ms + self.settings.rebroadcast_ms;
                        self.deciding.proposed = Some((proposal.clone(), again_at));
                    }
                    self.send(Channel::Bft, &message);
                }
                Effected::Schedule(timeout, after) => {
                    let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.timers.retain(|(found, _)| *found != timeout);
                    self.timers
                        .push((timeout, self.now.mono_ms.saturating_add(after)));
                }
                Effected::Cancel(timeout) => self.timers.retain(|(found, _)| *found != timeout),
                Effected::CancelAll => self.timers.clear(),
                Effected::Propose { round } => {
                    let hash = self.propose(round)?;
                    let stepped = self.engine.propose(self.next(), round, hash)?;
                    self.log(stepped, &mut queue)?;
                }
                Effected::ProposeAgain { round, value } => {
                    if let Some(block) = self.deciding.bodies.get(&value).cloned() {
                        let body = ProposedBody {
                            round,
                            block: (*block).clone(),
                        };
                        self.send(Channel::Body, &PeerMessage::Body(body));
                    }
                }
                Effected::CertificateGood {
                    round,
                    proposer,
                    value,
                } => {
                    let Some(block) = self.deciding.bodies.get(&value).cloned() else {
                        continue;
                    };
                    match self.judge(value, &block)? {
                        None => continue,
                        Some(true) => {}
                        Some(false) => return Err(self.diverged(value)),
                    }
                    self.store_body(value, &block)?;
                    let stepped = self.engine.judged(Verdict {
                        height: self.next(),
                        round,
                        valid_round: None,
                        proposer,
                        value,
                        valid: true,
                        fetched: true,
                    })?;
                    self.log(stepped, &mut queue)?;
                }
                Effected::CertificateBad => {
                    tracing::warn!(height = %self.next(), "a fetched certificate is refused")
                }
                Effected::Decided(certificate) => self.commit(certificate)?,
                Effected::Equivocated(evidence) => {
                    let (member, height) = (evidence.member, evidence.height);
                    tracing::warn!(%member, %height, "a member signed two different things");
                    self.outputs.push(Output::Equivocated(member));
                    self.keep_evidence(Evidence::Equivocation(evidence))?;
                }
                Effected::Finished => finished = true,
            }
        }
        if finished {
            // Only now: what stood behind in the list belonged to the finished height.
            self.timers.clear();
            self.end_silence()?;
            let earliest = self.started_ms.saturating_add(self.settings.block_interval_ms);
            self.rest(if self.catching_up {
                self.now.mono_ms
            } else {
                earliest
            });
        }
        Ok(())
    }

    /// A block whose time is later than a restoration was decided after it, so whatever was signed before belongs to
    /// this height or a lower one.
    fn end_silence(&mut self) -> Result<(), Fatal> {
        let Some(until) = self.silent_until.filter(|until| self.ledger().time() > *until) else {
            return Ok(());
        };
        tracing::info!(height = %self.ledger().height(), ?until, "this unit may vote again");
        self.store.write(&[Write::Voice], true)?;
        self.silent_until = None;
        self.engine = super::engine(self.ledger(), &self.key, &self.settings, false);
        Ok(())
    }

    /// Makes what a step logged durable before anything that follows from it can leave.
    pub(super) fn log(&mut self, stepped: Stepped, queue: &mut VecDeque<Effected>) -> Result<(), Fatal> {
        let leaves = stepped.effects.iter().any(|effect| {
            matches!(
                effect,
                Effected::Publish(_) | Effected::Decided(_) | Effected::ProposeAgain { .. }
            )
        });
        self.unsynced |= !stepped.log.is_empty();
        if self.unsynced {
            let height = self.next();
            let first = self.log_index;
            let writes: Vec<Write> = (first..)
                .zip(&stepped.log)
                .map(|(index, entry)| Write::Log(height, index, encode(entry)))
                .collect();
            self.log_index = first.saturating_add(u32::try_from(writes.len()).unwrap_or(u32::MAX));
            self.store.write(&writes, leaves)?;
            self.unsynced = !leaves;
        }
        queue.extend(stepped.effects);
        Ok(())
    }

    /// The block that this member proposes in a round: once built, always the same.
    pub(super) fn propose(&mut self, round: u32) -> Result<Hash, Fatal> {
        let height = self.next();
        let known = match self.store.own(height, round)? {
            Some(hash) => self.store.body(&hash)?.map(|block| (hash, block)),
            None => None,
        };
        let (hash, block) = match known {
            Some(known) => known,
            None => {
                let mut contents = self
                    .pool
                    .contents(self.members(), |sender| self.next_nonce(sender));
                self.add_evidence(&mut contents);
                let (block, executed) = self
                    .ledger()
                    .build(self.me, self.now.wall, &contents)
                    .map_err(|why| Fatal::Broken { height, why })?;
                let hash = block.hash();
                self.store.write(
                    &[Write::Body(hash, block.clone()), Write::Own(height, round, hash)],
                    false,
                )?;
                self.unsynced = true;
                self.deciding.judged.insert(hash, Ok(executed));
                (hash, block)
            }
        };
        self.deciding.bodies.insert(hash, Arc::new(block.clone()));
        self.send(Channel::Body, &PeerMessage::Body(ProposedBody { round, block }));
        Ok(hash)
    }

    pub(super) fn diverged(&mut self, hash: Hash) -> Fatal {
        let why = match self.deciding.judged.remove(&hash) {
            Some(Err(why)) => why,
            _ => Invalid::Body("its body or its batches are not at hand".into()),
        };
        Fatal::Diverged {
            height: self.next(),
            why,
        }
    }

    pub(super) fn commit(&mut self, certificate: Certificate) -> Result<(), Fatal> {
        let hash = certificate.block;
        let block = match self.deciding.bodies.get(&hash) {
            Some(block) => block.clone(),
            None => match self.store.body(&hash)? {
                Some(block) => Arc::new(block),
                None => return Err(self.diverged(hash)),
            },
        };
        if self.judge(hash, &block)? != Some(true) {
            return Err(self.diverged(hash));
        }
        let (Some(Ok(executed)), Some(batches)) =
            (self.deciding.judged.remove(&hash), self.batches_of(&block)?)
        else {
            return Err(self.diverged(hash));
        };
        let signed: Vec<&SignedBatch> = batches.iter().map(|batch| batch.signed()).collect();
        self.store.commit(&Commit {
            block: &block,
            certificate: &certificate,
            batches: &signed,
            outputs: &executed.outputs,
            tree: &executed.tree_changes,
            open: &executed.open_changes,
            members: self.view.ledger().changed_members(),
        })?;

        let arrived = self.deciding.arrived.get(&hash).copied();
        let Header { proposer, time, .. } = block.header;
        let members = self.view.ledger().members();
        self.clock.decided(
            proposer,
            time,
            self.now.wall,
            arrived,
            self.settings.drift_ms,
            members,
        );
        self.clock.tell(self.now.mono_ms);

        // Executions of this height's other bodies share the old state, and so must go before the step.
        let held = std::mem::take(&mut self.deciding.held);
        let asked = std::mem::take(&mut self.deciding.asked);
        self.deciding = Deciding::default();
        self.deciding.held = held
            .into_iter()
            .filter(|(_, held)| held.header.height > block.header.height)
            .collect();
        let outputs = executed.outputs.clone();
        let ledger = self.ledger().advance(&block, executed);
        let view = View::after(
            ledger,
            self.view.genesis_hash(),
            block.clone(),
            certificate,
            outputs,
            batches,
        );
        self.view = Arc::new(view);
        self.log_index = 0;
        self.unsynced = false;
        self.fetching = None;
        let view = self.view.clone();
        let next_nonce = |sender: &Address| view.state().account(sender).nonce;
        let counts = |author: &Address| view.state().provider(author).is_some();
        self.pool.committed(&block.body, next_nonce, counts);
        self.drop_evidence()?;
        self.insist(&block, &asked);
        self.broadcast_status();
        self.outputs.push(Output::Committed(view.clone()));
        Ok(())
    }
}
