//! Why believe that a block was agreed on?
//!
//! Because members with more than two thirds of the voting power signed a precommit for it. Checking costs one
//! signature verification per signer.

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::signed::Signature;
use crate::vote::{self, Step};
use crate::{Address, ChainId, Hash, Header, Height, Members};

/// Precommits of a quorum for one block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Certificate {
    /// The block's height.
    pub height: Height,
    /// The round that decided.
    pub round: u32,
    /// The block.
    pub block: Hash,
    /// Who signed, in ascending order of address.
    pub signatures: Vec<(Address, Signature)>,
}

/// Why a certificate vouches for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It speaks of another block.
    #[error(
        "the certificate is for block {certified} at height {certified_height}, not for {block} at {height}"
    )]
    OtherBlock {
        /// The block that it certifies.
        certified: Hash,
        /// And its height.
        certified_height: Height,
        /// The block at hand.
        block: Hash,
        /// And its height.
        height: Height,
    },
    /// The header belongs to another chain.
    #[error("the header is of chain {found}, not of {expected}")]
    OtherChain {
        /// The chain that was asked about.
        expected: ChainId,
        /// The header's.
        found: ChainId,
    },
    /// The header was voted on by other members.
    #[error("the header names other members than the ones known")]
    OtherMembers,
    /// Signers out of order or twice.
    #[error("signers are not in strictly ascending order at {0}")]
    Order(Address),
    /// Signed by somebody without a vote.
    #[error("signer {0} is no member")]
    Stranger(Address),
    /// A signature is wrong.
    #[error("the signature of {0} does not verify")]
    Signature(Address),
    /// Too few signed.
    #[error("signed with power {signed} of {total}, which is not more than two thirds")]
    NoQuorum {
        /// The signers' power.
        signed: u64,
        /// Everyone's power.
        total: u64,
    },
}

impl Certificate {
    /// Checks that `members` decided on this block of `chain`.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; the cheap checks come first.
    pub fn verify(&self, chain: &ChainId, members: &Members) -> Result<(), CertificateError> {
        if let Some(pair) = self.signatures.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(CertificateError::Order(pair[1].0));
        }
        let mut signed = 0;
        for (address, _) in &self.signatures {
            signed += members
                .get(address)
                .ok_or(CertificateError::Stranger(*address))?
                .power;
        }
        if !members.is_quorum(signed) {
            return Err(CertificateError::NoQuorum {
                signed,
                total: members.total_power(),
            });
        }
        for (address, signature) in &self.signatures {
            let digest = vote::digest(
                chain,
                Step::Precommit,
                self.height,
                self.round,
                Some(self.block),
                *address,
            );
            let point = members
                .point(address)
                .ok_or(CertificateError::Stranger(*address))?;
            signature
                .verify(point, &digest)
                .map_err(|_| CertificateError::Signature(*address))?;
        }
        Ok(())
    }
}

/// A header and why to believe it.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Head {
    /// What is certified.
    pub header: Header,
    /// By whom.
    pub certificate: Certificate,
}

impl Head {
    /// Checks the certificate against the header, the chain and the members.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub fn verify(&self, chain: &ChainId, members: &Members) -> Result<(), CertificateError> {
        if &self.header.chain != chain {
            return Err(CertificateError::OtherChain {
                expected: chain.clone(),
                found: self.header.chain.clone(),
            });
        }
        if self.header.members_hash != members.hash() {
            return Err(CertificateError::OtherMembers);
        }
        let (block, height) = (self.header.hash(), self.header.height);
        if self.certificate.block != block || self.certificate.height != height {
            return Err(CertificateError::OtherBlock {
                certified: self.certificate.block,
                certified_height: self.certificate.height,
                block,
                height,
            });
        }
        self.certificate.verify(chain, members)
    }
}

impl Message for Certificate {
    const NAME: &'static str = "certificate";
    const LEN_MAX: usize = 64 + Members::COUNT_MAX * 84;
}

impl Message for Head {
    const NAME: &'static str = "head";
    const LEN_MAX: usize = Header::LEN_MAX + Certificate::LEN_MAX;
}
