//! How is the state written down, and read back?
//!
//! The authenticated tables as (key, value) of the tree; the open ones as (tag and key, value) beside it. What
//! was written with every block's changes loads to the same state: the same entries, the same open root.

use milepost_wire::member::MembersError;
use milepost_wire::state::StateKey;
use milepost_wire::{DecodeError, Hash, KeyId, Members, Role, encode};
use wincode::config::DefaultConfig;
use wincode::{SchemaRead, SchemaWrite};

use crate::genesis::Genesis;
use crate::state::State;
use crate::table::Table;

/// What can stand in a table.
pub(crate) trait Stored:
    SchemaWrite<DefaultConfig, Src = Self> + for<'de> SchemaRead<'de, DefaultConfig, Dst = Self> + Clone
{
}

impl<T> Stored for T where
    T: SchemaWrite<DefaultConfig, Src = T> + for<'de> SchemaRead<'de, DefaultConfig, Dst = T> + Clone
{
}

/// One change of the tree: `None` where the key went.
pub type TreeChange = (StateKey, Option<Vec<u8>>);
/// One change of the open tables: `None` where the key went.
pub type OpenChange = (Vec<u8>, Option<Vec<u8>>);

/// One entry of the open tables: tag and key, and the value.
pub type OpenEntry = (Vec<u8>, Vec<u8>);

/// Why stored entries are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A key or value that does not decode.
    #[error("a stored entry is broken: {0}")]
    Broken(#[from] DecodeError),
    /// An open entry of no known table.
    #[error("an open entry has the unknown tag {0:?}")]
    UnknownTable(Option<u8>),
    /// No books: not a state, or half of one.
    #[error("there are no books among {entries} tree entries")]
    NoBooks {
        /// How many entries there are.
        entries: usize,
    },
    /// Members that make no consortium.
    #[error("the members do not read: {0}")]
    Members(#[from] MembersError),
    /// A vehicle's key that is none, or another's.
    #[error("the key of vehicle {0} is not its own")]
    NotItsKey(KeyId),
}

/// The open tables, each with the tag that its keys begin with, in the order of the tags.
macro_rules! each_open {
    ($open:expr, $with:ident) => {
        $with!(0, $open.clock);
        $with!(1, $open.sightings);
        $with!(2, $open.traces);
        $with!(3, $open.tallies);
        $with!(4, $open.served);
        $with!(5, $open.quarantined_before);
        $with!(6, $open.absolved);
        $with!(7, $open.false_claims);
        $with!(8, $open.claims);
        $with!(9, $open.passes);
        $with!(10, $open.watched);
        $with!(11, $open.waiting);
        $with!(12, $open.renamed);
        $with!(13, $open.complaints);
    };
}

impl State {
    /// What changed in the tree since the state was sealed.
    pub fn tree_changes(&self) -> Vec<TreeChange> {
        fn of<K, V: Stored>(table: &Table<K, V>, key: impl Fn(&K) -> StateKey) -> Vec<TreeChange>
        where
            K: Ord + Clone,
        {
            let changes = table.changes();
            changes.map(|(at, value)| (key(at), value.map(encode))).collect()
        }
        let mut changes = of(&self.books, |()| StateKey::Books);
        changes.extend(of(&self.accounts, |&address| StateKey::Account(address)));
        changes.extend(of(&self.vehicles, |&id| StateKey::Vehicle(id)));
        changes.extend(of(&self.roads, |&(cell, kind)| StateKey::Road(cell, kind)));
        changes.extend(of(&self.operators, |&address| StateKey::Operator(address)));
        changes.extend(of(&self.charter, |()| StateKey::Charter));
        changes.extend(of(&self.params, |()| StateKey::Params));
        changes.extend(of(&self.voters, |&address| StateKey::Member(address)));
        changes.extend(of(&self.proposals, |&id| StateKey::Proposal(id)));
        changes.extend(of(&self.approvals, |&(id, member)| {
            StateKey::Approval(id, member)
        }));
        changes.extend(of(&self.scheduled, |&(at, id)| StateKey::Scheduled(at, id)));
        changes.extend(of(&self.sentences, |&member| StateKey::Sentence(member)));
        changes.extend(of(&self.withheld, |&member| StateKey::Withheld(member)));
        changes
    }

    /// Everything in the tree, in the order of keys.
    pub fn tree_entries(&self) -> impl Iterator<Item = (StateKey, Vec<u8>)> {
        fn of<'a, K: Ord + Clone, V: Stored>(
            table: &'a Table<K, V>,
            key: impl Fn(&K) -> StateKey + 'a,
        ) -> impl Iterator<Item = (StateKey, Vec<u8>)> + 'a {
            table.iter().map(move |(at, value)| (key(at), encode(value)))
        }
        of(&self.books, |()| StateKey::Books)
            .chain(of(&self.accounts, |&address| StateKey::Account(address)))
            .chain(of(&self.vehicles, |&id| StateKey::Vehicle(id)))
            .chain(of(&self.roads, |&(cell, kind)| StateKey::Road(cell, kind)))
            .chain(of(&self.operators, |&address| StateKey::Operator(address)))
            .chain(of(&self.charter, |()| StateKey::Charter))
            .chain(of(&self.params, |()| StateKey::Params))
            .chain(of(&self.voters, |&address| StateKey::Member(address)))
            .chain(of(&self.proposals, |&id| StateKey::Proposal(id)))
            .chain(of(&self.approvals, |&(id, member)| {
                StateKey::Approval(id, member)
            }))
            .chain(of(&self.scheduled, |&(at, id)| StateKey::Scheduled(at, id)))
            .chain(of(&self.sentences, |&member| StateKey::Sentence(member)))
            .chain(of(&self.withheld, |&member| StateKey::Withheld(member)))
    }

    /// What changed in the open tables since the state was sealed.
    pub fn open_changes(&self) -> Vec<OpenChange> {
        let mut changes = Vec::new();
        macro_rules! push {
            ($tag:expr, $table:expr) => {
                for (key, value) in $table.changes() {
                    changes.push((tagged($tag, key), value.map(encode)));
                }
            };
        }
        each_open!(self.open, push);
        changes
    }

    /// Everything in the open tables, in the order of tags and keys.
    pub fn open_entries(&self) -> impl Iterator<Item = OpenEntry> {
        let mut tables: Vec<Box<dyn Iterator<Item = OpenEntry> + '_>> = Vec::new();
        macro_rules! push {
            ($tag:expr, $table:expr) => {
                let entries = $table.iter();
                tables.push(Box::new(
                    entries.map(|(key, value)| (tagged($tag, key), encode(value))),
                ));
            };
        }
        each_open!(self.open, push);
        tables.into_iter().flatten()
    }

    /// One hash over the whole content of the open tables, in order. Cost: a pass over it, about 3 ns a byte.
    pub fn open_root(&self) -> Hash {
        let mut bytes = Vec::new();
        macro_rules! push {
            ($tag:expr, $table:expr) => {
                for (key, value) in $table.iter() {
                    bytes.push($tag);
                    append(&mut bytes, key);
                    append(&mut bytes, value);
                }
            };
        }
        // Within a table keys and values are of one length each, so their borders are clear.
        each_open!(self.open, push);
        Hash::of("open", &[&bytes])
    }

    /// The state whose entries were stored. Cost: a square root per vehicle.
    ///
    /// # Errors
    ///
    /// [`LoadError`] where an entry is broken. Whether the entries are the agreed ones, the roots tell.
    pub fn load(
        genesis: &Genesis,
        tree: impl Iterator<Item = (StateKey, Vec<u8>)>,
        open: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, LoadError> {
        let mut state = Self::empty(genesis);
        let mut entries = 0;
        for (key, value) in tree {
            entries += 1;
            match key {
                StateKey::Books => state.books.insert((), read(&value, "books")?),
                StateKey::Account(address) => state.accounts.insert(address, read(&value, "account")?),
                StateKey::Vehicle(id) => state.load_vehicle(id, &value)?,
                StateKey::Road(cell, kind) => state.roads.insert((cell, kind), read(&value, "road")?),
                StateKey::Operator(address) => state.operators.insert(address, read(&value, "operator")?),
                StateKey::Charter => state.charter.insert((), read(&value, "charter")?),
                StateKey::Params => state.params.insert((), read(&value, "params")?),
                StateKey::Member(address) => state.voters.insert(address, read(&value, "member")?),
                StateKey::Proposal(id) => state.proposals.insert(id, read(&value, "proposal")?),
                StateKey::Approval(id, member) => {
                    state.approvals.insert((id, member), read(&value, "approval")?)
                }
                StateKey::Scheduled(at, id) => state.scheduled.insert((at, id), read(&value, "change")?),
                StateKey::Sentence(member) => state.sentences.insert(member, read(&value, "sentence")?),
                StateKey::Withheld(member) => state.withheld.insert(member, read(&value, "withheld")?),
            }
        }
        if !state.books.contains(&()) {
            return Err(LoadError::NoBooks { entries });
        }
        let voters = state.voters.iter().map(|(_, member)| member.clone());
        state.members = Members::new(voters.collect())?;
        for (key, value) in open {
            state.load_open(&key, &value)?;
        }
        state.seal();
        Ok(state)
    }

    fn load_vehicle(&mut self, id: KeyId, value: &[u8]) -> Result<(), LoadError> {
        let vehicle: milepost_wire::state::Vehicle = read(value, "vehicle")?;
        let address = vehicle.key.address().map_err(|_| LoadError::NotItsKey(id))?;
        if address.key_id() != id {
            return Err(LoadError::NotItsKey(id));
        }
        if let Role::Unit { operator } = vehicle.role
            && !vehicle.revoked
        {
            self.units.insert((operator, id), ());
        }
        self.vehicles.insert(id, vehicle);
        self.addresses.insert(id, address);
        Ok(())
    }

    fn load_open(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (&tag, key) = key.split_first().ok_or(LoadError::UnknownTable(None))?;
        macro_rules! insert {
            ($tag:expr, $table:expr) => {
                if tag == $tag {
                    $table.insert(read(key, "open key")?, read(value, "open value")?);
                    return Ok(());
                }
            };
        }
        each_open!(self.open, insert);
        Err(LoadError::UnknownTable(Some(tag)))
    }
}

fn tagged<K: Stored>(tag: u8, key: &K) -> Vec<u8> {
    let mut bytes = vec![tag];
    append(&mut bytes, key);
    bytes
}

fn append<T: Stored>(bytes: &mut Vec<u8>, value: &T) {
    wincode::serialize_into(bytes, value).expect("writing to memory fails only beyond the sequence limit");
}

fn read<T: Stored>(bytes: &[u8], name: &'static str) -> Result<T, DecodeError> {
    milepost_wire::codec::decode_within(bytes, name, StateKey::VALUE_LEN_MAX)
}
