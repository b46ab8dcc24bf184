use super::*;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

fn pair() -> (OwnedFd, OwnedFd) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None).expect("two are left")
}

fn say(end: &OwnedFd) {
    rustix::net::send(end, &[0; REQUEST_BYTES], SendFlags::empty()).expect("there is room");
}

/// Whether the first and the second are listened to at `now`.
fn heard(doors: &mut Doors, now: Nanos) -> [bool; 2] {
    let [first, second, ..] = doors.wait(now, Some(now)).expect("it polls").connections;
    [first, second]
}

/// A frame is charged by its coming alone: what it says was never looked at here.
#[test]
fn whoever_brings_too_much_is_not_heard_for_a_while_and_everybody_else_is() {
    let ((greedy, own), (modest, other)) = (pair(), pair());
    let (signals, _never_written) = pair();
    let mut doors = Doors::new(vec![own, other], None, signals);
    let (now, mut frame) = (Nanos(7), [0; REQUEST_BYTES]);
    let mut count = 0;
    loop {
        say(&greedy);
        if heard(&mut doors, now) == [false, false] {
            break;
        }
        assert!(matches!(doors.receive(0, &mut frame), Arrival::Frame));
        count += 1;
        assert!(count <= 5_001, "there is no limit");
    }
    assert!(count >= 5_000, "{count}");
    say(&modest);
    assert_eq!(heard(&mut doors, now), [false, true]);
    assert!(matches!(doors.receive(1, &mut frame), Arrival::Frame));

    // The wait for anything ends by itself as soon as there is a share again.
    assert!(!doors.wait(now, None).expect("it polls").is_end);
    assert_eq!(heard(&mut doors, now.after(FRAME_EVERY)), [true, false]);
    assert!(matches!(doors.receive(0, &mut frame), Arrival::Frame));
    assert_eq!(heard(&mut doors, now.after(FRAME_EVERY)), [false, false]);
}

/// A channel that another socket can fill.
fn channel() -> (Doors, std::net::UdpSocket, OwnedFd) {
    let bound = || std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let (own, other) = (bound(), bound());
    other.connect(own.local_addr().expect("it is bound")).expect("it is local");
    let control = Control { socket: own.into(), members: vec![], whole_at: Nanos(0), lost: 0 };
    let (signals, never_written) = pair();
    (Doors::new(vec![], Some(control), signals), other, never_written)
}

/// Else a flood would hide what others said in time, and nobody would know.
#[test]
fn frames_that_a_socket_has_no_room_for_are_noticed() {
    let (mut doors, other, _signals) = channel();
    assert!(!doors.has_lost());
    let send = |count: usize| {
        for _ in 0..count {
            other.send(&[0; REQUEST_BYTES]).expect("it is lost at the reader");
        }
    };
    send(10);
    assert!(!doors.has_lost(), "there is room");
    send(5_000);
    assert!(doors.has_lost());
    assert!(!doors.has_lost(), "it is said once");
    let (now, mut frame) = (Nanos(7), [0; REQUEST_BYTES]);
    let mut heard = 0;
    while matches!(doors.receive_control(now, &mut frame), Heard::Frame) {
        heard += 1;
    }
    assert!((10..super::super::FRAMES_BEFORE_STEP).contains(&heard), "all before a step: {heard}");
    send(1);
    assert!(!doors.has_lost(), "there is room again");
}

/// What is no frame hides nothing that comes behind it.
#[test]
fn what_is_no_frame_is_passed_over() {
    let (mut doors, other, _signals) = channel();
    other.send(&[0; 7]).expect("there is room");
    other.send(&[0; REQUEST_BYTES]).expect("there is room");
    let mut frame = [0; REQUEST_BYTES];
    assert!(matches!(doors.receive_control(Nanos(7), &mut frame), Heard::Other));
    assert!(matches!(doors.receive_control(Nanos(7), &mut frame), Heard::Frame));
    assert!(matches!(doors.receive_control(Nanos(7), &mut frame), Heard::Nothing));
}
