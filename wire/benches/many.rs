//! What does a signature cost among many, against one alone?
//!
//! Prints µs per signature and how many times faster than singly. All are measured in turn, over and over, and
//! the shortest time of each counts: on a shared machine that steadies the ratio, which a run of one after the
//! other does not.

use std::time::{Duration, Instant};

use milepost_wire::many::{Claim, hold_together, verify_digests};
use milepost_wire::{Hash, SecretKey, Signature};

const ROUNDS: usize = 300;
const COUNTS: [usize; 7] = [2, 4, 8, 16, 32, 64, 256];

/// The name of an operation, how many signatures it is done on, and itself.
type Operation<'a> = (String, usize, Box<dyn Fn() + 'a>);

fn main() {
    let signed: Vec<_> = (0..256u64)
        .map(|seed| {
            let key = SecretKey::from_seed("bench", seed);
            let digest = Hash::of("bench", &[&seed.to_le_bytes()]);
            let point = key.public().verifying_key().expect("a point");
            (Signature::sign(&key, &digest), point, digest)
        })
        .collect();
    let claims: Vec<Claim<'_>> = signed
        .iter()
        .map(|(signature, key, digest)| (signature, key, *digest))
        .collect();
    let mut one_bad = claims[..32].to_vec();
    one_bad[17].2 = Hash::ZERO;

    let singly = || {
        let hold = claims[..8]
            .iter()
            .all(|(signature, key, digest)| signature.verify(key, digest).is_ok());
        assert!(hold);
    };
    let mut operations: Vec<Operation<'_>> = vec![("wire::verify_each/n=8".into(), 8, Box::new(singly))];
    for count in COUNTS {
        let claims = &claims[..count];
        let together = move || assert!(hold_together(claims));
        operations.push((
            format!("wire::hold_together/n={count}"),
            count,
            Box::new(together),
        ));
    }
    let found = || {
        assert!(
            verify_digests(&one_bad)
                .iter()
                .filter(|verdict| verdict.is_err())
                .count()
                == 1
        )
    };
    operations.push(("wire::verify_digests/n=32,bad=1".into(), 32, Box::new(found)));
    let all = || assert!(verify_digests(&claims).iter().all(Result::is_ok));
    operations.push(("wire::verify_digests/n=256".into(), 256, Box::new(all)));

    // `cargo test --benches` runs this too, and wants to know only that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") {
        ROUNDS
    } else {
        1
    };
    let mut shortest = vec![Duration::MAX; operations.len()];
    for _ in 0..rounds {
        for ((_, _, operation), shortest) in operations.iter().zip(&mut shortest) {
            let start = Instant::now();
            operation();
            *shortest = start.elapsed().min(*shortest);
        }
    }
    let each = |index: usize| shortest[index].as_secs_f64() * 1e6 / operations[index].1 as f64;
    for (index, (name, ..)) in operations.iter().enumerate() {
        println!(
            "{name:<34} {:6.1} µs each {:6.2} times faster",
            each(index),
            each(0) / each(index)
        );
    }
}
