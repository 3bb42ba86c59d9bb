//! Where does a message travel?
//!
//! Every zenoh key expression of the project. `milepost/<chain>/…`:
//!
//! | key | what | who puts |
//! |---|---|---|
//! | `report/<coarse>/<cell>` | [`crate::SignedReport`] | vehicles |
//! | `live/<coarse>/<cell>` | one unit's estimate, at once | roadside units |
//! | `head` | [`crate::certificate::Head`] of each block | members |
//! | `receipt/<vehicle>` | [`crate::proof::ReceiptNotice`] | the unit that heard |
//! | `batch/<protocol>/<member>` | [`crate::SignedBatch`] | roadside units |
//! | `bft/<protocol>/<member>` | consensus messages | members |
//! | `body/<protocol>/<member>` | proposed blocks | members |
//! | `tx/<sender>` | [`crate::SignedTransaction`] | anyone |
//!
//! and queryables `q/block/<height>/<member>`, `q/body/<hash>/<member>`, `q/batch/<digest>/<member>`,
//! `q/account/<address>`, `q/vehicle/<key id>`, `q/picture`, `q/explain/<key id>/<epoch>`,
//! `q/light/<height, or latest>`; liveliness tokens `member/<protocol>/<address>`, whose form never changes: by them
//! units of another [`PROTOCOL`] are known, of which nothing else is heard.

use crate::{Address, Cell, ChainId, Hash, Height, KeyId};

/// The version of what units say to one another. It is raised with every change that an older unit would not understand;
/// units of another version are not heard.
pub const PROTOCOL: u16 = 1;

/// The prefix of everything on one chain.
pub fn root(chain: &ChainId) -> String {
    format!("milepost/{chain}")
}

fn coarse(cell: Cell) -> String {
    cell.coarse()
        .map_or_else(|| "map".to_owned(), |index| index.to_string())
}

/// Where a report about `cell` is put.
pub fn report(chain: &ChainId, cell: Cell) -> String {
    format!("{}/report/{}/{cell}", root(chain), coarse(cell))
}

/// All reports.
pub fn reports(chain: &ChainId) -> String {
    format!("{}/report/**", root(chain))
}

/// Where a unit's live estimate of `cell` is put.
pub fn live(chain: &ChainId, cell: Cell) -> String {
    format!("{}/live/{}/{cell}", root(chain), coarse(cell))
}

/// The certified head of each block.
pub fn head(chain: &ChainId) -> String {
    format!("{}/head", root(chain))
}

/// Receipts for `vehicle`.
pub fn receipt(chain: &ChainId, vehicle: KeyId) -> String {
    format!("{}/receipt/{vehicle}", root(chain))
}

/// What one member or unit puts on `channel`.
pub fn from_member(chain: &ChainId, channel: Channel, member: Address) -> String {
    let name = hex::encode(member.0);
    format!("{}/{}/{PROTOCOL}/{name}", root(chain), channel.name())
}

/// What everybody puts on `channel`.
pub fn all_members(chain: &ChainId, channel: Channel) -> String {
    format!("{}/{}/{PROTOCOL}/*", root(chain), channel.name())
}

/// The presence of all units, of whatever protocol.
pub fn presence(chain: &ChainId) -> String {
    format!("{}/{}/*/*", root(chain), Channel::Member.name())
}

/// Who is present, by a key of [`presence`], and which protocol it speaks.
pub fn present(key: &str) -> Option<(u16, Address)> {
    let mut parts = key.rsplit('/');
    let address = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, address))
}

/// What members and units say among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Votes, proposals, consensus certificates: small and urgent.
    Bft,
    /// Proposed blocks.
    Body,
    /// Batches of reports, and their acknowledgements.
    Batch,
    /// Presence.
    Member,
}

impl Channel {
    const fn name(self) -> &'static str {
        match self {
            Self::Bft => "bft",
            Self::Body => "body",
            Self::Batch => "batch",
            Self::Member => "member",
        }
    }
}

/// Where `sender`'s transactions are put.
pub fn transaction(chain: &ChainId, sender: KeyId) -> String {
    format!("{}/tx/{sender}", root(chain))
}

/// All transactions.
pub fn transactions(chain: &ChainId) -> String {
    format!("{}/tx/*", root(chain))
}

/// Asks `member` for a block with its certificate and batches.
pub fn ask_block(chain: &ChainId, height: Height, member: Address) -> String {
    format!("{}/q/block/{height}/{}", root(chain), hex::encode(member.0))
}

/// Asks `member` for a block that is proposed and not decided.
pub fn ask_body(chain: &ChainId, block: Hash, member: Address) -> String {
    format!("{}/q/body/{block}/{}", root(chain), hex::encode(member.0))
}

/// Asks `member` for a batch.
pub fn ask_batch(chain: &ChainId, digest: Hash, member: Address) -> String {
    format!("{}/q/batch/{digest}/{}", root(chain), hex::encode(member.0))
}

/// Asks `member` for headers with their certificates, from a height on.
pub fn ask_heads(chain: &ChainId, from: Height, member: Address) -> String {
    format!("{}/q/heads/{from}/{}", root(chain), hex::encode(member.0))
}

/// Asks everybody for headers, as [`ask_heads`].
pub fn ask_heads_of_all(chain: &ChainId, from: Height) -> String {
    format!("{}/q/heads/{from}/*", root(chain))
}

/// Asks everybody for the newest snapshot that they have.
pub fn ask_snapshots(chain: &ChainId) -> String {
    format!("{}/q/snapshot/newest/*", root(chain))
}

/// Asks `member` for a chunk of its snapshot at a height.
pub fn ask_chunk(chain: &ChainId, height: Height, index: usize, member: Address) -> String {
    format!(
        "{}/q/chunk/{height}-{index}/{}",
        root(chain),
        hex::encode(member.0)
    )
}

/// Asks everybody, of whatever chain, for its genesis.
pub fn ask_genesis() -> String {
    "milepost/*/q/genesis/first/*".into()
}

/// What `member` answers to a question about `what` and `which`, whether it was asked by name or with all.
pub fn answer_of(chain: &ChainId, what: &str, which: &str, member: Address) -> String {
    format!("{}/q/{what}/{which}/{}", root(chain), hex::encode(member.0))
}

/// Whatever `member` is asked for of the above.
pub fn asked_of(chain: &ChainId, member: Address) -> String {
    format!("{}/q/*/*/{}", root(chain), hex::encode(member.0))
}

/// Asks for a [`crate::proof::StateProof`] of an account.
pub fn ask_account(chain: &ChainId, address: Address) -> String {
    format!("{}/q/account/{}", root(chain), hex::encode(address.0))
}

/// Asks for a [`crate::proof::StateProof`] of a vehicle.
pub fn ask_vehicle(chain: &ChainId, vehicle: KeyId) -> String {
    format!("{}/q/vehicle/{vehicle}", root(chain))
}

/// Asks for the final picture: [`crate::proof::OutputsProof`]s, one a reply. Selector parameter
/// `bbox=W,S,E,N` in degrees.
pub fn ask_picture(chain: &ChainId) -> String {
    format!("{}/q/picture", root(chain))
}

/// Asks for a vehicle's scores and payment of an epoch: [`crate::proof::OutputsProof`]s, one a reply.
pub fn ask_explanation(chain: &ChainId, vehicle: KeyId, epoch: crate::time::Epoch) -> String {
    format!("{}/q/explain/{vehicle}/{epoch}", root(chain))
}

/// Asks for the [`crate::light::LightBlock`] at a height.
pub fn ask_light(chain: &ChainId, height: Height) -> String {
    format!("{}/q/light/{height}", root(chain))
}

/// Where a vehicle may put something.
pub fn vehicle_puts(chain: &ChainId) -> Vec<String> {
    vec![reports(chain), transactions(chain)]
}

/// What a vehicle may subscribe to.
pub fn vehicle_hears(chain: &ChainId) -> Vec<String> {
    let root = root(chain);
    vec![
        format!("{root}/live/**"),
        head(chain),
        format!("{root}/receipt/*"),
    ]
}

/// What a vehicle may ask: proofs, and not what members ask each other, in which whole reports are.
pub fn vehicle_asks(chain: &ChainId) -> Vec<String> {
    let root = root(chain);
    vec![
        format!("{root}/q/account/*"),
        format!("{root}/q/vehicle/*"),
        ask_picture(chain),
        format!("{root}/q/explain/**"),
        format!("{root}/q/light/*"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_tells_who_it_is_and_which_protocol_it_speaks() {
        let chain = ChainId::new("town").expect("an id");
        let member = Address([0xab; 20]);
        let own = from_member(&chain, Channel::Member, member);
        assert_eq!(present(&own), Some((PROTOCOL, member)));
        let other = own.replace(&format!("/{PROTOCOL}/"), "/65535/");
        assert_eq!(present(&other), Some((u16::MAX, member)));
        for strange in ["", "milepost/town/member/1/nobody", "milepost/town/member/one/00"] {
            assert_eq!(present(strange), None, "{strange}");
        }
    }
}
