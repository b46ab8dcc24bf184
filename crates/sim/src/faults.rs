//! When which correct server, clock or connection is in trouble.

use ravelin_model::ReplicaId;

use crate::dice::Dice;
use crate::network::Micros;
use crate::options::{ENDS_INSTANCES, FaultClass, Options};

/// One trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Power goes, and is back after this long.
    Crash(ReplicaId, Micros),
    /// Power goes and the disk with it; back after this long.
    Wipe(ReplicaId, Micros),
    /// Nothing happens at a server for this long.
    Pause(ReplicaId, Micros),
    /// Its clock jumps ahead by this much.
    Jump(ReplicaId, Micros),
    /// It is told to change its key.
    KeyChange(ReplicaId),
    /// Administrators end the epoch, once an order of a key is in a block.
    Reopening,
    /// A client loses its connection to a server.
    Disconnect(u16, ReplicaId),
}

/// All troubles of a run that end before `end`, in order.
pub(crate) fn schedule(options: &Options, end: Micros) -> Vec<(Micros, FaultClass, Fault)> {
    let is_victim = |id: &ReplicaId| options.intruders.contains_key(id);
    let correct: Vec<ReplicaId> =
        (0..options.n).map(ReplicaId).filter(|id| !is_victim(id)).collect();
    let mut faults = Vec::new();
    for class in options.classes.iter().copied() {
        let correct = match options.restarting {
            Some(only) if ENDS_INSTANCES.contains(&class) => vec![only],
            _ => correct.clone(),
        };
        let mut dice = Dice::new(options.seed, class.name());
        let mut at = dice.between(10_000, 500_000);
        while at < end {
            let left = end - at;
            let Some(who) = dice.pick(&correct).copied() else { return faults };
            let pause = match class {
                FaultClass::Crash if dice.once_in(5) => {
                    blackout(&mut faults, &mut dice, (at, left, class), correct.iter().copied());
                    dice.between(300_000, 2_000_000)
                }
                FaultClass::Blackout => {
                    let all = (0..options.n).map(ReplicaId);
                    blackout(&mut faults, &mut dice, (at, left, class), all);
                    dice.between(1_500_000, 4_000_000)
                }
                FaultClass::Crash => {
                    let down = dice.between(1_000, 1_500_000).min(left);
                    faults.push((at, class, Fault::Crash(who, down)));
                    dice.between(100_000, 1_500_000)
                }
                FaultClass::RestartStorm => {
                    storm(&mut faults, &mut dice, (at, end), who);
                    dice.between(800_000, 3_000_000)
                }
                FaultClass::Pause => {
                    let span = dice.between(5_000, 900_000).min(left);
                    faults.push((at, class, Fault::Pause(who, span)));
                    dice.between(200_000, 1_500_000)
                }
                FaultClass::ClockJump => {
                    let by = dice.between(1_000, 30_000_000);
                    faults.push((at, class, Fault::Jump(who, by)));
                    dice.between(300_000, 2_000_000)
                }
                FaultClass::Disconnect => {
                    let client = dice.below(u64::from(options.clients)) as u16;
                    let any = ReplicaId(dice.below(u64::from(options.n)) as u16);
                    faults.push((at, class, Fault::Disconnect(client, any)));
                    dice.between(20_000, 400_000)
                }
                FaultClass::Wipe => {
                    let down = dice.between(1_000, 300_000).min(left);
                    faults.extend(options.wiped.map(|who| (at, class, Fault::Wipe(who, down))));
                    Micros::MAX / 2 // once
                }
                FaultClass::KeyChange => {
                    faults.push((at, class, Fault::KeyChange(who)));
                    dice.between(300_000, 3_000_000)
                }
                FaultClass::Reopening => {
                    reopening(&mut faults, &mut dice, (at, end), (who, options.n))
                }
                _ => break,
            };
            at = at.saturating_add(pause);
        }
    }
    faults.sort_by_key(|(at, ..)| *at);
    faults
}

/// Several servers lose power at once.
fn blackout(
    faults: &mut Vec<(Micros, FaultClass, Fault)>,
    dice: &mut Dice,
    (at, left, class): (Micros, Micros, FaultClass),
    whom: impl Iterator<Item = ReplicaId>,
) {
    faults.extend(whom.map(|who| {
        let down = dice.between(1_000, 300_000).min(left);
        (at, class, Fault::Crash(who, down))
    }));
}

/// Administrators end the epoch while somebody changes its key; all may lose power in the midst of it. Returns
/// the pause after it.
fn reopening(
    faults: &mut Vec<(Micros, FaultClass, Fault)>,
    dice: &mut Dice,
    (at, end): (Micros, Micros),
    (who, n): (ReplicaId, u16),
) -> Micros {
    let class = FaultClass::Reopening;
    faults.push((at, class, Fault::Reopening));
    faults.push((at, class, Fault::KeyChange(who)));
    let dark = at + dice.between(100_000, 1_000_000);
    if dice.once_in(3) && dark < end {
        blackout(faults, dice, (dark, end - dark, class), (0..n).map(ReplicaId));
    }
    dice.between(800_000, 2_500_000)
}

/// One server restarts several times in a row.
fn storm(
    faults: &mut Vec<(Micros, FaultClass, Fault)>,
    dice: &mut Dice,
    (mut at, end): (Micros, Micros),
    who: ReplicaId,
) {
    for _ in 0..dice.between(3, 10) {
        let down = dice.between(500, 20_000);
        if at + down >= end {
            return;
        }
        faults.push((at, FaultClass::RestartStorm, Fault::Crash(who, down)));
        at += down + dice.between(500, 60_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Mode, Settings};

    #[test]
    fn troubles_come_in_order_and_end_in_time_and_spare_intruders() {
        for seed in 0..300 {
            let options = Options::draw(seed, Mode::Liveness, Settings::default());
            let faults = schedule(&options, 2_000_000);
            assert!(faults.is_sorted_by_key(|(at, ..)| *at), "seed {seed}");
            for (at, class, fault) in faults {
                match fault {
                    Fault::Crash(who, down) | Fault::Wipe(who, down) | Fault::Pause(who, down) => {
                        assert!(at + down <= 2_000_000, "seed {seed}");
                        let is_spared = !options.intruders.contains_key(&who);
                        let are_all =
                            [FaultClass::Blackout, FaultClass::Reopening].contains(&class);
                        assert!(is_spared || are_all, "seed {seed}");
                    }
                    Fault::Jump(..)
                    | Fault::Disconnect(..)
                    | Fault::KeyChange(_)
                    | Fault::Reopening => {}
                }
            }
        }
    }
}
