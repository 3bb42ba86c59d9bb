//! Does a unit that is new or far behind get to the present by snapshot, and believe nothing that is forged?
//!
//! In one process, over real stores and snapshots on the disk: peers answer as units do, and some of them lie.

use std::path::Path;

use milepost_node::Ledger;
use milepost_node::catch_up::{CatchUpError, Caught, Limits, Peers, Place, catch_up};
use milepost_node::keeper::{Keeper, Retention};
use milepost_node::message::HeadsAnswer;
use milepost_node::snapshot::{Chunk, Entry, Offer};
use milepost_node::snapshots::Snapshots;
use milepost_node::store::{Rocks, Store, install};
use milepost_tests::Chain;
use milepost_wire::{Address, Change, Height, Member, Members, SecretKey, Timestamp, decode, encode};
use tempfile::TempDir;

const LIMITS: Limits = Limits {
    snapshot_bytes_max: 1 << 30,
    lead_min: 1,
};
/// A snapshot every so many blocks.
const EVERY: u64 = 20;
/// Blocks of the chain that others have.
const BLOCKS: u64 = 92;
/// Its newest snapshot.
const NEWEST: Height = Height(80);

/// What a peer does to its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    Honest,
    /// Changes a byte of each chunk.
    CorruptChunks,
    /// Leaves out the end of each chunk.
    CutChunks,
    /// Gives no chunk at all.
    NoChunks,
    /// Pays somebody a fortune, with a manifest that fits.
    OtherState,
    /// The same, and a header that fits, which nobody signed.
    OtherHeader,
    /// An offer of a height that is not reached.
    TooHigh,
    /// Changes a signature in each header's certificate.
    CorruptHeaders,
    /// Names other members than those whom the headers commit to.
    OtherMembers,
    /// Leaves out the end of each answer with headers.
    CutHeaders,
    /// Bytes that are nothing.
    Garbage,
}

const LIES: [Lie; 9] = [
    Lie::CorruptChunks,
    Lie::CutChunks,
    Lie::NoChunks,
    Lie::OtherState,
    Lie::OtherHeader,
    Lie::TooHigh,
    Lie::CorruptHeaders,
    Lie::CutHeaders,
    Lie::Garbage,
];

/// A unit that has the chain.
struct Unit {
    store: Rocks,
    snapshots: Snapshots,
    chain: Chain,
    folder: TempDir,
}

impl Unit {
    fn with(blocks: u64) -> Self {
        Self::grown(|chain, store, keeper| chain.grow(store, Some(keeper), blocks))
    }

    /// As many blocks, in which each of the four members gives way to another.
    fn with_other_members() -> Self {
        Self::grown(|chain, store, keeper| {
            let old = chain.keys.clone();
            for (nth, old) in (0..).zip(&old) {
                let new = SecretKey::from_seed("chain member to come", nth);
                let member = Member {
                    key: new.public(),
                    provider: format!("provider-{}", nth + 4),
                    power: 1,
                };
                chain.keys.push(new);
                chain.decide(Change::AddMember(member));
                chain.grow(store, Some(keeper), 8);
                chain.decide(Change::RemoveMember {
                    member: old.address(),
                });
                chain.grow(store, Some(keeper), 8);
            }
            let gone = |key: &SecretKey| chain.ledger().members().get(&key.address()).is_none();
            assert!(old.iter().all(gone));
            chain.grow(store, Some(keeper), BLOCKS - 64);
        })
    }

    fn store_path(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn grown(grow: impl FnOnce(&mut Chain, &mut Rocks, &Keeper)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut chain = Chain::new(4, 40);
        let mut store = Rocks::open(&folder.path().join("store")).expect("opens");
        store.load(chain.genesis.hash()).expect("an empty store");
        let snapshots = Snapshots::open(&folder.path().join("snapshots")).expect("a folder");
        let retention = Retention {
            snapshot_blocks: EVERY,
            ..Retention::default()
        };
        let keeper = Keeper::new(store.clone(), snapshots.clone(), retention);
        grow(&mut chain, &mut store, &keeper);
        Self {
            store,
            snapshots,
            chain,
            folder,
        }
    }
}

/// Peers that all have the same chain; the first are asked first.
struct Company<'a> {
    unit: &'a Unit,
    peers: Vec<(Address, Lie)>,
}

impl<'a> Company<'a> {
    fn of(unit: &'a Unit, lies: &[Lie]) -> Self {
        let peers = lies
            .iter()
            .zip(1u8..)
            .map(|(lie, nth)| (Address([nth; 20]), *lie));
        Self {
            unit,
            peers: peers.collect(),
        }
    }

    fn lie(&self, peer: Address) -> Lie {
        let found = self.peers.iter().find(|(address, _)| *address == peer);
        found.expect("only peers that made an offer are asked").1
    }

    fn forged_chunk(&self) -> Vec<u8> {
        let bytes = self
            .unit
            .snapshots
            .chunk(NEWEST, 0)
            .expect("reads")
            .expect("there");
        let mut chunk: Chunk = decode(&bytes).expect("a chunk");
        let richer = chunk.entries.iter_mut().find_map(|entry| match entry {
            Entry::Tree(_, value) => value.last_mut(),
            Entry::Open(..) => None,
        });
        *richer.expect("the state has a tree") ^= 1;
        encode(&chunk)
    }
}

impl Peers for Company<'_> {
    fn offers(&mut self) -> Vec<(Address, Vec<u8>)> {
        let honest = self.unit.snapshots.offer(NEWEST).expect("reads").expect("there");
        let offer = |lie| {
            let mut offer: Offer = honest.clone();
            match lie {
                Lie::OtherState => offer.manifest.chunks[0] = Chunk::name(&self.forged_chunk()),
                Lie::OtherHeader => {
                    offer.manifest.chunks[0] = Chunk::name(&self.forged_chunk());
                    offer.head.header.state_root.0[0] ^= 1;
                    offer.manifest.state_root = offer.head.header.state_root;
                    offer.manifest.block = offer.head.header.hash();
                    offer.head.certificate.block = offer.manifest.block;
                }
                Lie::TooHigh => {
                    offer.head.header.height = Height(1 << 40);
                    offer.manifest.height = Height(1 << 40);
                    offer.manifest.block = offer.head.header.hash();
                }
                Lie::Garbage => return vec![0xff; 99],
                _ => {}
            }
            encode(&offer)
        };
        self.peers
            .iter()
            .map(|(address, lie)| (*address, offer(*lie)))
            .collect()
    }

    fn heads(&mut self, peer: Address, from: Height) -> Option<Vec<u8>> {
        let mut heads = self.unit.store.heads(from, 32).expect("reads");
        if heads.is_empty() {
            return None;
        }
        let sets = self.unit.store.members_after(&heads).expect("reads");
        let lie = self.lie(peer);
        if lie == Lie::CorruptHeaders {
            let middle = heads.len() / 2;
            heads[middle].certificate.signatures[1].1 = heads[middle].certificate.signatures[0].1;
        }
        let mut members: Vec<Vec<Member>> = sets.iter().map(Members::to_vec).collect();
        if lie == Lie::OtherMembers {
            members.iter_mut().for_each(|set| set[0].power += 1);
        }
        let mut bytes = encode(&HeadsAnswer { heads, members });
        if lie == Lie::CutHeaders {
            bytes.truncate(bytes.len() - 7);
        }
        Some(bytes)
    }

    fn chunk(&mut self, peer: Address, height: Height, index: usize) -> Option<Vec<u8>> {
        let mut bytes = self.unit.snapshots.chunk(height, index).expect("reads")?;
        match self.lie(peer) {
            Lie::CorruptChunks => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
            }
            Lie::CutChunks => bytes.truncate(bytes.len() / 2),
            Lie::NoChunks => return None,
            Lie::OtherState | Lie::OtherHeader => return Some(self.forged_chunk()),
            _ => {}
        }
        Some(bytes)
    }
}

/// Catches up in a folder; where that works, the new store is in its place.
fn join(
    home: &Path,
    company: &mut Company<'_>,
    own: bool,
    limits: Limits,
) -> Result<Option<Caught>, CatchUpError> {
    let path = home.join("store");
    let snapshots = Snapshots::open(&home.join("snapshots")).expect("a folder");
    let genesis = &company.unit.chain.genesis.clone();
    let own = own.then(|| Rocks::open(&path).expect("opens"));
    let place = Place {
        own: own.as_ref(),
        into: &install::beside(&path),
        snapshots: &snapshots,
        silent_until: Some(Timestamp::from_millis(1)),
    };
    let caught = catch_up(genesis, company, place, limits, &mut |_| {});
    drop(own);
    if matches!(caught, Ok(Some(_))) {
        install::ready(&path).expect("renames");
    }
    install::settle(&path).expect("renames");
    caught
}

/// Goes on from a home by executing the blocks that the others have; says on which state root it ends.
fn follow(home: &Path, unit: &Unit) -> milepost_wire::Hash {
    let mut store = Rocks::open(&home.join("store")).expect("opens");
    let loaded = store.load(unit.chain.genesis.hash()).expect("loads");
    assert!(loaded.silent_until.is_some(), "it may not vote at once");
    let mut ledger = Ledger::load(&unit.chain.genesis, &loaded).expect("the certified state");
    assert_eq!(ledger.height(), NEWEST);
    while let Some((block, _)) = unit.store.block(ledger.height().next()).expect("reads") {
        let members = ledger.members().clone();
        let batches: Vec<_> = block
            .body
            .batches
            .iter()
            .map(|named| {
                let signed = unit.store.batch(&named.digest).expect("reads").expect("there");
                let author = members.point(&signed.message.author).expect("a member");
                let key = |vehicle| ledger.state().vehicle(&vehicle)?.key.verifying_key().ok();
                let chain = &unit.chain.genesis.chain;
                milepost_node::VerifiedBatch::verify(signed, ledger.height(), chain, author, key, |_| None)
                    .expect("verifies")
                    .into()
            })
            .collect();
        let executed = ledger.judge(&block, &batches).expect("a valid block");
        ledger = ledger.advance(&block, executed);
    }
    ledger.state_root()
}

#[test]
fn a_new_unit_takes_the_newest_snapshot_and_ends_on_the_same_state() {
    let unit = Unit::with(BLOCKS);
    let home = tempfile::tempdir().expect("a folder");
    let mut company = Company::of(&unit, &[Lie::Honest; 3]);
    let caught = join(home.path(), &mut company, false, LIMITS)
        .expect("catches up")
        .expect("there is a snapshot");
    assert_eq!((caught.height, caught.refused), (NEWEST, 0));
    assert_eq!(follow(home.path(), &unit), unit.chain.ledger().state_root());
    // It has all that others need in order to join by it.
    let store = Rocks::open(&home.path().join("store")).expect("opens");
    assert_eq!(store.heads(Height(1), 500).expect("reads").len(), 80);
    assert_eq!(store.block(NEWEST).expect("reads"), None);
    let kept = Snapshots::open(&home.path().join("snapshots")).expect("a folder");
    assert_eq!(kept.heights().expect("reads"), [NEWEST]);
    let report = milepost_node::audit::audit(&unit.chain.genesis, &store, Some(&kept), |_| {});
    assert!(report.ok, "{:?}", report.errors);
    assert_eq!((report.from_height, report.headers), (NEWEST, NEWEST));
}

#[test]
fn a_unit_that_was_away_takes_a_snapshot_over_its_own_past() {
    let unit = Unit::with(BLOCKS);
    let home = tempfile::tempdir().expect("a folder");
    let mut store = Rocks::open(&home.path().join("store")).expect("opens");
    let mut chain = Chain::new(4, 40);
    store.load(chain.genesis.hash()).expect("an empty store");
    chain.grow(&mut store, None, 30);
    drop(store);
    let mut company = Company::of(&unit, &[Lie::Honest]);
    let far = Limits {
        lead_min: 51,
        ..LIMITS
    };
    let stayed = join(home.path(), &mut company, true, far).expect("looks around");
    assert_eq!(stayed, None, "50 blocks are not far enough");
    let caught = join(home.path(), &mut company, true, LIMITS).expect("catches up");
    assert_eq!(caught.map(|caught| caught.height), Some(NEWEST));
    assert_eq!(follow(home.path(), &unit), unit.chain.ledger().state_root());
}

#[test]
fn whoever_lies_is_refused_and_another_is_asked() {
    let unit = Unit::with(BLOCKS);
    for lie in LIES {
        let home = tempfile::tempdir().expect("a folder");
        let mut company = Company::of(&unit, &[lie, Lie::Honest]);
        let caught = join(home.path(), &mut company, false, LIMITS)
            .unwrap_or_else(|error| panic!("{lie:?}: {error}"))
            .unwrap_or_else(|| panic!("{lie:?}: there is a snapshot"));
        assert_eq!(caught.height, NEWEST, "{lie:?}");
        assert_eq!(
            follow(home.path(), &unit),
            unit.chain.ledger().state_root(),
            "{lie:?}"
        );
    }
}

#[test]
fn where_all_lie_nothing_is_believed_and_nothing_is_lost() {
    let unit = Unit::with(BLOCKS);
    for lie in LIES {
        let home = tempfile::tempdir().expect("a folder");
        let mut company = Company::of(&unit, &[lie, lie]);
        let caught = join(home.path(), &mut company, false, LIMITS);
        match lie {
            Lie::Garbage => assert!(matches!(caught, Ok(None)), "{caught:?}"),
            _ => assert!(
                matches!(caught, Err(CatchUpError::NoneGood { .. })),
                "{lie:?}: {caught:?}"
            ),
        }
        assert!(!home.path().join("store").exists(), "{lie:?}");
        let kept = Snapshots::open(&home.path().join("snapshots")).expect("a folder");
        assert_eq!(kept.heights().expect("reads"), [], "{lie:?}");
    }
}

#[test]
fn a_snapshot_beyond_the_limit_is_not_taken() {
    let unit = Unit::with(BLOCKS);
    let home = tempfile::tempdir().expect("a folder");
    let mut company = Company::of(&unit, &[Lie::Honest]);
    let small = Limits {
        snapshot_bytes_max: 1_000,
        ..LIMITS
    };
    assert_eq!(
        join(home.path(), &mut company, false, small).expect("looks around"),
        None
    );
}

#[test]
fn where_all_members_have_changed_a_new_unit_follows_them_and_an_audit_does() {
    let unit = Unit::with_other_members();
    let report = milepost_node::audit::audit(&unit.chain.genesis, &unit.store, Some(&unit.snapshots), |_| {});
    assert!(report.ok, "{:?}", report.errors);
    assert_eq!(report.height, Height(BLOCKS));

    let home = tempfile::tempdir().expect("a folder");
    let mut company = Company::of(&unit, &[Lie::OtherMembers, Lie::Honest]);
    let caught = join(home.path(), &mut company, false, LIMITS)
        .expect("catches up")
        .expect("there is a snapshot");
    assert_eq!((caught.height, caught.refused), (NEWEST, 1));
    assert_eq!(follow(home.path(), &unit), unit.chain.ledger().state_root());
    let store = Rocks::open(&home.path().join("store")).expect("opens");
    let kept = Snapshots::open(&home.path().join("snapshots")).expect("a folder");
    let report = milepost_node::audit::audit(&unit.chain.genesis, &store, Some(&kept), |_| {});
    assert!(report.ok, "{:?}", report.errors);
}

#[test]
fn an_audit_finds_members_that_were_made_up_and_that_are_missing() {
    let unit = Unit::with_other_members();
    let genesis = unit.chain.genesis.clone();
    let path = unit.store_path();
    let Unit { store, folder, .. } = unit;
    drop(store);
    for forge in [
        (|value: &[u8]| Some([&value[..value.len() - 1], &[value[value.len() - 1] ^ 1]].concat()))
            as fn(&[u8]) -> Option<Vec<u8>>,
        |_| None,
    ] {
        let (options, changed) = (
            rocksdb::Options::default(),
            tempfile::tempdir().expect("a folder"),
        );
        let changed = changed.path().join("store");
        std::fs::create_dir(&changed).expect("a folder");
        for file in std::fs::read_dir(&path).expect("a folder") {
            let file = file.expect("it can be listed").path();
            std::fs::copy(&file, changed.join(file.file_name().expect("a name"))).expect("copies");
        }
        let families = rocksdb::DB::list_cf(&options, &changed).expect("RocksDB's");
        let db = rocksdb::DB::open_cf(&options, &changed, families).expect("opens");
        let members = db.cf_handle("members").expect("the schema has it");
        let first = db.iterator_cf(members, rocksdb::IteratorMode::Start).next();
        let (key, value) = first.expect("the members changed").expect("reads");
        match forge(&value) {
            Some(forged) => db.put_cf(members, key, forged).expect("writes"),
            None => db.delete_cf(members, key).expect("writes"),
        }
        drop(db);
        let store = Rocks::open_read_only(&changed).expect("opens");
        let report = milepost_node::audit::audit(&genesis, &store, None, |_| {});
        assert!(!report.ok);
        assert!(report.height < Height(BLOCKS), "{:?}", report.errors);
    }
    drop(folder);
}
