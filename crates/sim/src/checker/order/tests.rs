use ravelin_model::{Context, ServiceId, Suspicion};

use super::*;

const CLIENT: PublicKey = PublicKey([1; 32]);

fn order() -> Order {
    let mut order = Order::new(BTreeSet::from([ReplicaId(3)]), BTreeSet::from([CLIENT]));
    order.ask(&CLIENT, b"put");
    order
}

fn execution(position: u64, request: &[u8], reply: &[u8]) -> Execution {
    Execution {
        context: Context { position: Position(position), index: 0, time: Time(5), client: CLIENT },
        service: ServiceId::KV,
        request: request.to_vec(),
        reply: Ok(reply.to_vec()),
    }
}

fn progress(root: u8) -> Progress {
    Progress {
        commit: CommitIndex(1),
        chain: Digest([0; 32]),
        root: Digest([root; 32]),
        position: Position(1),
        time: Time(5),
    }
}

fn kind(judged: Result<(), Violation>) -> Option<&'static str> {
    judged.err().map(|violation| violation.kind)
}

#[test]
fn replicas_that_do_the_same_agree() {
    let mut order = order();
    for replica in [ReplicaId(0), ReplicaId(1)] {
        assert_eq!(order.on_executed(replica, &execution(1, b"put", b"ok")), Ok(()));
        assert_eq!(order.on_progress(replica, progress(7), Time(5)), Ok(()));
    }
    assert_eq!(order.highest(), CommitIndex(1));
}

#[test]
fn another_reply_state_or_time_is_told() {
    let mut order = order();
    order.on_executed(ReplicaId(0), &execution(1, b"put", b"ok")).unwrap();
    let other = order.on_executed(ReplicaId(1), &execution(1, b"put", b"no"));
    assert_eq!(kind(other), Some("agreement"));
    order.on_progress(ReplicaId(0), progress(7), Time(5)).unwrap();
    assert_eq!(kind(order.on_progress(ReplicaId(1), progress(8), Time(5))), Some("agreement"));
    assert_eq!(kind(order.on_progress(ReplicaId(1), progress(7), Time(4))), Some("agreed-time"));
}

#[test]
fn what_nobody_asked_or_asked_once_is_not_done_or_not_twice() {
    let mut order = order();
    let invented = order.on_executed(ReplicaId(0), &execution(1, b"steal", b"ok"));
    assert_eq!(kind(invented), Some("validity"));
    let mut stranger = execution(2, b"put", b"ok");
    stranger.context.client = PublicKey([9; 32]);
    order.ask(&stranger.context.client, b"put");
    assert_eq!(kind(order.on_executed(ReplicaId(0), &stranger)), Some("validity"));
    assert_eq!(order.on_executed(ReplicaId(0), &execution(3, b"put", b"ok")), Ok(()));
    assert_eq!(order.on_executed(ReplicaId(1), &execution(3, b"put", b"ok")), Ok(()));
    let again = order.on_executed(ReplicaId(0), &execution(4, b"put", b"ok"));
    assert_eq!(kind(again), Some("exactly-once"));
}

#[test]
fn suspicions_are_not_accusations() {
    let mut order = order();
    let seen = Misbehaviour::Suspected(Suspicion::BadParents);
    assert_eq!(order.on_accusation(ReplicaId(0), &seen), Ok(()));
    assert_eq!(order.proof_count(), 0);
}
