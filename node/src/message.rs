//! What do members say to one another, and in which bytes?
//!
//! Votes, proposals and certificates of consensus in this project's own shapes, so that what travels and what
//! the log keeps depends on no engine; block bodies; acknowledgements of batches; how far one has come.

use milepost_wire::certificate::Head;
use milepost_wire::{Address, Block, Certificate, Hash, Height, Member, Message, Signature, SignedBatch};
use wincode::{SchemaRead, SchemaWrite};

pub use milepost_wire::{Acks, SignedAcks};

/// Everything that travels between members.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum PeerMessage {
    /// A vote.
    Vote(Vote),
    /// A proposer's word.
    Proposal(Proposal),
    /// A quorum of prevotes.
    Polka(Polka),
    /// Why a round may be left.
    Round(RoundCertificate),
    /// A proposed block; believed once a signed proposal names its hash.
    Body(ProposedBody),
    /// Reports that a unit heard. The shell verifies it and hands it in as a verified batch.
    Batch(SignedBatch),
    /// Which batches a member holds.
    Acks(SignedAcks),
    /// How far a member has come. Unsigned: all it can cause is a question.
    Status(Status),
}

/// A prevote or a precommit.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Vote {
    /// A precommit, or else a prevote.
    pub precommit: bool,
    /// For which height.
    pub height: Height,
    /// In which round.
    pub round: u32,
    /// For which block; `None` for none.
    pub value: Option<Hash>,
    /// Whose.
    pub voter: Address,
    /// Over [`milepost_wire::vote::digest`].
    pub signature: Signature,
}

/// A proposer's word for a block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Proposal {
    /// For which height.
    pub height: Height,
    /// In which round.
    pub round: u32,
    /// The earlier round in which the block had a quorum of prevotes.
    pub valid_round: Option<u32>,
    /// Which block.
    pub value: Hash,
    /// Whose.
    pub proposer: Address,
    /// Over [`milepost_wire::vote::proposal_digest`].
    pub signature: Signature,
}

/// A quorum of prevotes for one block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Polka {
    /// At which height.
    pub height: Height,
    /// In which round.
    pub round: u32,
    /// For which block.
    pub value: Hash,
    /// The votes' signatures.
    pub signatures: Vec<(Address, Signature)>,
}

/// Votes that let a member leave a round.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct RoundCertificate {
    /// At which height.
    pub height: Height,
    /// Which round.
    pub round: u32,
    /// A quorum of precommits, or else votes of more than a third for a later round.
    pub precommit: bool,
    /// The votes.
    pub votes: Vec<RoundVote>,
}

/// One vote of a [`RoundCertificate`].
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct RoundVote {
    /// A precommit, or else a prevote.
    pub precommit: bool,
    /// For which block.
    pub value: Option<Hash>,
    /// Whose.
    pub voter: Address,
    /// Its signature.
    pub signature: Signature,
}

/// A block that is proposed.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ProposedBody {
    /// In which round.
    pub round: u32,
    /// The block.
    pub block: Block,
}

/// How far a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Status {
    /// The newest block that it has.
    pub height: Height,
}

/// The answer to [`crate::Want::Block`].
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct BlockAnswer {
    /// The block.
    pub block: Block,
    /// Why to believe it.
    pub certificate: Certificate,
    /// The batches that it names, in its order.
    pub batches: Vec<SignedBatch>,
}

/// Headers in a row, from the height that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct HeadsAnswer {
    /// 1 to [`HeadsAnswer::COUNT_MAX`].
    pub heads: Vec<Head>,
    /// The members whom these headers give the vote to, where they change.
    pub members: Vec<Vec<Member>>,
}

impl HeadsAnswer {
    /// The most headers in one answer.
    pub const COUNT_MAX: usize = 256;
}

impl Message for PeerMessage {
    const NAME: &'static str = "peer message";
    const LEN_MAX: usize = Block::LEN_MAX + 64;
}

impl Message for HeadsAnswer {
    const NAME: &'static str = "headers answer";
    const LEN_MAX: usize = 8 << 20;
}

impl Message for BlockAnswer {
    const NAME: &'static str = "block answer";
    const LEN_MAX: usize = 8 << 20;
}
