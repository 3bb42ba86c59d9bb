//! What convicts a member?
//!
//! Words that nobody honest says, with its signature, so that whoever knows its key can tell.

use wincode::{SchemaRead, SchemaWrite};

use crate::bad_batch::{BadBatch, NoBadBatch};
use crate::equivocation::{Equivocation, NoEquivocation};
use crate::{Address, Height};

/// What a member, or its listening unit, is held to account for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum Evidence {
    /// Two words that exclude each other.
    Equivocation(Equivocation),
    /// A batch with a report that should not be in it.
    BadBatch(BadBatch),
}

/// Why somebody is not convicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// By its two words.
    #[error(transparent)]
    Equivocation(#[from] NoEquivocation),
    /// By its batch.
    #[error(transparent)]
    BadBatch(#[from] NoBadBatch),
}

impl Evidence {
    /// Who is said to have said it.
    pub fn accused(&self) -> Address {
        match self {
            Self::Equivocation(words) => words.member,
            Self::BadBatch(batch) => batch.author(),
        }
    }

    /// When: of which height the words are, or the newest block that the author of the batch had.
    pub fn height(&self) -> Height {
        match self {
            Self::Equivocation(words) => words.height,
            Self::BadBatch(batch) => batch.head.message.height,
        }
    }
}
