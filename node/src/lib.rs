//! Agree and remember: the consortium ledger over zenoh and RocksDB
