//! Scratch: vehicles report over zenoh.
#![allow(missing_docs)]
use milepost_wire::*;
use std::time::Duration;
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let net = &a[1];
    let endpoints = &a[2];
    let n: usize = a[3].parse().unwrap();
    let secs: u64 = a[4].parse().unwrap();
    let c: Consortium = serde_json::from_str(&std::fs::read_to_string(format!("{net}/consortium.json")).unwrap()).unwrap();
    let mut z = zenoh::Config::default();
    z.insert_json5("mode", "\"client\"").unwrap();
    z.insert_json5("connect/endpoints", &format!("[\"{endpoints}\"]")).unwrap();
    z.insert_json5("scouting/multicast/enabled", "false").unwrap();
    let s = zenoh::open(z).await.unwrap();
    let keys: Vec<SecretKey> = (0..n).map(|i| SecretKey::from_hex(&std::fs::read_to_string(format!("{net}/vehicles/vehicle-{i:04}.key")).unwrap()).unwrap()).collect();
    let live = s.declare_subscriber(format!("{}/live/**", topic::root(&c.chain))).await.unwrap();
    let rec = s.declare_subscriber(format!("{}/receipt/**", topic::root(&c.chain))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = milepost_rsu::clock::wall().millis();
    for sec in 0..secs {
        for (i, k) in keys.iter().enumerate() {
            let now = milepost_rsu::clock::wall();
            let place = Place::from_degrees(44.494, 11.343 + 0.00017 * (sec as f64) + 0.01 * (i % 3) as f64).unwrap();
            let heading = Heading::from_degrees(90.0);
            let cell = Cell::at(place, heading);
            let r = Report { version: 1, vehicle: k.key_id(), sequence: report::Sequence(start + sec), sent_at: now, observations: vec![Observation { cell, place, heading, age_ms: 0, measure: Measure::Speed(Speed::from_m_per_s_clamped(13.0 + (i as f64) / 10.0)) }] };
            s.put(topic::report(&c.chain, cell), encode(Signed::sign(r, &c.chain, k).signed())).await.unwrap();
        }
        s.put(format!("{}/report/x/y", topic::root(&c.chain)), vec![1u8; 3000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    let (mut l, mut lv) = (0, 0);
    while let Ok(Some(x)) = live.try_recv() { l += 1; if let Ok(f) = codec::decode_within::<Signed<milepost_rsu::live::LiveFigure>>(&x.payload().to_bytes(), "live", 400) { let m = c.members.point(&f.message.author).unwrap(); lv += f.verify(&c.chain, m).is_ok() as usize; } }
    let (mut r, mut ro) = (0, 0);
    while let Ok(Some(x)) = rec.try_recv() { r += 1; ro += decode::<proof::ReceiptNotice>(&x.payload().to_bytes()).unwrap().outputs.len(); }
    println!("live {l} verified {lv}; receipts {r} notices {ro} outputs");
    for key in [topic::ask_vehicle(&c.chain, keys[0].key_id()), topic::ask_account(&c.chain, keys[0].address()), topic::ask_picture(&c.chain), format!("{}?bbox=11,44,12,45", topic::ask_picture(&c.chain)), format!("{}?bbox=zz", topic::ask_picture(&c.chain)), topic::ask_explanation(&c.chain, keys[0].key_id(), time::Epoch(0)), format!("{}/q/account/zz", topic::root(&c.chain))] {
        let rep = s.get(&key).timeout(Duration::from_secs(3)).await.unwrap();
        let mut n = 0; 
        while let Ok(x) = rep.recv_async().await {
            n += 1;
            match x.result() {
                Ok(sm) => { let b = sm.payload().to_bytes();
                    if let Ok(p) = decode::<proof::StateProof>(&b) { println!("  state proof {:?} {:?}", p.key, p.verify(p.key, &c.chain, &c.members).map(|v| v.map(<[u8]>::len))); }
                    else if let Ok(p) = decode::<proof::OutputsProof>(&b) { println!("  outputs proof height {} {} outputs {:?}", p.head.header.height, p.outputs.len(), p.verify(&c.chain, &c.members)); }
                    else { println!("  ?? {} bytes", b.len()); } }
                Err(e) => println!("  error {:?}", e.payload().try_to_string()),
            }
        }
        println!("{key}: {n} replies");
    }
    s.close().await.unwrap();
}
