"""Takes down what happened to a fleet of real processes, for check-history.

Two voices, as in tests/simulation/history.h. The world: what the wire saw, and
what the harness did. The gateway: what it answers over REST, read again and
again, because a later life may not remember it. Of a machine's heartbeats the
agent's own log says which acknowledgement they carried.
"""
import contextlib
import datetime
import http.client
import json
import re
import threading
import time

from wire import like_a_heartbeat

POLL_EVERY_S = 1.0  # At a heartbeat of a second; less often at a slower one.
TICK_EVERY_S = 0.25

# Of its log, a heartbeat may be written a little later than it was sent.
LOG_LATE_S = 0.1
# REST and logs cut off what is below a millisecond.
CUT_OFF_S = 0.001
# The promise of an agent that got SIGTERM.
GOODBYE_S = 30.0

# Of events at one time, which comes first.
_ORDER = ["stalled", "crashed", "rolled_back", "opened", "restored", "admitted", "accepted",
          "arrived", "link_broke", "goodbye", "decided", "handled", "stored"]


def wall(text):
    """Seconds since 1970 of "2026-01-01T00:00:00.123Z"."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Machine:
    """One agent, the address that it dials, and what was seen of it so far."""

    def __init__(self, number, agent, address):
        self.number, self.agent, self.address = number, agent, address
        self.agent_id = agent.agent_id
        self.healthy = True    # Nothing of it, or of its way, is broken in the end.
        self.judged = True     # Its events are part of the history.
        self.links = {}        # By epoch and time, as REST showed them last.
        # By sequence and time: a later life may decide again what was lost.
        self.decided = {}      # → the transition, as it was seen first.
        self.stored = {}       # → when it was first seen durable.
        self.samples = []      # Of the gateway's tap, each once.
        self.next_sample = None

    def log_lines(self, *messages):
        """(wall time, message, fields) of its agent's log."""
        line = re.compile(r"^time=(\S+) level=\w+ msg=(%s) (.*)$" % "|".join(messages), re.M)
        for at, message, rest in line.findall(self.agent.text()):
            yield wall(at), message, dict(re.findall(r"(\w+)=(\S+)", rest))


class Recorder:
    """Records from start() until finish()."""

    def __init__(self, gateway, wire, promises):
        self.gateway, self.wire, self.promises = gateway, wire, promises
        self.machines = []
        self.events = []
        self.wall_steps = [(0.0, 0.0)]  # (since when, how far the gateway's wall is off).
        self.leaps = []         # (when, by how much the gateway's boottime leapt ahead).
        self._wall_is = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._start = self.now_wall()
        self._busy = threading.Lock()  # One poll at a time.
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._poll_on, daemon=True)

    # --- What the harness says ----------------------------------------------

    def now_wall(self):
        """By the boottime, in terms of the wall when the recording began."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self._wall_is

    def say(self, what, at=None, **fields):
        """An event of the world, now unless `at` (wall) says otherwise."""
        at = self.now_wall() if at is None else at
        self.events.append({"at": at, "what": what, **fields})

    def add(self, agent, address):
        machine = Machine(len(self.machines) + 1, agent, address)
        self.machines.append(machine)
        return machine

    def start(self):
        self._thread.start()

    @contextlib.contextmanager
    def no_polls(self):
        """While the gateway's life changes, so that no answer is taken for another's."""
        with self._busy:
            yield

    def poll(self):
        """Reads all the gateway has to say; nothing if it does not answer."""
        with self._busy, contextlib.suppress(OSError, http.client.HTTPException):
            for machine in self.machines:
                self._poll(machine)

    def read_disk(self):
        """After a crash: what is on the disk is stored, whoever was told."""
        for machine in self.machines:
            for sequence, at_us in self.gateway.query(
                    "SELECT sequence, at_us FROM transitions WHERE agent=?", machine.agent_id):
                machine.stored.setdefault((sequence, at_us // 1000), self.now_wall())

    def opened(self, since):
        """The gateway is ready. Its process began at `since`: the earliest from which its
        leases can run; what it could not do before now is not its fault."""
        self.say("opened", since)
        ready = self.now_wall()
        self.say("stalled", ready, length=ready - since)
        for machine in self.machines:
            status = self.gateway.get(f"/api/agents/{machine.agent_id}")["status"]
            shown = self._transitions(machine)
            remembered = [t for t in shown if self._true(t["at"], self.now_wall()) < since]
            newest = max(remembered, key=lambda t: t["sequence"],
                         default={"sequence": 0, "to": "stale"})
            if len(remembered) < len(shown):  # It has changed since.
                status = newest["to"]
            self.say("restored", since, machine=machine.number, number=newest["sequence"],
                     to=status)

    # --- What the gateway says ----------------------------------------------

    def _poll_on(self):
        while not self._ends.wait(POLL_EVERY_S * self.promises["heartbeat_interval"] ** 0.5):
            self.poll()

    def _poll(self, machine):
        seen = self.now_wall()
        for t in self._transitions(machine):
            key = (t["sequence"], round(wall(t["at"]) * 1000))
            machine.decided.setdefault(key, {**t, "seen": seen})
            if t["durable"]:
                machine.stored.setdefault(key, seen)
        path = f"/api/agents/{machine.agent_id}"
        for link in self.gateway.get(f"{path}/links?limit=1000", timeout_s=3)["links"]:
            key = (link["epoch"], link["opened_at"])
            machine.links.setdefault(key, {"seen": seen}).update(link)
        after = "" if machine.next_sample is None else f"?after={machine.next_sample}"
        tap = self.gateway.get(f"{path}/heartbeats{after}", timeout_s=3)
        machine.next_sample = tap["next"]
        machine.samples += [{**sample, "seen": seen} for sample in tap["heartbeats"]]

    def _transitions(self, machine):
        return self.gateway.get(f"/api/agents/{machine.agent_id}/transitions?limit=1000",
                                timeout_s=3)["transitions"]

    def _true(self, text, seen):
        """When it was what the gateway's wall clock called `text`, which was first
        `seen` then: the newest time that fits."""
        at = wall(text)
        fits = [at - off for since, off in self.wall_steps
                if at - off <= seen + 0.5 and at - off >= since - 0.5]
        return max(fits, default=at)

    def stop(self):
        """No more is read. May be called again."""
        self._ends.set()
        if self._thread.ident:
            self._thread.join()
        self.wire.end()

    # --- Putting it together ------------------------------------------------

    def finish(self):
        """Ends the recording: `events` are whole then."""
        self.poll()
        self.stop()
        end = self.now_wall()
        for machine in self.machines:
            if machine.judged:
                self._write(machine, end)
        self._tick(end)
        for event in self.events:
            event["at"] += sum(by for when, by in self.leaps if event["at"] >= when)
        self.events.sort(key=lambda e: (
            e["at"], _ORDER.index(e["what"]) if e["what"] in _ORDER else len(_ORDER),
            e.get("number", 0)))

    def _tick(self, end):
        """Nobody expects anything of a gateway that is stopped."""
        stalls = [(e["at"] - e["length"], e["at"]) for e in self.events if e["what"] == "stalled"]
        at = self._start
        while at < end:
            at += TICK_EVERY_S
            if not any(since < at <= until for since, until in stalls):
                self.say("tick", at)

    def text(self, judge):
        """The history, as check-history reads it."""
        lines = [json.dumps({"promises": self.promises, "judge": judge})]
        lines += [json.dumps({**e, "at": round(e["at"] - self._start, 6)}) for e in self.events]
        return "\n".join(lines) + "\n"

    def _write(self, machine, end):
        number = machine.number
        told = self.promises["heartbeat_interval"]
        registered = self.gateway.get(f"/api/agents/{machine.agent_id}")["registered_at"]
        self.say("admitted", wall(registered), machine=number)
        handled = {(s["epoch"], s["sequence"]): self._true(s["at"], s["seen"])
                   for s in machine.samples}
        heartbeats = self._heartbeats(machine, handled)
        for (epoch, _), (arrived, echo) in heartbeats.items():
            if arrived is not None:
                self.say("arrived", arrived, machine=number, epoch=epoch, number=echo,
                         length=told)
        for connection in self.wire.connections[machine.address]:
            self.say("dialled", connection.dialled_at, machine=number)
        for link in machine.links.values():
            self._write_link(machine, link, told)
        transitions = self._write_transitions(machine)
        for (epoch, sequence), at in handled.items():
            arrived, echo = heartbeats[epoch, sequence]
            if arrived is None:
                raise AssertionError(f"machine {number}: heartbeat {sequence} of link {epoch} was "
                                     "dealt with, and never reached the gateway's host")
            self.say("handled", at + CUT_OFF_S, machine=number, epoch=epoch, number=echo, flag=True,
                     to=self._status_after(transitions, at), length=told)
        self.say("healthy", end, machine=number, flag=machine.healthy)

    def _write_link(self, machine, link, told):
        epoch = link["epoch"]
        opened = self._true(link["opened_at"], link["seen"])
        self.say("accepted", opened, machine=machine.number, epoch=epoch, length=told)
        ended = link.get("ended")
        if ended in (None, "gateway_stopped"):
            return
        closed = self._true(link["closed_at"], self.now_wall())
        if ended == "goodbye":
            said = max(at for at, _, _ in machine.log_lines("stopping")
                       if at <= closed + self.promises["blind_gap"])
            taken = [self._true(t["at"], t["seen"]) for t in machine.decided.values()
                     if t["epoch"] == epoch and t.get("cause") == "agent_stopped"]
            self.say("goodbye", min([said, *taken]), machine=machine.number,
                     cause="agent_stopped", length=GOODBYE_S)
            self.say("link_broke", closed, machine=machine.number, epoch=epoch)
        elif ended == "closed_by_peer":
            self.say("link_broke", self._broke(machine, opened, closed), machine=machine.number,
                     epoch=epoch)
        else:
            self.say("link_broke", closed, machine=machine.number, epoch=epoch, flag=True)

    def _broke(self, machine, opened, closed):
        """When the end of a link could be seen here: its connection was ended, or the
        agent's log says that it gave the link up."""
        seen = [c.broke_at for c in self.wire.connections[machine.address]
                if c.broke_at and opened <= c.broke_at <= closed + CUT_OFF_S]
        seen += [at for at, _, _ in machine.log_lines("disconnect") if opened < at <= closed + 1]
        if not seen:
            raise AssertionError(f"machine {machine.number}: a link was closed_by_peer at {closed},"
                                 " and nothing of the kind reached the gateway's host")
        return min(max(seen), closed)

    def _write_transitions(self, machine):
        """What was decided and what became durable; [(when, to)] in order."""
        shown = []
        for key, t in machine.decided.items():
            at = self._true(t["at"], t["seen"]) + CUT_OFF_S
            shown.append((at, t["to"]))
            of = {"machine": machine.number, "number": t["sequence"],
                  **{k: t[k] for k in ("from", "to", "epoch")}}
            self.say("decided", at, flag=1 <= len(t["summary"]) <= 48, **of,
                     **{k: t[k] for k in ("domain", "cause", "confidence") if k in t})
            if key in machine.stored:
                self.say("stored", max(at, machine.stored[key]), **of)
        return sorted(shown)

    def _status_after(self, transitions, at):
        """What a heartbeat that was dealt with `at` left behind, by [(when, to)]: it may
        take a busy machine a moment to say so."""
        moment = at + self.promises["blind_gap"]
        if any(at <= when <= moment and to == "online" for when, to in transitions):
            return "online"
        return next((to for when, to in reversed(transitions) if when <= at + CUT_OFF_S), "stale")

    def _heartbeats(self, machine, handled):
        """(epoch, sequence) → (when it reached the gateway's host or None, its echo).
        `handled`: when the gateway dealt with them."""
        found, epoch, acknowledged, connected = {}, 0, 0, 0
        connection, taken = None, 0
        lines = list(machine.log_lines("connected", "heartbeat_sent", "heartbeat_acknowledged"))
        sent = [at for at, message, _ in lines if message == "heartbeat_sent"]
        for at, message, fields in lines:
            if message == "connected":
                epoch, acknowledged, connected = int(fields["epoch"]), 0, at
                connection, taken = self._connection(machine, at), 0
            elif message == "heartbeat_acknowledged":
                acknowledged = int(fields["sequence"])
            elif connection:
                of = epoch, int(fields["sequence"])
                next_sent = next((later for later in sent if later > at), None)
                taken, arrived = find_message(connection.messages, taken,
                                              max(at - LOG_LATE_S, connected), handled.get(of),
                                              next_sent)
                # A pause shorter than the blind gap is nobody's fault.
                moment = self.promises["blind_gap"]
                if arrived and of in handled and handled[of] - arrived <= moment:
                    arrived = handled[of]
                # The welcome is the first acknowledgement.
                found[of] = (arrived, acknowledged + 1)
        return found

    def _connection(self, machine, at):
        """On which a link was made that the agent knew of at `at`."""
        def newest(connection):
            return max((m[0] for m in connection.messages if m[0] <= at + CUT_OFF_S), default=0)
        return max(self.wire.connections[machine.address], key=newest, default=None)


def find_message(messages, taken, since, until, next_sent):
    """The first heartbeat after `taken` that was whole at or after `since`: what is taken
    then, and when it was whole; None if none came. One that was dealt with, at `until`, did
    come: then it is, failing that, the last one before, as the log was later still. A record
    that may be something else is this one only if it came at once, and nothing else came
    before `next_sent`, when the next one was sent."""
    def came(surely):
        return [(i + 1, at) for i, (at, length) in enumerate(messages)
                if i >= taken and like_a_heartbeat(length, surely)
                and (until is None or at <= until + CUT_OFF_S)]
    sure = came(True)
    first = next((message for message in sure if message[1] >= since), None)
    if next_sent is not None and (first is None or first[1] >= next_sent):
        at_once = [m for m in came(False) if since <= m[1] <= since + 2 * LOG_LATE_S]
        first = next(iter(at_once), first)
    if first or until is None:
        return first or (taken, None)
    return (sure or came(False) or [(taken, None)])[-1]
