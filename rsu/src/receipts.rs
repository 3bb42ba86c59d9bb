//! What became of the reports that this unit passed on?
//!
//! In: a block's outputs. Out: for each vehicle that this unit serves, its receipts and payments with their
//! Merkle paths, in notices that fit their limit. The block's head travels separately, once for everybody.
//! Scores are left out: whoever wants them asks for an explanation.
//!
//! Cost: one hash per output of the block, and nothing where no vehicle is concerned.

use std::collections::BTreeMap;

use milepost_node::store::{Store, StoreError};
use milepost_wire::merkle::Tree;
use milepost_wire::proof::ReceiptNotice;
use milepost_wire::{Height, KeyId, Output};

/// The notices of an older block for one vehicle; none where that is pruned.
///
/// # Errors
///
/// Where the store cannot be read.
pub fn again(store: &impl Store, height: Height, vehicle: KeyId) -> Result<Vec<ReceiptNotice>, StoreError> {
    let outputs = store.outputs(height)?.unwrap_or_default();
    let notices = notices(height, &outputs, |served| served == vehicle);
    Ok(notices.into_iter().map(|(_, notice)| notice).collect())
}

/// The notices for the vehicles that are `served`.
pub fn notices(
    height: Height,
    outputs: &[Output],
    served: impl Fn(KeyId) -> bool,
) -> Vec<(KeyId, ReceiptNotice)> {
    let mut concerned = BTreeMap::<KeyId, Vec<usize>>::new();
    for (index, output) in outputs.iter().enumerate() {
        if let Output::Receipt(_) | Output::Payment(_) = output
            && let Some(vehicle) = output.vehicle().filter(|vehicle| served(*vehicle))
        {
            concerned.entry(vehicle).or_default().push(index);
        }
    }
    if concerned.is_empty() {
        return Vec::new();
    }
    let tree = Tree::new(outputs.iter().map(Output::leaf).collect());
    let prove = |index: &usize| {
        let path = tree.prove(*index).expect("the tree has a leaf for each output");
        (outputs[*index].clone(), path)
    };
    concerned
        .iter()
        .flat_map(|(vehicle, indices)| {
            indices
                .chunks(ReceiptNotice::OUTPUTS_MAX)
                .map(move |some| (*vehicle, some))
        })
        .map(|(vehicle, some)| {
            let outputs = some.iter().map(prove).collect();
            (vehicle, ReceiptNotice { height, outputs })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milepost_wire::output::{Outcome, Receipt};
    use milepost_wire::{ChainId, Hash, Header, Message, Sequence, Timestamp, encode};

    fn receipts(count: u64, vehicles: u64) -> Vec<Output> {
        (0..count)
            .map(|nth| {
                Output::Receipt(Receipt {
                    vehicle: KeyId((nth % vehicles).to_be_bytes()),
                    sequence: Sequence(nth),
                    outcome: Outcome::Counted,
                })
            })
            .collect()
    }

    #[test]
    fn a_vehicle_that_is_served_gets_proof_of_each_of_its_receipts() {
        let outputs = receipts(1000, 10);
        let header = Header {
            version: Header::VERSION,
            chain: ChainId::new("test").expect("a chain id"),
            height: Height(1),
            time: Timestamp::default(),
            proposer: Default::default(),
            parent: Hash::ZERO,
            transactions_root: Hash::ZERO,
            batches_root: Hash::ZERO,
            outputs_root: milepost_wire::output::root(&outputs),
            state_root: Hash::ZERO,
            members_hash: Hash::ZERO,
            next_members_hash: Hash::ZERO,
        };
        let served = KeyId(3u64.to_be_bytes());
        let notices = notices(Height(1), &outputs, |vehicle| vehicle == served);
        let mut count = 0;
        for (vehicle, notice) in notices {
            assert_eq!(vehicle, served);
            assert_eq!(notice.verify(&header), Ok(()));
            assert!(encode(&notice).len() <= ReceiptNotice::LEN_MAX);
            count += notice.outputs.len();
        }
        assert_eq!(count, 100);
    }

    #[test]
    fn nobody_served_nothing_sent() {
        assert!(notices(Height(1), &receipts(10, 2), |_| false).is_empty());
    }
}
