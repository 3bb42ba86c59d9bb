//! Why believe a balance, a figure or a receipt?
//!
//! Because a certified header commits to it. A state proof walks the state tree, an outputs proof the list of a
//! block's outputs; either carries its header and certificate, and is checked with nothing but the members.

use wincode::{SchemaRead, SchemaWrite};

use crate::certificate::{CertificateError, Head};
use crate::codec::Message;
use crate::state::StateKey;
use crate::tree::{StatePath, state_root};
use crate::{ChainId, DecodeError, Hash, Header, Height, Members, Output, merkle};

/// What the state says under a key, or that it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct StateProof {
    /// Which state.
    pub head: Head,
    /// The hash over what is not in the tree.
    pub open_root: Hash,
    /// Which key.
    pub key: StateKey,
    /// The value's bytes; `None` where the key is absent.
    pub value: Option<Vec<u8>>,
    /// Why.
    pub path: StatePath,
}

/// Outputs of one block.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct OutputsProof {
    /// Which block.
    pub head: Head,
    /// The outputs, each with its path.
    pub outputs: Vec<(Output, merkle::Path)>,
}

/// What became of a vehicle's reports in a block whose head travels separately.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ReceiptNotice {
    /// The block's height.
    pub height: Height,
    /// The outputs, each with its path.
    pub outputs: Vec<(Output, merkle::Path)>,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The head is not to be believed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The state path leads elsewhere.
    #[error("the path of {key:?} leads to state root {found}, the header says {expected}")]
    State {
        /// Which key.
        key: StateKey,
        /// The header's root.
        expected: Hash,
        /// Where the path leads.
        found: Hash,
    },
    /// The path cannot belong to this key and value.
    #[error("the path does not fit {0:?}")]
    Shape(StateKey),
    /// The proof answers another question.
    #[error("asked about {asked:?}, the proof is about {answered:?}")]
    OtherKey {
        /// The question.
        asked: StateKey,
        /// The answer.
        answered: StateKey,
    },
    /// The notice is about another block.
    #[error("the notice is about block {notice}, the header is of {header}")]
    OtherHeight {
        /// The notice's block.
        notice: Height,
        /// The header's.
        header: Height,
    },
    /// An output is not under the header's root.
    #[error("output {index} is not among the outputs of block {height}")]
    Output {
        /// Which place it claims.
        index: u32,
        /// In which block.
        height: Height,
    },
    /// The value is none of the kind that stands under this key.
    #[error(transparent)]
    Value(#[from] DecodeError),
}

impl StateProof {
    /// Checks everything and returns the value's bytes.
    ///
    /// # Errors
    ///
    /// [`ProofError`].
    pub fn verify(
        &self,
        asked: StateKey,
        chain: &ChainId,
        members: &Members,
    ) -> Result<Option<&[u8]>, ProofError> {
        self.head.verify(chain, members)?;
        self.check(asked)
    }

    /// Checks everything under the header, which somebody else says to be believed, and returns the value's bytes.
    ///
    /// # Errors
    ///
    /// [`ProofError`].
    pub fn check(&self, asked: StateKey) -> Result<Option<&[u8]>, ProofError> {
        if self.key != asked {
            return Err(ProofError::OtherKey {
                asked,
                answered: self.key,
            });
        }
        let value = self.value.as_deref();
        let tree_root = self
            .path
            .tree_root(&self.key.bytes(), value)
            .ok_or(ProofError::Shape(self.key))?;
        let (expected, found) = (
            self.head.header.state_root,
            state_root(&tree_root, &self.open_root),
        );
        if expected != found {
            return Err(ProofError::State {
                key: self.key,
                expected,
                found,
            });
        }
        Ok(value)
    }
}

impl OutputsProof {
    /// The most outputs that fit, whatever they are, with paths under a million leaves: who has more to prove
    /// sends more proofs.
    pub const OUTPUTS_MAX: usize = 4096;

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`ProofError`].
    pub fn verify(&self, chain: &ChainId, members: &Members) -> Result<(), ProofError> {
        self.head.verify(chain, members)?;
        self.check()
    }

    /// Checks everything under the header, which somebody else says to be believed.
    ///
    /// # Errors
    ///
    /// [`ProofError::Output`].
    pub fn check(&self) -> Result<(), ProofError> {
        verify_outputs(&self.head.header, &self.outputs)
    }
}

impl ReceiptNotice {
    /// The most outputs that fit, whatever they are, with paths under a million leaves: who has more to tell
    /// sends more notices.
    pub const OUTPUTS_MAX: usize = 64;

    /// Checks the outputs against a header that was verified before.
    ///
    /// # Errors
    ///
    /// [`ProofError::OtherHeight`], [`ProofError::Output`].
    pub fn verify(&self, header: &Header) -> Result<(), ProofError> {
        if self.height != header.height {
            return Err(ProofError::OtherHeight {
                notice: self.height,
                header: header.height,
            });
        }
        verify_outputs(header, &self.outputs)
    }
}

fn verify_outputs(header: &Header, outputs: &[(Output, merkle::Path)]) -> Result<(), ProofError> {
    for (output, path) in outputs {
        if path.root(output.leaf()) != Some(header.outputs_root) {
            return Err(ProofError::Output {
                index: path.index,
                height: header.height,
            });
        }
    }
    Ok(())
}

impl Message for StateProof {
    const NAME: &'static str = "state proof";
    const LEN_MAX: usize = 32 << 10;
}

impl Message for OutputsProof {
    const NAME: &'static str = "outputs proof";
    const LEN_MAX: usize = 4 << 20;
}

impl Message for ReceiptNotice {
    const NAME: &'static str = "receipt notice";
    const LEN_MAX: usize = 64 << 10;
}
