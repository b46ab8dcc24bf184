use super::*;

/// The bits of a status answer are read by other versions: they stay what they are.
#[test]
fn bits_are_for_ever() {
    let bits = |one| Protections::default().with(one).bits();
    assert_eq!(Protection::ALL.map(bits), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
}

#[test]
fn what_is_not_in_force_is_missing() {
    for one in Protection::ALL {
        let only = Protections::default().with(one);
        assert!(only.has(one) && only.missing().all(|other| other != one));
        assert_eq!(only.missing().count(), Protection::ALL.len() - 1);
        assert_eq!(Protections::from_bits(only.bits()), only);
    }
    assert_eq!(Protections::from_bits(u64::MAX).missing().count(), 0);
}

#[test]
fn no_protection_of_a_process_withstands_root_or_the_kernel() {
    let all = Protections::from_bits(u64::MAX);
    for restart in [Restart::NewInstance, Restart::CleanStop, Restart::Exact] {
        for attacker in [Attacker::ReducedRoot, Attacker::FullRoot, Attacker::Kernel] {
            assert!(matches!(all.against(attacker, restart), Verdict::Lost(_)), "{attacker:?}");
        }
        assert_eq!(all.against(Attacker::Unprivileged, restart), Verdict::Withstood);
        assert_eq!(all.against(Attacker::DiskRestore, restart), Verdict::Withstood);
        let old = Protections::from_bits(!Protection::NoPassedFiles.bit());
        assert!(matches!(old.against(Attacker::Unprivileged, restart), Verdict::Partly(_)));
        let without = Protections::default().against(Attacker::Unprivileged, restart);
        assert!(matches!(without, Verdict::Partly(_)));
    }
}

/// A machine resumed from memory runs its instance twice unless every attestation steps a counter.
#[test]
fn a_snapshot_is_withstood_at_most_with_a_step_each() {
    let all = Protections::from_bits(u64::MAX);
    let verdict = |restart| all.against(Attacker::Snapshot, restart);
    assert!(matches!(verdict(Restart::NewInstance), Verdict::Lost(_)));
    assert!(matches!(verdict(Restart::CleanStop), Verdict::Lost(_)));
    assert!(matches!(verdict(Restart::Exact), Verdict::Partly(_)));
}
