//! How does a vehicle spend what it earned?
//!
//! In: its key, and its account as proved. Out: a signed transfer, or another request, with the account's next nonce. Sending the same
//! transfer twice is harmless: the ledger executes a nonce once.

use milepost_wire::state::Account;
use milepost_wire::{Action, Address, Amount, ChainId, SecretKey, Signed, SignedTransaction, Transaction};

use crate::light::Proved;

/// The account does not hold that much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} holds {held} tokens and cannot spend {wanted}")]
pub struct Overdrawn {
    /// Whose account.
    pub address: Address,
    /// What it holds.
    pub held: Amount,
    /// What was to be spent.
    pub wanted: Amount,
}

/// Signs a transfer from the account of `key`, which `account` is.
///
/// # Errors
///
/// [`Overdrawn`].
pub fn transfer(
    key: &SecretKey,
    chain: &ChainId,
    account: &Proved<Account>,
    to: Address,
    amount: Amount,
) -> Result<SignedTransaction, Overdrawn> {
    let held = account.value.balance;
    if held < amount {
        return Err(Overdrawn {
            address: key.address(),
            held,
            wanted: amount,
        });
    }
    Ok(request(key, chain, account, Action::Transfer { to, amount }))
}

/// Signs what the owner of `key` asks of the ledger, where `account` is its account.
pub fn request(
    key: &SecretKey,
    chain: &ChainId,
    account: &Proved<Account>,
    action: Action,
) -> SignedTransaction {
    let transaction = Transaction {
        from: key.public(),
        nonce: account.value.nonce,
        action,
    };
    Signed::sign(transaction, chain, key).into_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::{Height, Timestamp};

    fn account(micro: u64, nonce: u64) -> Proved<Account> {
        let value = Account {
            balance: Amount::from_micro(micro),
            nonce,
        };
        Proved {
            value,
            height: Height(1),
            time: Timestamp::default(),
        }
    }

    #[test]
    fn a_transfer_carries_the_proved_nonce_and_verifies() {
        let (key, chain) = (SecretKey::from_seed("test", 1), ChainId::new("town").unwrap());
        let to = Address([2; 20]);
        let signed = transfer(&key, &chain, &account(10, 7), to, Amount::from_micro(10)).unwrap();
        let verified = signed
            .verify(&chain, &key.public().verifying_key().unwrap())
            .unwrap();
        assert_eq!(verified.nonce, 7);
        assert_eq!(
            verified.action,
            Action::Transfer {
                to,
                amount: Amount::from_micro(10)
            }
        );
    }

    #[test]
    fn nobody_spends_more_than_was_proved() {
        let (key, chain) = (SecretKey::from_seed("test", 1), ChainId::new("town").unwrap());
        let error = transfer(
            &key,
            &chain,
            &account(9, 0),
            Address([2; 20]),
            Amount::from_micro(10),
        )
        .unwrap_err();
        assert_eq!((error.held.micro(), error.wanted.micro()), (9, 10));
    }
}
