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
