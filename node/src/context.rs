//! What does the consensus engine need to know about this ledger?
//!
//! Malachite is generic over a context: addresses, heights, values, votes, members and signatures. Here they
//! are, each a thin wrapper around this project's own, with the conversions to and from
//! [`crate::message`]. A value is a block's hash; bodies travel beside consensus.

use async_trait::async_trait;
use k256::ecdsa::VerifyingKey;
use malachite_signing::{Error as SigningError, Signer, VerificationResult, Verifier};
use malachite_types::{
    self as bft, CommitCertificate, CommitSignature, LinearTimeouts, NilOrVal, PolkaCertificate,
    PolkaSignature, PublicKey, Round, RoundCertificate, RoundCertificateType, RoundSignature, Signature,
    SignedExtension, SignedMessage, SignedProposal, SignedVote, ValidatorProof, VoteExtensionScope, VoteType,
    VotingPower,
};
use milepost_wire::equivocation::{Equivocation, Word};
use milepost_wire::vote::{self, Step};
use milepost_wire::{self as wire, Certificate, ChainId, Hash, Members, SecretKey};

use crate::message;

/// A member's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub(crate) wire::Address);

/// A block's height.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub(crate) wire::Height);

/// A block's hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockId(pub(crate) Hash);

macro_rules! shown_as_inner {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

shown_as_inner!(Address);
shown_as_inner!(Height);
shown_as_inner!(BlockId);

impl bft::Address for Address {}

impl bft::Height for Height {
    const ZERO: Self = Self(wire::Height(0));
    const INITIAL: Self = Self(wire::Height(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(wire::Height(self.0.0 + n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.0.checked_sub(n).map(|height| Self(wire::Height(height)))
    }

    fn as_u64(&self) -> u64 {
        self.0.0
    }
}

impl bft::Value for BlockId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// ECDSA over secp256k1 with this project's preimages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme;

impl bft::SigningScheme for Scheme {
    type DecodingError = String;
    type Signature = wire::Signature;
    type PublicKey = VerifyingKey;
    type PrivateKey = SecretKeyOf;

    fn decode_signature(bytes: &[u8]) -> Result<wire::Signature, String> {
        bytes
            .try_into()
            .map(wire::Signature)
            .map_err(|_| format!("a signature has 64 bytes, found {}", bytes.len()))
    }

    fn encode_signature(signature: &wire::Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<VerifyingKey, String> {
        VerifyingKey::from_sec1_bytes(bytes).map_err(|error| error.to_string())
    }

    fn encode_public_key(key: &VerifyingKey) -> Vec<u8> {
        wire::PublicKey::of(key).0.to_vec()
    }
}

/// The engine names a private key's type and never holds one.
#[derive(Clone, Debug)]
pub(crate) struct SecretKeyOf;

/// A vote before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<BlockId>,
    pub(crate) voter: Address,
    pub(crate) extension: Option<SignedExtension<Context>>,
}

impl bft::Vote<Context> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Context>> {
        self.extension.as_ref()
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Context>> {
        self.extension.take()
    }

    fn extend(self, extension: SignedExtension<Context>) -> Self {
        Self {
            extension: Some(extension),
            ..self
        }
    }
}

impl Vote {
    pub(crate) fn digest(&self, chain: &ChainId) -> Hash {
        let step = if self.kind == VoteType::Precommit {
            Step::Precommit
        } else {
            Step::Prevote
        };
        vote::digest(
            chain,
            step,
            self.height.0,
            number(self.round),
            hash(&self.value),
            self.voter.0,
        )
    }
}

/// A proposal before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: BlockId,
    pub(crate) valid_round: Round,
    pub(crate) proposer: Address,
}

impl bft::Proposal<Context> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockId {
        &self.value
    }

    fn take_value(self) -> BlockId {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

impl Proposal {
    pub(crate) fn digest(&self, chain: &ChainId) -> Hash {
        let (round, valid_round) = (number(self.round), self.valid_round.as_i64());
        vote::proposal_digest(
            chain,
            self.height.0,
            round,
            valid_round,
            self.value.0,
            self.proposer.0,
        )
    }
}

/// Bodies travel beside consensus, so there are no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part;

impl bft::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A member as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voter {
    address: Address,
    key: VerifyingKey,
    power: VotingPower,
}

impl bft::Validator<Context> for Voter {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &VerifyingKey {
        &self.key
    }

    fn voting_power(&self) -> VotingPower {
        self.power
    }
}

/// The members of one height, in the order of their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters(std::sync::Arc<Vec<Voter>>);

impl Voters {
    pub(crate) fn of(members: &Members) -> Self {
        let voter = |(address, member): (wire::Address, &wire::Member)| Voter {
            address: Address(address),
            key: *members.point(&address).expect("every member has a point"),
            power: member.power,
        };
        Self(std::sync::Arc::new(members.iter().map(voter).collect()))
    }
}

impl bft::ValidatorSet<Context> for Voters {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.0.iter().map(|voter| voter.power).sum()
    }

    fn get_by_address(&self, address: &Address) -> Option<&Voter> {
        self.0
            .binary_search_by_key(address, |voter| voter.address)
            .ok()
            .map(|index| &self.0[index])
    }

    fn get_by_index(&self, index: usize) -> Option<&Voter> {
        self.0.get(index)
    }
}

/// Who proposes: members take turns by height and round, each as often as its power says.
///
/// Turns are drawn from a hash of height and round, so that a powerful member's turns are spread, and the order
/// is known to everyone beforehand.
pub(crate) fn proposer(voters: &Voters, height: wire::Height, round: u32) -> wire::Address {
    let total: u64 = voters.0.iter().map(|voter| voter.power).sum();
    let equal = voters.0.iter().all(|voter| voter.power == voters.0[0].power);
    if equal {
        // Equal members simply go round: no one's turn comes twice in a cycle.
        let turn = (height.0 + u64::from(round)) % voters.0.len() as u64;
        return voters.0[turn as usize].address.0;
    }
    let draw = Hash::of("proposer", &[&height.0.to_le_bytes(), &round.to_le_bytes()]);
    let mut left = u64::from_le_bytes(draw.0[..8].try_into().expect("eight of thirty-two")) % total;
    for voter in voters.0.iter() {
        if left < voter.power {
            return voter.address.0;
        }
        left -= voter.power;
    }
    voters.0[0].address.0
}

/// The chain, and how to check signatures on it.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) chain: ChainId,
}

impl bft::Context for Context {
    type Address = Address;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Voter;
    type ValidatorSet = Voters;
    type Timeouts = LinearTimeouts;
    type Value = BlockId;
    type Vote = Vote;
    type Extension = Vec<u8>;
    type SigningScheme = Scheme;

    fn select_proposer<'a>(&self, voters: &'a Voters, height: Height, round: Round) -> &'a Voter {
        let address = Address(proposer(voters, height.0, number(round)));
        bft::ValidatorSet::get_by_address(voters, &address).expect("the proposer is a voter")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockId,
        valid_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            valid_round,
            proposer,
        }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            voter,
            extension: None,
        }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            height,
            round,
            value,
            voter,
            extension: None,
        }
    }
}

/// This member's key on this chain. Signatures are deterministic, so simulations repeat to the bit.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) chain: ChainId,
    pub(crate) key: SecretKey,
}

/// Vote extensions and validator proofs are never switched on.
fn unused<T>(what: &str) -> Result<T, SigningError> {
    Err(SigningError::from_source(std::io::Error::other(format!(
        "{what} are not used on this chain"
    ))))
}

#[async_trait]
impl Signer<Context> for Keys {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Context, Vote>, SigningError> {
        let signature = wire::Signature::sign(&self.key, &vote.digest(&self.chain));
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(
        &self,
        proposal: Proposal,
    ) -> Result<SignedMessage<Context, Proposal>, SigningError> {
        let signature = wire::Signature::sign(&self.key, &proposal.digest(&self.chain));
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _scope: VoteExtensionScope<Context>,
        _extension: Vec<u8>,
    ) -> Result<SignedMessage<Context, Vec<u8>>, SigningError> {
        unused("vote extensions")
    }

    async fn sign_validator_proof(
        &self,
        _public_key: Vec<u8>,
        _peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<Context>, SigningError> {
        unused("validator proofs")
    }
}

fn verdict(good: bool) -> Result<VerificationResult, SigningError> {
    Ok(VerificationResult::from_bool(good))
}

#[async_trait]
impl Verifier<Context> for Context {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature<Context>,
        key: &PublicKey<Context>,
    ) -> Result<VerificationResult, SigningError> {
        verdict(signature.verify(key, &vote.digest(&self.chain)).is_ok())
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature<Context>,
        key: &PublicKey<Context>,
    ) -> Result<VerificationResult, SigningError> {
        verdict(signature.verify(key, &proposal.digest(&self.chain)).is_ok())
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<Context>,
        _extension: &Vec<u8>,
        _signature: &Signature<Context>,
        _key: &PublicKey<Context>,
    ) -> Result<VerificationResult, SigningError> {
        verdict(false)
    }

    async fn verify_validator_proof(
        &self,
        _proof: &ValidatorProof<Context>,
    ) -> Result<VerificationResult, SigningError> {
        verdict(false)
    }
}

/// A round's number; the engine asks for defined rounds only, and an undefined one becomes the last.
pub(crate) fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(u32::MAX)
}

fn hash(value: &NilOrVal<BlockId>) -> Option<Hash> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(id.0),
    }
}

fn nil_or(value: Option<Hash>) -> NilOrVal<BlockId> {
    value.map_or(NilOrVal::Nil, |hash| NilOrVal::Val(BlockId(hash)))
}

fn kind(precommit: bool) -> VoteType {
    if precommit {
        VoteType::Precommit
    } else {
        VoteType::Prevote
    }
}

impl From<&SignedVote<Context>> for message::Vote {
    fn from(vote: &SignedVote<Context>) -> Self {
        Self {
            precommit: vote.kind == VoteType::Precommit,
            height: vote.height.0,
            round: number(vote.round),
            value: hash(&vote.value),
            voter: vote.voter.0,
            signature: vote.signature,
        }
    }
}

impl From<message::Vote> for SignedVote<Context> {
    fn from(vote: message::Vote) -> Self {
        let unsigned = Vote {
            kind: kind(vote.precommit),
            height: Height(vote.height),
            round: Round::new(vote.round),
            value: nil_or(vote.value),
            voter: Address(vote.voter),
            extension: None,
        };
        Self::new(unsigned, vote.signature)
    }
}

impl From<&SignedProposal<Context>> for message::Proposal {
    fn from(proposal: &SignedProposal<Context>) -> Self {
        Self {
            height: proposal.height.0,
            round: number(proposal.round),
            valid_round: proposal.valid_round.as_u32(),
            value: proposal.value.0,
            proposer: proposal.proposer.0,
            signature: proposal.signature,
        }
    }
}

impl From<message::Proposal> for SignedProposal<Context> {
    fn from(proposal: message::Proposal) -> Self {
        let unsigned = Proposal {
            height: Height(proposal.height),
            round: Round::new(proposal.round),
            value: BlockId(proposal.value),
            valid_round: proposal.valid_round.map_or(Round::Nil, Round::new),
            proposer: Address(proposal.proposer),
        };
        Self::new(unsigned, proposal.signature)
    }
}

impl From<&PolkaCertificate<Context>> for message::Polka {
    fn from(polka: &PolkaCertificate<Context>) -> Self {
        Self {
            height: polka.height.0,
            round: number(polka.round),
            value: polka.value_id.0,
            signatures: polka
                .polka_signatures
                .iter()
                .map(|vote| (vote.address.0, vote.signature))
                .collect(),
        }
    }
}

impl From<message::Polka> for PolkaCertificate<Context> {
    fn from(polka: message::Polka) -> Self {
        let signature = |(voter, signature)| PolkaSignature::new(Address(voter), signature);
        Self {
            height: Height(polka.height),
            round: Round::new(polka.round),
            value_id: BlockId(polka.value),
            polka_signatures: polka.signatures.into_iter().map(signature).collect(),
        }
    }
}

impl From<&RoundCertificate<Context>> for message::RoundCertificate {
    fn from(certificate: &RoundCertificate<Context>) -> Self {
        let vote = |vote: &RoundSignature<Context>| message::RoundVote {
            precommit: vote.vote_type == VoteType::Precommit,
            value: hash(&vote.value_id),
            voter: vote.address.0,
            signature: vote.signature,
        };
        Self {
            height: certificate.height.0,
            round: number(certificate.round),
            precommit: certificate.cert_type == RoundCertificateType::Precommit,
            votes: certificate.round_signatures.iter().map(vote).collect(),
        }
    }
}

impl From<message::RoundCertificate> for RoundCertificate<Context> {
    fn from(certificate: message::RoundCertificate) -> Self {
        let vote = |vote: message::RoundVote| {
            RoundSignature::new(
                kind(vote.precommit),
                nil_or(vote.value),
                Address(vote.voter),
                vote.signature,
            )
        };
        Self {
            height: Height(certificate.height),
            round: Round::new(certificate.round),
            cert_type: if certificate.precommit {
                RoundCertificateType::Precommit
            } else {
                RoundCertificateType::Skip
            },
            round_signatures: certificate.votes.into_iter().map(vote).collect(),
        }
    }
}

/// Two votes of one member in one step, in the form that travels.
pub(crate) fn double_vote(one: &SignedVote<Context>, other: &SignedVote<Context>) -> Equivocation {
    let word = |vote: &SignedVote<Context>| Word {
        value: hash(&vote.value),
        valid_round: None,
        signature: vote.signature,
    };
    Equivocation {
        member: one.voter.0,
        step: match one.kind {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        },
        height: one.height.0,
        round: number(one.round),
        one: word(one),
        other: word(other),
    }
}

/// Two proposals of one member in one round, in the form that travels.
pub(crate) fn double_proposal(
    one: &SignedProposal<Context>,
    other: &SignedProposal<Context>,
) -> Equivocation {
    let word = |proposal: &SignedProposal<Context>| Word {
        value: Some(proposal.value.0),
        valid_round: proposal.valid_round.as_u32(),
        signature: proposal.signature,
    };
    Equivocation {
        member: one.proposer.0,
        step: Step::Propose,
        height: one.height.0,
        round: number(one.round),
        one: word(one),
        other: word(other),
    }
}

/// The engine's certificate in the form that travels: signers in the order of their addresses.
pub(crate) fn certificate(decided: &CommitCertificate<Context>) -> Certificate {
    let mut signatures: Vec<_> = decided
        .commit_signatures
        .iter()
        .map(|vote| (vote.address.0, vote.signature))
        .collect();
    signatures.sort_by_key(|(address, _)| *address);
    signatures.dedup_by_key(|(address, _)| *address);
    Certificate {
        height: decided.height.0,
        round: number(decided.round),
        block: decided.value_id.0,
        signatures,
    }
}

/// The other way round.
pub(crate) fn commit_certificate(certificate: &Certificate) -> CommitCertificate<Context> {
    let signature = |(voter, signature): &(wire::Address, wire::Signature)| {
        CommitSignature::new(Address(*voter), *signature)
    };
    CommitCertificate {
        height: Height(certificate.height),
        round: Round::new(certificate.round),
        value_id: BlockId(certificate.block),
        commit_signatures: certificate.signatures.iter().map(signature).collect(),
    }
}
