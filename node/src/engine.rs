//! How is the consensus engine driven?
//!
//! [`Engine::step`] runs one input of Malachite's core to its end, synchronously, and returns what follows. The
//! engine reads no clock, opens no socket and writes no disk: it hands out what must be logged together with
//! what may leave the node once the log is durable, and the caller keeps that order.
//!
//! `process!` carries on when its handler fails, so the handler never fails: it collects, and an error of the
//! core or of a signature poisons the engine. Source: docs/adr/0006-consensus.md.

use std::time::Duration;

use futures_util::FutureExt;
use malachite_core::{
    ConsensusMsg, Effect, Error, Input, LivenessMsg, LocallyProposedValue, Params, PeerId, ProposedValue,
    Resumable, Resume, SignedConsensusMsg, State, process,
};
use malachite_signing::{Signer, VerifierExt};
use malachite_types::{
    ExtendedCommitCertificate, LinearTimeouts, NilOrVal, Round, Timeout, Validity, ValueOrigin, ValuePayload,
    ValueResponse, VoteExtensionPolicy, VoteExtensions, VoteType,
};
use milepost_wire::{Address, Certificate, Equivocation, Hash, Height, Members, SecretKey};

use crate::context::{self, BlockId, Context, Keys, Voters, number};
use crate::message::PeerMessage;
use crate::wal::Entry;

/// What follows from a step, in order.
#[derive(Clone, Debug)]
pub(crate) enum Effected {
    /// Tell the other members.
    Publish(PeerMessage),
    /// Wake the engine with this timeout after so long.
    Schedule(Timeout, Duration),
    /// Forget a timeout.
    Cancel(Timeout),
    /// Forget all timeouts.
    CancelAll,
    /// It is this member's turn to propose.
    Propose { round: u32 },
    /// This member proposes a block of an earlier round again.
    ProposeAgain { round: u32, value: Hash },
    /// A fetched certificate is good; now the block must be judged.
    CertificateGood {
        round: u32,
        proposer: Address,
        value: Hash,
    },
    /// A fetched certificate is not good.
    CertificateBad,
    /// The block of this height is decided.
    Decided(Certificate),
    /// The height is over. What stands behind this in the list belongs to it still.
    Finished,
    /// A member signed two different things.
    Equivocated(Equivocation),
}

/// What a step gives: entries to make durable, and then effects to carry out.
#[derive(Debug, Default)]
pub(crate) struct Stepped {
    pub(crate) log: Vec<Entry>,
    pub(crate) effects: Vec<Effected>,
}

/// What was found of a block that a round proposes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) height: Height,
    pub(crate) round: u32,
    pub(crate) valid_round: Option<u32>,
    pub(crate) proposer: Address,
    pub(crate) value: Hash,
    pub(crate) valid: bool,
    /// A certificate for the block was fetched, and fed before.
    pub(crate) fetched: bool,
}

/// The engine cannot be trusted to go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("consensus engine: {0}")]
pub(crate) struct EngineError(String);

/// Malachite's core for one member.
pub(crate) struct Engine {
    state: State<Context>,
    keys: Keys,
    context: Context,
    timeouts: LinearTimeouts,
    replaying: bool,
    poisoned: Option<EngineError>,
}

/// Inputs that wait for a later height: heights ahead, and messages a height.
const AHEAD_HEIGHTS: usize = 64;
const AHEAD_MESSAGES: usize = 4096;

impl Engine {
    /// An engine that is `silent` follows and never signs anything, whoever it belongs to. So does one whose key is no
    /// member's.
    pub(crate) fn new(
        keys: Keys,
        members: &Members,
        height: Height,
        timeouts: LinearTimeouts,
        silent: bool,
    ) -> Self {
        let params = Params {
            address: context::Address(keys.key.address()),
            threshold_params: Default::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: !silent,
        };
        let context = Context {
            chain: keys.chain.clone(),
        };
        let voters = Voters::of(members);
        let state = State::new(
            context.clone(),
            context::Height(height),
            voters,
            params,
            AHEAD_HEIGHTS,
            AHEAD_MESSAGES,
        );
        Self {
            state,
            keys,
            context,
            timeouts,
            replaying: false,
            poisoned: None,
        }
    }

    pub(crate) fn keys(chain: milepost_wire::ChainId, key: SecretKey) -> Keys {
        Keys { chain, key }
    }

    pub(crate) fn round(&self) -> u32 {
        number(self.state.round())
    }

    /// Whose turn it is to propose in this round.
    pub(crate) fn proposer(&self) -> Address {
        self.state.get_proposer(self.state.height(), self.state.round()).0
    }

    /// Who has precommitted nothing in this round. Where they are a quorum, it decides nothing any more.
    pub(crate) fn gave_up(&self) -> impl Iterator<Item = Address> {
        let votes = self.state.driver.votes().per_round(self.state.round());
        let votes = votes.into_iter().flat_map(|votes| votes.received_votes());
        votes
            .filter(|vote| vote.kind == VoteType::Precommit && vote.value == NilOrVal::Nil)
            .map(|vote| vote.voter.0)
    }

    /// Starts a height; after a restart, `entries` are what its log holds, and are replayed.
    pub(crate) fn start(
        &mut self,
        height: Height,
        members: &Members,
        entries: Vec<Entry>,
    ) -> Result<Stepped, EngineError> {
        let start = Input::StartHeight(
            context::Height(height),
            Voters::of(members),
            // Never true: a restart of a height would reset the guard against signing twice.
            false,
            None,
            VoteExtensionPolicy::Disabled,
        );
        self.replaying = !entries.is_empty();
        let mut stepped = self.step(start)?;
        let inputs: Vec<_> = entries.into_iter().map(Entry::into_input).collect();
        if self.replaying {
            self.state
                .record_recovered_own_precommit_extensions(inputs.iter());
            self.state.index_wal_entries(inputs.iter());
            for input in inputs {
                stepped.effects.extend(self.step(input)?.effects);
            }
            self.state.reset_entries_index();
            self.replaying = false;
        }
        Ok(stepped)
    }

    /// A message of another member; a kind that is not consensus is none of the engine's.
    pub(crate) fn hear(&mut self, message: PeerMessage) -> Result<Stepped, EngineError> {
        self.step(match message {
            PeerMessage::Vote(vote) => Input::Vote(vote.into()),
            PeerMessage::Proposal(proposal) => Input::Proposal(proposal.into()),
            PeerMessage::Polka(polka) => Input::PolkaCertificate(polka.into()),
            PeerMessage::Round(certificate) => Input::RoundCertificate(certificate.into()),
            _ => return Ok(Stepped::default()),
        })
    }

    pub(crate) fn elapsed(&mut self, timeout: Timeout) -> Result<Stepped, EngineError> {
        self.step(Input::TimeoutElapsed(timeout))
    }

    /// This member's own block for a round that it was asked to propose in.
    pub(crate) fn propose(
        &mut self,
        height: Height,
        round: u32,
        value: Hash,
    ) -> Result<Stepped, EngineError> {
        self.step(Input::Propose(LocallyProposedValue::new(
            context::Height(height),
            Round::new(round),
            BlockId(value),
        )))
    }

    /// A block that was judged.
    pub(crate) fn judged(&mut self, verdict: Verdict) -> Result<Stepped, EngineError> {
        let proposed = ProposedValue {
            height: context::Height(verdict.height),
            round: Round::new(verdict.round),
            valid_round: verdict.valid_round.map_or(Round::Nil, Round::new),
            proposer: context::Address(verdict.proposer),
            value: BlockId(verdict.value),
            validity: Validity::from_bool(verdict.valid),
        };
        let origin = if verdict.fetched {
            ValueOrigin::Sync
        } else {
            ValueOrigin::Consensus
        };
        self.step(Input::ProposedValue(proposed, origin))
    }

    /// A certificate that was fetched for this height.
    pub(crate) fn certified(&mut self, certificate: &Certificate) -> Result<Stepped, EngineError> {
        let extended = ExtendedCommitCertificate::from_commit_certificate_and_extensions(
            context::commit_certificate(certificate),
            VoteExtensions::default(),
        );
        // The engine only passes the peer through; a multihash of nothing names nobody.
        let peer = PeerId::from_bytes(&[0, 0]).map_err(|error| EngineError(error.to_string()))?;
        self.step(Input::SyncValueResponse(ValueResponse::new(
            peer,
            bytes::Bytes::new(),
            extended,
        )))
    }

    fn step(&mut self, input: Input<Context>) -> Result<Stepped, EngineError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        let mut io = Io {
            keys: &self.keys,
            context: &self.context,
            timeouts: &self.timeouts,
            replaying: self.replaying,
            stepped: Stepped::default(),
            failed: None,
        };
        let result: Result<(), Error<Context>> = process!(
            input: input,
            state: &mut self.state,
            metrics: &(),
            with: effect => io.handle(effect)
        );
        let Io { stepped, failed, .. } = io;
        let failed = failed.or_else(|| result.err().map(|error| EngineError(error.to_string())));
        match failed {
            None => Ok(stepped),
            Some(error) => {
                self.poisoned = Some(error.clone());
                Err(error)
            }
        }
    }
}

struct Io<'a> {
    keys: &'a Keys,
    context: &'a Context,
    timeouts: &'a LinearTimeouts,
    replaying: bool,
    stepped: Stepped,
    failed: Option<EngineError>,
}

/// Local keys never wait, so their futures are ready at the first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("local signatures never wait")
}

impl Io<'_> {
    fn emit(&mut self, effect: Effected) {
        self.stepped.effects.push(effect);
    }

    fn handle(&mut self, effect: Effect<Context>) -> Result<Resume<Context>, String> {
        use Effect as E;
        Ok(match effect {
            E::CancelAllTimeouts(resume) => {
                self.emit(Effected::CancelAll);
                resume.resume_with(())
            }
            E::CancelTimeout(timeout, resume) => {
                self.emit(Effected::Cancel(timeout));
                resume.resume_with(())
            }
            E::ScheduleTimeout(timeout, resume) => {
                self.emit(Effected::Schedule(timeout, self.timeouts.duration_for(timeout)));
                resume.resume_with(())
            }
            E::StartRound(_, _, _, _, resume) => resume.resume_with(()),
            E::PublishConsensusMsg(message, resume) => {
                self.emit(Effected::Publish(match &message {
                    SignedConsensusMsg::Vote(vote) => PeerMessage::Vote(vote.into()),
                    SignedConsensusMsg::Proposal(proposal) => PeerMessage::Proposal(proposal.into()),
                }));
                resume.resume_with(())
            }
            E::PublishLivenessMsg(message, resume) => {
                self.emit(Effected::Publish(match &message {
                    LivenessMsg::Vote(vote) => PeerMessage::Vote(vote.into()),
                    LivenessMsg::PolkaCertificate(polka) => PeerMessage::Polka(polka.into()),
                    LivenessMsg::SkipRoundCertificate(certificate) => PeerMessage::Round(certificate.into()),
                }));
                resume.resume_with(())
            }
            E::RepublishVote(vote, resume) => {
                self.emit(Effected::Publish(PeerMessage::Vote((&vote).into())));
                resume.resume_with(())
            }
            E::RepublishRoundCertificate(certificate, resume) => {
                self.emit(Effected::Publish(PeerMessage::Round((&certificate).into())));
                resume.resume_with(())
            }
            E::GetValue(_, round, _, resume) => {
                self.emit(Effected::Propose { round: number(round) });
                resume.resume_with(())
            }
            E::RestreamProposal(_, round, _, _, value, resume) => {
                self.emit(Effected::ProposeAgain {
                    round: number(round),
                    value: value.0,
                });
                resume.resume_with(())
            }
            E::CertVerifiedSyncValue(response, proposer, resume) => {
                let (round, value) = (
                    number(response.certificate.round),
                    response.certificate.value_id.0,
                );
                self.emit(Effected::CertificateGood {
                    round,
                    proposer: proposer.0,
                    value,
                });
                resume.resume_with(())
            }
            E::CertRejectedSyncValue(_, _, _, resume) => {
                self.emit(Effected::CertificateBad);
                resume.resume_with(())
            }
            E::Decide(certificate, _, resume) => {
                self.emit(Effected::Decided(context::certificate(&certificate)));
                resume.resume_with(())
            }
            E::Finalize(_, _, evidence, resume) => {
                // The first pair of a member is as good as all.
                let votes = evidence.votes.iter().filter_map(|(_, pairs)| pairs.first());
                for (one, other) in votes {
                    self.emit(Effected::Equivocated(context::double_vote(one, other)));
                }
                let proposals = evidence.proposals.iter().filter_map(|(_, pairs)| pairs.first());
                for (one, other) in proposals {
                    self.emit(Effected::Equivocated(context::double_proposal(one, other)));
                }
                self.emit(Effected::Finished);
                resume.resume_with(())
            }
            E::SignVote(vote, resume) => {
                resume.resume_with(now(self.keys.sign_vote(vote)).map_err(|error| error.to_string())?)
            }
            E::SignProposal(proposal, resume) => {
                resume.resume_with(now(self.keys.sign_proposal(proposal)).map_err(|error| error.to_string())?)
            }
            E::VerifySignature(message, key, resume) => {
                let digest = match &message.message {
                    ConsensusMsg::Vote(vote) => vote.digest(&self.context.chain),
                    ConsensusMsg::Proposal(proposal) => proposal.digest(&self.context.chain),
                };
                resume.resume_with(message.signature.verify(&key, &digest).is_ok())
            }
            E::VerifyCommitCertificate(certificate, voters, thresholds, resume) => resume.resume_with(now(
                self.context
                    .verify_commit_certificate(self.context, &certificate, &voters, thresholds),
            )),
            E::VerifyExtendedCommitCertificate(certificate, voters, thresholds, policy, resume) => resume
                .resume_with(now(self.context.verify_extended_commit_certificate(
                    self.context,
                    &certificate,
                    &voters,
                    thresholds,
                    policy,
                ))),
            E::VerifyPolkaCertificate(certificate, voters, thresholds, resume) => resume.resume_with(now(
                self.context
                    .verify_polka_certificate(self.context, &certificate, &voters, thresholds),
            )),
            E::VerifyRoundCertificate(certificate, voters, thresholds, resume) => resume.resume_with(now(
                self.context
                    .verify_round_certificate(self.context, &certificate, &voters, thresholds),
            )),
            // Vote extensions are switched off at every height, so neither of these is asked.
            E::ExtendVote(.., resume) => resume.resume_with(None),
            E::VerifyVoteExtension(.., resume) => resume.resume_with(Ok(())),
            E::WalAppend(_, input, resume) => {
                if !self.replaying {
                    match Entry::of(&input) {
                        Some(entry) => self.stepped.log.push(entry),
                        None => {
                            self.failed = Some(EngineError(format!("an input that no log keeps: {input:?}")))
                        }
                    }
                }
                resume.resume_with(())
            }
        })
    }
}
