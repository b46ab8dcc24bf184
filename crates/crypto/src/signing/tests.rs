use super::*;

fn schemes() -> Vec<(Scheme, Vec<SigningKey>)> {
    let registry = Registry::default();
    let real = (0..9u8).map(|seed| SigningKey::ed25519(&[seed; 32])).collect();
    let simulated = (0..9u8).map(|seed| SigningKey::simulated(&[seed; 32], &registry)).collect();
    vec![(Scheme::ed25519([7; 32]), real), (Scheme::Simulated(registry), simulated)]
}

fn claims(keys: &[SigningKey]) -> Vec<Claim> {
    let message = b"pay alice".to_vec();
    keys.iter()
        .map(|key| Claim {
            key: key.public(),
            domain: Domain::Envelope,
            message: message.clone(),
            signature: key.sign(Domain::Envelope, &message),
        })
        .collect()
}

#[test]
fn a_signature_holds_for_its_key_message_and_domain_only() {
    for (scheme, keys) in schemes() {
        let signature = keys[0].sign(Domain::Block, b"one");
        assert!(scheme.verify(Domain::Block, &keys[0].public(), b"one", &signature));
        assert!(!scheme.verify(Domain::Statement, &keys[0].public(), b"one", &signature));
        assert!(!scheme.verify(Domain::Block, &keys[1].public(), b"one", &signature));
        assert!(!scheme.verify(Domain::Block, &keys[0].public(), b"two", &signature));
        assert!(!scheme.verify(Domain::Block, &PublicKey([9; 32]), b"one", &signature));
    }
}

#[test]
fn a_batch_finds_exactly_the_bad_ones() {
    for (scheme, keys) in schemes() {
        for bad in 0..(1usize << keys.len()) {
            let mut claims = claims(&keys);
            for (index, claim) in claims.iter_mut().enumerate() {
                if bad >> index & 1 == 1 {
                    claim.signature.0[5] ^= 1;
                }
            }
            let expected: Vec<_> = (0..keys.len()).map(|index| bad >> index & 1 == 0).collect();
            assert_eq!(scheme.verify_all(&claims), expected, "{bad:b}");
        }
    }
}

#[test]
fn bad_signatures_among_good_ones_cost_a_bounded_number_of_looks() {
    let (scheme, keys) = schemes().swap_remove(0);
    let good: Vec<Claim> = claims(&keys).into_iter().cycle().take(200).collect();
    for every in [1, 2, 31, 100, 200] {
        let mut mixed = good.clone();
        mixed.iter_mut().step_by(every).for_each(|claim| claim.signature.0[5] ^= 1);
        let (verdicts, looks) = scheme.judge(&mixed);
        let expected: Vec<_> = (0..mixed.len()).map(|index| index % every != 0).collect();
        assert_eq!(verdicts, expected, "one in {every}");
        assert!(looks <= 3 * mixed.len(), "{looks} looks, one bad in {every}");
        if every == 200 {
            assert!(looks <= 2 * mixed.len() + PART_MAX, "{looks} looks for a single bad one");
        }
    }
    assert_eq!(scheme.judge(&good).1, good.len(), "one look each if all are good");
}

/// Scenario 31: keys and signatures of small order satisfy the cofactored equation only. ZIP-215
/// accepts them singly and in batches; a library that judged the two differently would fork.
#[test]
fn scenario_31_small_order_points_are_judged_alike_singly_and_in_batches() {
    let scheme = Scheme::ed25519([1; 32]);
    // The eight-torsion encodings that matter, canonical and not: identity, order 2, 4 and 8.
    let points: [[u8; 32]; 5] = [
        hex("0100000000000000000000000000000000000000000000000000000000000000"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("0000000000000000000000000000000000000000000000000000000000000000"),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ];
    let mut claims = Vec::new();
    for key in points {
        for r in points {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r);
            claims.push(Claim {
                key: PublicKey(key),
                domain: Domain::Envelope,
                message: b"Zcash".to_vec(),
                signature: Signature(signature),
            });
        }
    }
    let singly: Vec<_> = claims
        .iter()
        .map(|claim| scheme.verify(claim.domain, &claim.key, &claim.message, &claim.signature))
        .collect();
    assert!(singly.iter().all(|verdict| *verdict), "ZIP-215 accepts small order: {singly:?}");
    assert_eq!(scheme.verify_all(&claims), singly);
    // A strict verifier would refuse them: that is the disagreement this rule excludes.
    let strict = ed25519_dalek::VerifyingKey::from_bytes(&points[3]).expect("decompresses");
    let signature = ed25519_dalek::Signature::from_bytes(&claims[15].signature.0);
    assert!(strict.verify_strict(&Domain::Envelope.bind(b"Zcash"), &signature).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let key = SigningKey::ed25519(&[3; 32]);
    assert!(!format!("{key:?}").contains("030303"));
}

fn hex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).expect("hex");
    }
    bytes
}

/// Every encoding of the eight points of small order that a decoder takes: canonical, with a `y` not
/// reduced, and with the sign of a zero `x` set.
#[test]
fn keys_of_small_order_are_weak_however_they_are_written() {
    let weak = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    let (scheme, registry) = (Scheme::ed25519([1; 32]), Registry::default());
    let simulated = SigningKey::simulated(&[1; 32], &registry).public();
    for key in weak.map(|text| PublicKey(hex(text))) {
        assert!(scheme.is_weak(&key), "{key}");
        assert!(!Scheme::Simulated(registry.clone()).is_weak(&key));
        // Why it matters: a signature of nothing but such points holds for any message.
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&key.0);
        assert!(scheme.verify(Domain::Envelope, &key, b"anything", &Signature(signature)));
    }
    assert!(scheme.is_weak(&PublicKey([2; 32])), "no point");
    assert!(!scheme.is_weak(&SigningKey::ed25519(&[1; 32]).public()));
    assert!(!Scheme::Simulated(registry).is_weak(&simulated));
}
