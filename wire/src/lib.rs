//! What vehicles and roadside units say to each other, in bytes.
//!
//! Units, identities, signed messages, blocks, certificates, proofs and topics. This crate does no IO, reads
//! no clock, and is all a vehicle needs in order to be heard, to be paid and to check what it is told.
//!
//! | question | module |
//! |---|---|
//! | in which units is the road described | [`units`], [`time`], [`cell`], [`area`] |
//! | who speaks | [`identity`], [`signed`], [`many`], [`member`] |
//! | what is said | [`observation`], [`report`], [`batch`], [`transaction`], [`change`] |
//! | what is agreed | [`block`], [`vote`], [`output`], [`state`] |
//! | how do points become pay | [`payout`] |
//! | why believe it | [`merkle`], [`tree`], [`certificate`], [`proof`], [`light`] |
//! | how does it travel | [`codec`], [`topic`], [`link`] |
//! | what was here lately, how long did most of it take | [`recent`], [`quantile`] |
//! | how do simulations verify less | [`memo`] |

pub mod area;
pub mod bad_batch;
pub mod batch;
pub mod block;
pub mod cell;
pub mod certificate;
pub mod change;
pub mod codec;
pub mod consortium;
pub mod equivocation;
pub mod evidence;
pub mod hash;
pub mod identity;
pub mod light;
pub mod link;
pub mod many;
pub mod member;
pub mod memo;
pub mod merkle;
pub mod observation;
pub mod output;
pub mod payout;
pub mod proof;
pub mod quantile;
pub mod question;
pub mod recent;
pub mod report;
pub mod signed;
pub mod state;
pub mod time;
pub mod topic;
pub mod transaction;
pub mod tree;
pub mod units;
pub mod vote;
pub mod withheld;

pub use area::Area;
pub use batch::{Batch, SignedBatch};
pub use block::{Block, Body, Header, Height};
pub use cell::Cell;
pub use certificate::Certificate;
pub use change::{Access, Change, ProposalId, Setting};
pub use codec::{DecodeError, Message, decode, encode};
pub use consortium::{ChainId, Consortium};
pub use equivocation::Equivocation;
pub use evidence::Evidence;
pub use hash::Hash;
pub use identity::{Address, KeyId, PublicKey, SecretKey};
pub use member::{Member, Members};
pub use observation::{Kind, Measure, Observation};
pub use output::Output;
pub use report::{Report, Sequence, SignedReport};
pub use signed::{Signature, Signed, Verified};
pub use time::Timestamp;
pub use transaction::{Action, Role, SignedTransaction, Transaction};
pub use units::{Amount, Heading, Humidity, Place, Speed};
pub use withheld::{Acks, Complaint, SignedAcks};
