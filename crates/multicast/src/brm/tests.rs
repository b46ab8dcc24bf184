use std::collections::VecDeque;

use ravelin_model::ReplicaId;

use super::*;

mod attacks;
mod bounds;
#[path = "../../../sim/src/brm/ideal.rs"]
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "shared with the simulator")]
mod ideal;

use ideal::Ideal;

const T: Variant = Variant::T;
const M: Variant = Variant::M;

fn entity(index: u16) -> Entity {
    Entity { replica: ReplicaId(index), local: 7 }
}

fn entities(n: u16) -> Vec<Entity> {
    (0..n).map(entity).collect()
}

fn key_bytes(one: Entity, other: Entity) -> [u8; 32] {
    let (low, high) = (one.replica.0.min(other.replica.0), one.replica.0.max(other.replica.0));
    std::array::from_fn(|index| (low * 16 + high) as u8 ^ index as u8)
}

fn key(one: Entity, other: Entity) -> PairKey {
    PairKey::new(key_bytes(one, other))
}

fn keys(own: Entity, n: u16) -> PairKeys {
    let others = entities(n).into_iter().filter(|it| *it != own);
    others.map(|it| (it, key(own, it))).collect()
}

/// A group on a network of which the tests decide what it does.
struct Group {
    variant: Variant,
    wormholes: Ideal,
    processes: Vec<Brm>,
    now: Time,
    in_transit: VecDeque<(Entity, Packet)>,
    /// Copies sent so far, by receiver.
    sent: Vec<(Entity, Entity)>,
    delivered: Vec<Vec<Arc<Message>>>,
    ended: Vec<Vec<Event>>,
}

impl Group {
    fn new(variant: Variant, engine: Engine, n: u16) -> Self {
        let settings = Settings::new(engine, Duration::from_millis(5));
        let needed = if engine == Engine::Quorum { usize::from(n) / 2 + 1 } else { 0 };
        let process = |own| Brm::new(variant, own, settings, keys(own, n));
        Self {
            variant,
            wormholes: Ideal::new(&entities(n), needed),
            processes: entities(n).into_iter().map(process).collect(),
            now: Time(0),
            in_transit: VecDeque::new(),
            sent: vec![],
            delivered: vec![vec![]; usize::from(n)],
            ended: vec![vec![]; usize::from(n)],
        }
    }

    fn perform(&mut self, at: u16, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(to, packet) => {
                    self.sent.push((packet.from, to));
                    self.in_transit.push_back((to, packet));
                }
                Action::Emit(Event::Delivered(message)) => {
                    self.delivered[usize::from(at)].push(message);
                }
                Action::Emit(event) => self.ended[usize::from(at)].push(event),
            }
        }
    }

    fn multicast(&mut self, at: u16, data: &[u8]) -> Result<Header, MulticastError> {
        let all = entities(self.processes.len() as u16);
        let recipients: Vec<Entity> = all.into_iter().filter(|it| *it != entity(at)).collect();
        let mut out = vec![];
        let mut port = self.wormholes.at(entity(at));
        let process = &mut self.processes[usize::from(at)];
        let begun = process.multicast(self.now, &mut port, (&recipients, data.to_vec()), &mut out);
        self.perform(at, out);
        begun
    }

    fn bring(&mut self, to: u16, packet: &Packet) {
        let mut out = vec![];
        let mut port = self.wormholes.at(entity(to));
        self.processes[usize::from(to)].on_packet(self.now, &mut port, packet, &mut out);
        self.perform(to, out);
    }

    fn turn(&mut self, at: u16) {
        let mut out = vec![];
        let mut port = self.wormholes.at(entity(at));
        self.processes[usize::from(at)].on_time(self.now, &mut port, &mut out);
        self.perform(at, out);
    }

    /// Lets time pass; a packet arrives unless `is_lost`.
    fn run(&mut self, span: Duration, is_lost: &mut dyn FnMut(Entity, &Packet) -> bool) {
        let step = Duration::from_micros(500);
        for _ in 0..span.as_micros() / step.as_micros() {
            self.now = self.now.after(step);
            self.wormholes.now = self.wormholes.now.after(step);
            for (to, packet) in std::mem::take(&mut self.in_transit) {
                if !is_lost(to, &packet) {
                    self.bring(to.replica.0, &packet);
                }
            }
            (0..self.processes.len() as u16).for_each(|at| self.turn(at));
        }
    }

    fn run_well(&mut self) {
        self.run(Duration::from_millis(100), &mut |_, _| false);
    }

    /// A copy that an intruder makes with the keys that it has.
    fn forge(&self, from: u16, to: u16, header: &Header, data: &[u8]) -> Packet {
        let message = Arc::new(Message { header: header.clone(), data: data.to_vec() });
        let digest = message.digest(self.variant);
        let pair = (entity(from), entity(to));
        Packet::new(self.variant, pair, &key(pair.0, pair.1), (message, &digest))
    }

    fn delivered(&self) -> Vec<usize> {
        self.delivered.iter().map(Vec::len).collect()
    }
}

fn all_ways() -> impl Iterator<Item = (Variant, Engine)> {
    [T, M].into_iter().flat_map(|it| [(it, Engine::Quorum), (it, Engine::RealTime)])
}

#[test]
fn everybody_delivers_what_a_correct_process_multicasts() {
    for ((variant, engine), n) in all_ways().flat_map(|way| [2, 3, 4, 7].map(|n| (way, n))) {
        let mut group = Group::new(variant, engine, n);
        let header = group.multicast(0, b"pay alice").unwrap();
        group.run_well();
        for delivered in &group.delivered {
            let [message] = delivered.as_slice() else { panic!("{variant:?} {engine:?} {n}") };
            assert_eq!((&message.header, message.data.as_slice()), (&header, &b"pay alice"[..]));
        }
    }
}

#[test]
fn figure_9_costs_od_plus_1_copies_from_each_to_all_but_the_sender() {
    let mut group = Group::new(T, Engine::RealTime, 4);
    group.multicast(0, b"x").unwrap();
    group.run_well();
    let of_sender = group.sent.iter().filter(|(from, _)| *from == entity(0)).count();
    let to_sender = group.sent.iter().filter(|(_, to)| *to == entity(0)).count();
    assert_eq!((of_sender, to_sender, group.sent.len()), (3 * 3, 0, 3 * 3 + 3 * 3 * 2));
}

#[test]
fn nobody_hands_on_what_all_proposed() {
    let mut group = Group::new(M, Engine::Quorum, 4);
    group.multicast(0, b"x").unwrap();
    group.run_well();
    assert_eq!(group.sent.len(), 3);
    assert_eq!(group.delivered(), [1; 4]);
}

#[test]
fn those_who_lack_a_message_and_only_those_get_it_again() {
    let mut group = Group::new(M, Engine::Quorum, 4);
    group.multicast(0, b"x").unwrap();
    let mut is_first = true;
    group.run(Duration::from_millis(100), &mut |to, _| {
        to == entity(3) && std::mem::take(&mut is_first)
    });
    assert_eq!(group.delivered(), [1; 4]);
    // Three holders send three copies each.
    assert_eq!(group.sent.iter().filter(|(_, to)| *to == entity(3)).count(), 1 + 9);
    assert_eq!(group.sent.len(), 3 + 9);
}

#[test]
fn as_many_losses_as_allowed_between_each_two_stop_nobody() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 5);
        group.multicast(2, b"x").unwrap();
        let mut lost = BTreeMap::new();
        group.run(Duration::from_millis(200), &mut |to, packet| {
            let count = lost.entry((packet.from, to)).or_insert(0);
            *count += 1;
            *count <= 2
        });
        assert_eq!(group.delivered(), [1; 5], "{variant:?} {engine:?}");
    }
}

#[test]
fn many_multicasts_at_once_are_told_apart() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        for round in 0..8u8 {
            for at in 0..4 {
                group.multicast(at, &[round, at as u8]).unwrap();
            }
        }
        assert_eq!(group.multicast(0, b"one too many"), Err(MulticastError::Busy));
        group.run_well();
        assert_eq!(group.delivered(), [32; 4], "{variant:?} {engine:?}");
        assert!(group.multicast(0, b"room again").is_ok());
    }
}

#[test]
fn the_sender_delivers_after_its_last_copy() {
    for engine in [Engine::Quorum, Engine::RealTime] {
        let mut group = Group::new(T, engine, 3);
        group.multicast(0, b"x").unwrap();
        while group.delivered[0].is_empty() {
            group.run(Duration::from_micros(500), &mut |_, _| true);
        }
        assert_eq!(group.sent.len(), 3 * 2, "{engine:?}");
    }
}

#[test]
fn a_refused_proposal_sends_and_delivers_nothing() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 3);
        group.wormholes.seat(entity(0)).stall = Duration::from_millis(21);
        let refused = group.multicast(0, b"late");
        assert_eq!(refused, Err(MulticastError::Refused(ProposeError::TstartExpired)));
        group.run_well();
        assert!(group.sent.is_empty());
        assert_eq!(group.delivered(), [0; 3], "{variant:?} {engine:?}");
    }
}

#[test]
fn a_proposal_that_the_majority_missed_ends_without_a_delivery() {
    for variant in [T, M] {
        let mut group = Group::new(variant, Engine::Quorum, 3);
        group.wormholes.seat(entity(0)).to_count = Duration::from_millis(21);
        let header = group.multicast(0, b"missed").unwrap();
        group.run_well();
        assert_eq!(group.delivered(), [0; 3], "{variant:?}");
        assert_eq!(group.ended[0], [Event::Ended(header)]);
    }
}

#[test]
fn what_the_wormhole_gave_up_is_not_called_ended() {
    for variant in [T, M] {
        let mut group = Group::new(variant, Engine::Quorum, 3);
        group.wormholes.seat(entity(0)).is_untold = true;
        let header = group.multicast(0, b"known to others").unwrap();
        group.run(Duration::from_millis(300), &mut |_, _| false);
        assert_eq!(group.delivered(), [0, 1, 1], "{variant:?}");
        assert_eq!(group.ended[0], [Event::Undecided(header)]);
    }
}

#[test]
fn what_is_not_decided_in_all_its_time_is_not_called_ended() {
    let mut group = Group::new(T, Engine::Quorum, 3);
    group.wormholes.seat(entity(0)).to_learn = Duration::from_secs(200);
    group.wormholes.retention = Duration::from_secs(200);
    let header = group.multicast(0, b"known to others").unwrap();
    group.run(Duration::from_secs(80), &mut |_, _| false);
    assert_eq!(group.delivered(), [0, 1, 1]);
    assert_eq!(group.ended[0], [Event::Undecided(header)]);
}

#[test]
fn nobody_delivers_while_too_few_wormholes_run_to_decide() {
    let mut group = Group::new(T, Engine::Quorum, 3);
    group.wormholes.seat(entity(2)).is_halted = true;
    group.wormholes.needed = 3;
    group.multicast(0, b"x").unwrap();
    group.run_well();
    assert_eq!(group.delivered(), [0; 3]);
    group.wormholes.needed = 2;
    group.run_well();
    assert_eq!(group.delivered(), [1, 1, 0]);
}

#[test]
fn who_lost_its_wormhole_says_nothing_more() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        group.multicast(0, b"x").unwrap();
        group.wormholes.seat(entity(1)).is_halted = true;
        group.run_well();
        assert_eq!(group.delivered(), [1, 0, 1, 1], "{variant:?} {engine:?}");
        assert_eq!(group.ended[1], [Event::Halted(TtcbError::Halted)]);
        assert!(group.sent.iter().all(|(from, _)| *from != entity(1)));
        assert_eq!(group.processes[1].next_deadline(), None);
        let refused = Err(MulticastError::Wormhole(TtcbError::Halted));
        assert_eq!(group.multicast(1, b"y"), refused);
    }
}

#[test]
fn who_is_asleep_past_tstart_delivers_when_it_wakes() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 4);
        group.multicast(0, b"x").unwrap();
        let mut kept = vec![];
        group.run(Duration::from_millis(100), &mut |to, packet| {
            let is_kept = to == entity(3);
            if is_kept {
                kept.push(packet.clone());
            }
            is_kept
        });
        assert_eq!(group.delivered(), [1, 1, 1, 0]);
        kept.iter().for_each(|packet| group.bring(3, packet));
        group.run_well();
        assert_eq!(group.delivered(), [1; 4], "{variant:?} {engine:?}");
    }
}

#[test]
fn a_wormhole_without_room_is_asked_again() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 3);
        group.multicast(0, b"x").unwrap();
        let slots = std::mem::take(&mut group.wormholes.slots);
        group.run(Duration::from_millis(15), &mut |_, _| false);
        assert_eq!(group.multicast(1, b"y").unwrap_err(), {
            let next_free = TrustedTime(0);
            MulticastError::Refused(ProposeError::NoResources { next_free })
        });
        group.wormholes.slots = slots;
        group.run_well();
        assert_eq!(group.delivered(), [1; 3], "{variant:?} {engine:?}");
    }
}

#[test]
fn without_the_common_time_nothing_begins_and_nothing_is_forgotten() {
    for (variant, engine) in all_ways() {
        let mut group = Group::new(variant, engine, 3);
        group.multicast(0, b"x").unwrap();
        group.run_well();
        (0..3).for_each(|at| group.wormholes.seat(entity(at)).is_unsynchronised = true);
        let refused = group.multicast(1, b"y").unwrap_err();
        assert_eq!(refused, MulticastError::Refused(ProposeError::NotSynchronised));
        let packet = group.forge(1, 2, &header_of(&group), b"z");
        group.bring(2, &packet);
        group.now = group.now.after(Duration::from_secs(100));
        group.wormholes.now = group.wormholes.now.after(Duration::from_secs(100));
        (0..3).for_each(|at| group.turn(at));
        assert!(group.processes.iter().all(|it| it.sizes() == (0, 1)), "{variant:?} {engine:?}");
    }
}

fn header_of(group: &Group) -> Header {
    let mut elist = entities(group.processes.len() as u16);
    elist.rotate_left(1);
    Header { elist, tstart: group.wormholes.now }
}

#[test]
fn what_travels_is_read_back() {
    let group = Group::new(T, Engine::Quorum, 3);
    let header = Header { elist: entities(3), tstart: TrustedTime(9) };
    let packet = group.forge(0, 1, &header, b"data");
    let bytes = packet.encode();
    assert_eq!(Packet::decode(&bytes).unwrap(), packet);
    for length in 0..bytes.len() {
        assert!(Packet::decode(&bytes[..length]).is_err());
    }
    assert!(Packet::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn whatever_is_read_is_written_alike() {
    let group = Group::new(T, Engine::Quorum, 3);
    let header = Header { elist: entities(3), tstart: TrustedTime(9) };
    let bytes = group.forge(0, 1, &header, b"data").encode();
    for place in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[place / 8] ^= 1 << (place % 8);
        if let Ok(packet) = Packet::decode(&changed) {
            assert_eq!(packet.encode(), changed, "bit {place}");
        }
    }
}

#[test]
fn the_format_of_a_copy_stays() {
    let header = Header { elist: entities(2), tstart: TrustedTime(0x0102) };
    let group = Group::new(M, Engine::Quorum, 2);
    let packet = group.forge(1, 0, &header, b"ab");
    let hex: String = packet.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let (plain, mac) = hex.split_at(hex.len() - 64);
    assert_eq!(
        plain,
        "0100070000000200000000000700000001000700000002010000000000000200000061 62"
            .replace(' ', "")
    );
    assert_eq!(mac, packet.mac.to_string());
}
