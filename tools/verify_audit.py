#!/usr/bin/env python3
"""Checks an exported audit log without Ravelin's code: verify_audit.py FILE FINGERPRINT

Prints what the file proves, or says what is wrong with it and ends with exit code 6. The formats
are those of docs/wire.md.
"""

import json
import sys

sys.dont_write_bytecode = True  # nothing is left beside the program
from blake3 import derived, keyed
from ed25519 import verify

REFUSALS = ("unknown_client", "unknown_session", "forgotten", "too_many_sessions", "stale_opening",
            "malformed", "unknown_service", "too_large", "halted", "too_much_work", "unfit")
ZERO = bytes(32)


class Wrong(Exception):
    pass


def need(holds, otherwise):
    if not holds:
        raise Wrong(otherwise)


class Reader:
    """Reads canonical bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        need(self.at <= len(self.data), "something is cut short")
        return self.data[self.at - count:self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def text(self):
        return self.take(self.number(4))

    def all(self, read):
        return [read() for _ in range(self.number(4))]

    def option(self, read):
        return read() if self.number(1) else None

    def end(self):
        need(self.at == len(self.data), "something has a tail")


def number(value, count):
    return value.to_bytes(count, "little")


def digest(context, *parts):
    return derived(context, b"".join(number(len(part), 8) + part for part in parts))


def domain(name):
    return name.encode().ljust(32, b"\0")


def signed(name, key, message, signature):
    return verify(key, bytes([len(name)]) + name.encode() + message, signature)


class Plan:
    def __init__(self, data):
        it = Reader(data)
        need(it.number(2) == 2, "a plan has an unknown format")
        it.text(), it.take(1)
        self.incarnation, self.epoch = it.number(4), it.number(8)
        previous = it.option(lambda: it.take(120))
        self.previous = previous and previous[:32]
        hybrid, self.f, _ = it.number(1) == 1, it.number(2), it.number(2)
        wormhole = lambda: (it.take(32), it.option(lambda: it.take(32)))
        self.members = it.all(lambda: (it.text(), it.take(32), it.take(32), it.take(32),
                                       it.option(wormhole), [it.text() for _ in range(5)])[2])
        self.administrators, self.needed = it.all(lambda: it.take(32)), it.number(2)
        it.all(lambda: (it.text(), it.take(32))), it.take(16)
        self.bytes = data[:it.at]
        self.digest = digest("ravelin plan v1", self.bytes)
        self.signatures = it.all(lambda: (it.take(32), it.take(64)))
        it.end()
        count = len(self.members)
        self.quorum = count // 2 + 1 if hybrid else (count + self.f) // 2 + 1

    def signers(self, keys, name, message):
        """How many of `keys` signed."""
        return len({key for key, signature in self.signatures
                    if key in keys and signed(name, key, message, signature)})


def plan_of(epoch, fingerprint, plans):
    """The plan of an epoch, followed from the fingerprint."""
    current = Plan(plans[0])
    need(current.digest == fingerprint and current.previous is None, "it is of another cluster")
    by = current.signers(current.administrators, "ravelin/plan/v1", current.bytes)
    need(by >= current.needed > 0, "too few administrators signed the first plan")
    for plan in map(Plan, plans[1:]):
        if current.epoch == epoch:
            break
        need(plan.previous == current.digest and plan.epoch == current.epoch + 1, "a plan is missing")
        by = plan.signers(current.members, "ravelin/handover/v1", plan.digest)
        need(by >= current.quorum, "too few servers signed a later plan")
        current = plan
    need(current.epoch == epoch, "the plan of its epoch is missing")
    return current


def state_root(statements, fingerprint, plans):
    """The state that a quorum signed; beside it, the commit."""
    need(statements, "nobody signed")
    statement = statements[0][2:-64]
    it = Reader(statement)
    cluster, incarnation, epoch, commit = it.take(32), it.number(4), it.number(8), it.number(8)
    plan = plan_of(epoch, fingerprint, plans)
    need(cluster == fingerprint and incarnation == plan.incarnation, "it is of another cluster")
    signers = set()
    for one in statements:
        member = int.from_bytes(one[:2], "little")
        need(one[2:-64] == statement and member < len(plan.members), "statements differ")
        holds = signed("ravelin/statement/v1", plan.members[member], statement, one[-64:])
        need(holds, "a server's signature does not hold")
        signers.add(member)
    need(len(signers) == len(statements) >= plan.quorum, "too few servers signed")
    return statement[100:132], commit


def check_state(root, key, value, nodes):
    """Whether the state has that value under the key: the search from the root to its place."""
    wanted, expected, above = keyed(domain("ravelin state path v1"), key), root, b""
    bits = "".join(f"{byte:08b}" for byte in wanted)
    for depth, node in enumerate(nodes):
        need(len(node) == 128, "a node is malformed")
        path, held, left, right = (node[at:at + 32] for at in range(0, 128, 32))
        shared = "".join(f"{byte:08b}" for byte in path).startswith(bits[:depth])
        holds = keyed(domain("ravelin state node v1"), node) == expected
        need(shared and above < path and holds, "the way to the signed state does not hold")
        if path == wanted:
            need(depth + 1 == len(nodes) and value is not None, "the way does not end at the head")
            return need(held == keyed(domain("ravelin state value v1"), value), "the head is another")
        above, expected = path, left if bits[depth] == "0" else right
    need(expected == ZERO and value is None, "the way does not end at the head")


def operation(it):
    """An operation's canonical bytes."""
    asked, shown = bytes.fromhex(it["request"]), bytes.fromhex(it.get("bytes", ""))
    if shown:
        holds = keyed(domain("ravelin audit text v1"), shown) == asked and shown[0] == it["verb"]
        need(holds, "a request is not the one that was recorded")
    if it["outcome"] == "done":
        outcome = b"\0" + number(it["kind"], 1) + bytes.fromhex(it["reply"])
    else:
        need("kind" not in it and "reply" not in it, "a refusal has a reply")
        outcome = b"\1" + number(REFUSALS.index(it["outcome"]), 1)
    return number(it["index"], 2) + number(it["service"], 1) + number(it["verb"], 1) + asked + outcome


def envelope(it):
    head = number(it["position"], 8) + bytes.fromhex(it["client"]) + number(it["session"], 8)
    operations = [operation(one) for one in it["operations"]]
    return head + number(it["first"], 8) + number(len(operations), 4) + b"".join(operations)


def check(lines, fingerprint):
    header = json.loads(next(lines))
    need(header["format"] == "ravelin-audit/1", "it is no exported audit log")
    binary = {name: [bytes.fromhex(it) for it in header[name]] for name in ("plans", "statements", "path")}
    root, commit = state_root(binary["statements"], fingerprint, binary["plans"])
    lists, operations, head = header["lists"], header["operations"], bytes.fromhex(header["digest"])
    value = number(lists, 8) + number(operations, 8) + head if lists else None
    check_state(root, b"\xf0h", value, binary["path"])
    newest, count = lists, 0
    for line in map(json.loads, lines):
        if line.get("end"):
            need(line["oldest"] == lists + 1 and next(lines, None) is None, "it ends elsewhere")
            need(lists > 0 or count == operations and head == ZERO, "it does not begin at the beginning")
            return f"verified: {count} operations in {newest - lists} lists, up to commit {commit}"
        envelopes = [envelope(it) for it in line["envelopes"]]
        listed = number(line["commit"], 8) + number(line["time_us"], 8)
        listed += number(len(envelopes), 4) + b"".join(envelopes)
        before = bytes.fromhex(line["before"])
        holds = line["list"] == lists > 0 and digest("ravelin audit v1", before, listed) == head
        need(holds, f"list {lists} is not the one that was recorded")
        count += sum(len(it["operations"]) for it in line["envelopes"])
        lists, head = lists - 1, before
    raise Wrong("it is cut short")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            print(check(iter(file), bytes.fromhex(sys.argv[2])))
    except (Wrong, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
            StopIteration) as error:
        print(f"WRONG: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(6)
