//! How many copies a network loses: probes from one host to another, and what became of them.
//!
//! **Guarantee:** a listener answers nobody with more bytes than it was sent, and keeps what it learns of
//! eight measurements at most, a million probes each. One source has two of these places, in which its own
//! newer measurements follow its older ones, and where all are taken one that began ten minutes ago makes
//! room: so no host keeps others from measuring, and eight together do so for ten minutes. Nothing here is
//! authenticated: it measures a network, not an intruder on it, who may let probes pass and messages not, or
//! put other hosts' addresses under its own: two such datagrams are enough to have a measurement forgotten.
//!
//! | bytes | of a probe | of a question, and its answer |
//! |---|---|---|
//! | 8 | `RVLNODP1` | `RVLNODQ1`, `RVLNODA1` |
//! | 16 | the measurement, drawn by chance | the same |
//! | 4 | the probe's number | the first probe asked about |
//! | the rest | what BLAKE3 makes of all before | zeros; in an answer one bit a probe, 1: it came unharmed |
//!
//! Numbers are little-endian. A question has room for its answer.
//!
//! # Source
//! The paper, section 8.2: the omission degree `Od` of a network is found by tests on it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Probes of one measurement at most.
pub(crate) const PROBES_MAX: u32 = 1_000_000;
/// Measurements that a listener remembers.
const MEASUREMENTS_MAX: usize = 8;
/// Those of one source.
const MEASUREMENTS_OF_SOURCE_MAX: usize = 2;
/// How long one of them may keep its place from others, where all are taken.
const PLACE_HELD_MAX: Duration = Duration::from_secs(600);
/// How long one of them is kept for a sender that is not heard any more.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// The longest datagram that is neither cut nor refused on common networks.
pub(crate) const PROBE_BYTES_MAX: u16 = 1_400;
/// Magic, measurement and number.
const HEAD: usize = 8 + 16 + 4;
/// The shortest probe: whether it came unharmed must show.
pub(crate) const PROBE_BYTES_MIN: u16 = 64;
/// Bits of one answer.
const BITS: u32 = 8 * 1_024;
/// How often a question is repeated before the listener counts as gone.
const QUESTIONS: u32 = 10;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long the last probes may take to arrive.
const SETTLE: Duration = Duration::from_millis(500);

const PROBE: &[u8; 8] = b"RVLNODP1";
const QUESTION: &[u8; 8] = b"RVLNODQ1";
const ANSWER: &[u8; 8] = b"RVLNODA1";

/// What one host sends to another.
pub(crate) struct Probing {
    /// The listener.
    pub(crate) to: SocketAddr,
    /// How many.
    pub(crate) probes: u32,
    /// How many in a second.
    pub(crate) rate: u32,
    /// How large each is.
    pub(crate) bytes: u16,
}

/// Sends the probes, and asks which of them came. `progress` is told how many were sent.
///
/// # Errors
/// The network, or [`ErrorKind::TimedOut`]: the listener does not answer.
pub(crate) fn probe(
    probing: &Probing,
    measurement: [u8; 16],
    progress: impl Fn(u32),
) -> io::Result<Vec<bool>> {
    let any = if probing.to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(probing.to)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    ask(&socket, measurement, 0)?; // a listener that is not there would count as a loss of all
    let begun = Instant::now();
    for number in 0..probing.probes {
        let due = Duration::from_secs(1) * number / probing.rate;
        if let Some(early) = due.checked_sub(begun.elapsed()) {
            std::thread::sleep(early);
        }
        match socket.send(&packet(measurement, number, probing.bytes)) {
            // Told of an earlier datagram: the listener may have gone, which its silence will show.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            sent => drop(sent?),
        }
        progress(number + 1);
    }
    std::thread::sleep(SETTLE);
    let mut arrived = Vec::new();
    for first in (0..probing.probes).step_by(BITS as usize) {
        let bits = ask(&socket, measurement, first)?;
        let bits = bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        arrived.extend(bits.take((probing.probes - first).min(BITS) as usize));
    }
    Ok(arrived)
}

/// The bits from probe `first` on.
fn ask(socket: &UdpSocket, measurement: [u8; 16], first: u32) -> io::Result<Vec<u8>> {
    let mut question = head(QUESTION, measurement, first).to_vec();
    question.resize(HEAD + BITS as usize / 8, 0);
    let wanted = head(ANSWER, measurement, first);
    let mut answer = vec![0; question.len() + 1];
    for _ in 0..QUESTIONS {
        let asked = Instant::now();
        match socket.send(&question) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            sent => drop(sent?),
        }
        while asked.elapsed() < ANSWER_MAX {
            match socket.recv(&mut answer) {
                Ok(length) if length == question.len() => {
                    if let Some(bits) = answer.get(..length).and_then(|it| it.strip_prefix(&wanted))
                    {
                        return Ok(bits.to_vec());
                    }
                }
                Ok(_) => {}
                Err(error) if is_for_now(&error) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(error),
            }
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// Whether it may be otherwise in a moment: nothing came, or nobody listened when something was sent.
fn is_for_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
    )
}

fn head(magic: &[u8; 8], measurement: [u8; 16], number: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let (first, rest) = head.split_at_mut(8);
    let (second, third) = rest.split_at_mut(16);
    first.copy_from_slice(magic);
    second.copy_from_slice(&measurement);
    third.copy_from_slice(&number.to_le_bytes());
    head
}

/// A probe whose every byte shows whether it came unharmed.
fn packet(measurement: [u8; 16], number: u32, bytes: u16) -> Vec<u8> {
    let head = head(PROBE, measurement, number);
    let mut packet = head.to_vec();
    packet.resize(usize::from(bytes), 0);
    let (_, rest) = packet.split_at_mut(HEAD.min(usize::from(bytes)));
    blake3::Hasher::new().update(&head).finalize_xof().fill(rest);
    packet
}

/// What a listener knows.
#[derive(Default)]
pub(crate) struct Listener {
    measurements: Vec<Measurement>,
}

struct Measurement {
    name: [u8; 16],
    source: IpAddr,
    begun: Instant,
    heard: Instant,
    bits: Vec<u8>,
}

impl Listener {
    /// Takes a datagram from `source`, and gives the answer to it, which is as long, if it asks for one.
    pub(crate) fn take(
        &mut self,
        datagram: &[u8],
        source: IpAddr,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let (head_bytes, rest) = datagram.split_first_chunk::<HEAD>()?;
        let (magic, named) = head_bytes.split_first_chunk::<8>()?;
        let (name, number) = named.split_first_chunk::<16>()?;
        let number = u32::from_le_bytes(*number.first_chunk()?);
        if number >= PROBES_MAX {
            return None;
        }
        match magic {
            PROBE => {
                let bytes = u16::try_from(datagram.len()).ok()?;
                if bytes >= PROBE_BYTES_MIN && packet(*name, number, bytes) == datagram {
                    let bits = &mut self.of(*name, source, now)?.bits;
                    let place = number as usize / 8;
                    bits.resize(bits.len().max(place + 1), 0);
                    *bits.get_mut(place)? |= 1 << (number % 8);
                }
                None
            }
            QUESTION if rest.len() == BITS as usize / 8 && number.is_multiple_of(8) => {
                let bits = &self.of(*name, source, now)?.bits;
                let asked = bits.iter().skip(number as usize / 8).take(rest.len());
                let mut answer = head(ANSWER, *name, number).to_vec();
                answer.extend(asked);
                answer.resize(datagram.len(), 0);
                Some(answer)
            }
            _ => None,
        }
    }

    /// The measurement of this name from this source; a new one if there is room.
    fn of(&mut self, name: [u8; 16], source: IpAddr, now: Instant) -> Option<&mut Measurement> {
        let source = network_of(source);
        self.measurements.retain(|one| now.duration_since(one.heard) < SILENT_MAX);
        let known = |one: &Measurement| one.name == name && one.source == source;
        if let Some(place) = self.measurements.iter().position(known) {
            let measurement = self.measurements.get_mut(place)?;
            measurement.heard = now;
            return Some(measurement);
        }
        self.make_room(source, now);
        if self.measurements.len() >= MEASUREMENTS_MAX {
            return None;
        }
        let (begun, heard) = (now, now);
        self.measurements.push(Measurement { name, source, begun, heard, bits: Vec::new() });
        self.measurements.last_mut()
    }

    /// Ends the oldest measurement of a source that has all its places, or else one that has kept its own
    /// from others for long enough. They stand in the order in which they began.
    fn make_room(&mut self, source: IpAddr, now: Instant) {
        let own = self.measurements.iter().filter(|one| one.source == source).count();
        let ends = match own >= MEASUREMENTS_OF_SOURCE_MAX {
            true => self.measurements.iter().position(|one| one.source == source),
            false if self.measurements.len() < MEASUREMENTS_MAX => None,
            false => {
                let is_long = |one: &Measurement| now.duration_since(one.begun) >= PLACE_HELD_MAX;
                self.measurements.iter().position(is_long)
            }
        };
        if let Some(ends) = ends {
            self.measurements.remove(ends);
        }
    }
}

/// What counts as one source: an IPv4 address, or the 64 bits of an IPv6 address that a host cannot choose.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Listens until `until`, if that is named, or for ever.
///
/// # Errors
/// The socket.
pub(crate) fn listen(socket: &UdpSocket, until: Option<Instant>) -> io::Result<()> {
    let mut listener = Listener::default();
    let mut datagram = vec![0; usize::from(PROBE_BYTES_MAX) + 1];
    loop {
        let now = Instant::now();
        let left = until.map(|until| until.saturating_duration_since(now));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        socket.set_read_timeout(left)?;
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                let taken = datagram.get(..length).and_then(|it| listener.take(it, from.ip(), now));
                if let Some(answer) = taken {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
            Err(error) if is_for_now(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn host(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn question(name: [u8; 16], first: u32) -> Vec<u8> {
        let mut question = head(QUESTION, name, first).to_vec();
        question.resize(HEAD + BITS as usize / 8, 0);
        question
    }

    #[test]
    fn what_came_unharmed_is_known_and_nothing_else() {
        let (mut listener, now) = (Listener::default(), Instant::now());
        let name = [7; 16];
        for number in [0, 1, 9, BITS + 3] {
            assert_eq!(listener.take(&packet(name, number, 200), HOST, now), None);
        }
        for place in [HEAD - 1, HEAD, 199] {
            let mut harmed = packet(name, 2, 200);
            harmed[place] ^= 1;
            assert_eq!(listener.take(&harmed, HOST, now), None);
        }
        let answer = listener.take(&question(name, 0), HOST, now).unwrap();
        assert_eq!(answer.len(), question(name, 0).len(), "as much as was sent");
        assert_eq!(&answer[HEAD..HEAD + 3], [0b11, 0b10, 0]);
        let answer = listener.take(&question(name, BITS), HOST, now).unwrap();
        assert_eq!(&answer[HEAD..HEAD + 2], [0b1000, 0]);
        let other = listener.take(&question([8; 16], 0), HOST, now).unwrap();
        assert!(other[HEAD..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn nobody_makes_a_listener_keep_more_than_it_may() {
        let (mut listener, now) = (Listener::default(), Instant::now());
        for name in 0..100 {
            let source = host(name);
            listener.take(&packet([name; 16], 0, 64), source, now);
            listener.take(&packet([name; 16], PROBES_MAX - 1, 64), source, now);
            listener.take(&packet([name; 16], u32::MAX, 64), source, now);
        }
        assert_eq!(listener.measurements.len(), MEASUREMENTS_MAX);
        assert!(listener.measurements.iter().all(|one| one.bits.len() == PROBES_MAX as usize / 8));
        assert_eq!(listener.take(&question([50; 16], 0), HOST, now), None, "there is no room");
        let later = now + SILENT_MAX;
        assert!(listener.take(&question([50; 16], 0), HOST, later).is_some());
        assert_eq!(listener.measurements.len(), 1);
    }

    #[test]
    fn one_source_takes_no_place_from_others() {
        let (mut listener, now) = (Listener::default(), Instant::now());
        let flood = |name: u8| match name % 2 {
            0 => host(1),
            _ => IpAddr::V6(Ipv6Addr::new(1, 2, 3, 4, u16::from(name), 0, 0, 1)),
        };
        for name in 0..200 {
            listener.take(&packet([name; 16], 0, 64), flood(name), now);
        }
        assert_eq!(listener.measurements.len(), 2 * MEASUREMENTS_OF_SOURCE_MAX);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        listener.take(&packet([201; 16], 0, 64), mapped, now);
        assert_eq!(listener.measurements.len(), 2 * MEASUREMENTS_OF_SOURCE_MAX);
        listener.take(&packet([7; 16], 0, 64), HOST, now);
        listener.take(&packet([7; 16], 1, 64), host(9), now);
        let answer = listener.take(&question([7; 16], 0), HOST, now).unwrap();
        assert_eq!(answer[HEAD], 1, "another source's probe of the same name does not count");
    }

    #[test]
    fn places_that_are_never_silent_make_room_in_the_end() {
        let (mut listener, begun) = (Listener::default(), Instant::now());
        let hold = |listener: &mut Listener, now| {
            for name in 0..MEASUREMENTS_MAX as u8 {
                listener.take(&packet([name; 16], 0, 64), host(name), now);
            }
        };
        for second in (0..PLACE_HELD_MAX.as_secs()).step_by(30) {
            let now = begun + Duration::from_secs(second);
            hold(&mut listener, now);
            assert_eq!(listener.take(&question([50; 16], 0), HOST, now), None);
        }
        let now = begun + PLACE_HELD_MAX;
        assert!(listener.take(&question([50; 16], 0), HOST, now).is_some());
        hold(&mut listener, now);
        assert!(listener.take(&question([50; 16], 0), HOST, now).is_some(), "and it keeps it");
        assert_eq!(listener.measurements.len(), MEASUREMENTS_MAX);
    }

    #[test]
    fn what_is_no_probe_gets_no_answer() {
        let (mut listener, now) = (Listener::default(), Instant::now());
        let whole = question([1; 16], 0);
        for length in 0..whole.len() {
            assert_eq!(listener.take(&whole[..length], HOST, now), None);
        }
        assert_eq!(listener.take(&question([1; 16], 4), HOST, now), None);
        assert_eq!(listener.take(&packet([1; 16], 0, 63), HOST, now), None);
        assert!(listener.measurements.is_empty());
    }

    #[test]
    fn probes_over_a_socket_are_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        let listening = std::thread::spawn(move || listen(&socket, Some(until)));
        // As many as the socket has room for, however late the host lets the listener read.
        let probing = Probing { to, probes: 100, rate: 10_000, bytes: 256 };
        let arrived = probe(&probing, [3; 16], |_| ()).unwrap();
        assert_eq!(arrived.len(), 100);
        assert!(arrived.iter().filter(|it| **it).count() > 90, "a loopback loses little");
        listening.join().unwrap().unwrap();
        let gone = probe(&probing, [4; 16], |_| ()).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::TimedOut);
    }
}
