//! What may be asked of the ledger, besides hearing reports?

use wincode::{SchemaRead, SchemaWrite};

use crate::codec::Message;
use crate::signed::Signed;
use crate::{Address, Amount, KeyId, PublicKey};

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
#[wincode(tag_encoding = "u8")]
pub enum Action {
    /// Moves tokens from the sender's account.
    Transfer {
        /// Whose account they go to; it need not exist yet.
        to: Address,
        /// How many.
        amount: Amount,
    },
    /// Admits a vehicle. Members alone may ask.
    Enrol(Enrolment),
    /// Ends a vehicle's enrolment for good. Members alone may ask.
    Revoke {
        /// Which one.
        vehicle: KeyId,
    },
}

/// A vehicle's admission.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    SchemaWrite,
    SchemaRead,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The vehicle's key.
    pub key: PublicKey,
    /// Vehicles of one owner or fleet share a group, and do not vouch for one another.
    pub group: u64,
}

/// A request that costs its sender a nonce.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct Transaction {
    /// Who asks; the account is the key's address.
    pub from: PublicKey,
    /// How many transactions of this sender were executed before.
    pub nonce: u64,
    /// What is asked.
    pub action: Action,
}

/// A transaction as it travels.
pub type SignedTransaction = Signed<Transaction>;

impl Message for Transaction {
    const NAME: &'static str = "transaction";
    const LEN_MAX: usize = 4096;
}

impl Message for SignedTransaction {
    const NAME: &'static str = "signed transaction";
    const LEN_MAX: usize = Transaction::LEN_MAX + 64;
}
