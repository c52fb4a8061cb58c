"""Rules that are wrong on purpose: each a bug that somebody's users met.

A mutation replaces one piece of the rules, wherever it occurs: `times`. The
simulation must notice every one (gate.py); one that no longer applies fails the
gate too: then the rule has changed, and the mutation with it.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str
    source: str  # Where such a bug was met.
    times: int = 1  # How often the file has that piece.
    faults: str = ""  # Classes in whose lives it is looked for first.
    # The signal that its mutant dies of instead, where that is how it shows. Otherwise
    # only an invariant catches: who dies may have had no chance to break one.
    dies_of: int = 0


FLEET = "gateway/fleet/fleet.cc"
JUDGING = "gateway/fleet/fleet_judging.cc"
OPERATORS = "gateway/fleet/fleet_operators.cc"
PRESENCE = "gateway/fleet/presence.cc"
HISTORY = "gateway/fleet/history_log.cc"
ADMISSION = "gateway/fleet/admission.cc"
DESK = "gateway/fleet/command_desk.cc"
LINK = "agent/link/link_machine.cc"
INCIDENTS = "gateway/fleet/fleet_incidents.cc"
MASS = "gateway/fleet/mass_silence.cc"
INSTANCES = "gateway/fleet/instances.cc"
MACHINES = "gateway/fleet/machines.cc"

MUTATIONS = [
    Mutation("judges-while-it-stops", FLEET,
             "  open_ = false;\n  loop_.Cancel(turn_timer_);\n",
             "",
             "ours, by review: a gateway that was being stopped called machines lost that it had turned away itself",
             faults="gateway-crash,goodbye"),
    Mutation("vouches-for-what-it-could-not-hear", JUDGING,
             "  if (record.status == Status::kOnline) return wall - (silent - lease);\n",
             "",
             "ours, by review: a gateway that stopped for 50 s every minute showed a machine as online, confirmed, "
             "15 minutes after it had died"),
    Mutation("own-pause-is-their-silence", JUDGING,
             "if (length <= options_.presence.blind_gap) return;",
             "if (length >= absl::ZeroDuration()) return;",
             "kubernetes #24597: all nodes NotReady at once because the controller was cut off; Mesos caps removals "
             "for the same reason"),
    Mutation("long-pause-only-shifts", PRESENCE,
             "if (gap >= policy_->blind_restart) {",
             "if (gap >= 1000 * policy_->blind_restart) {",
             "kubernetes #32510: controller failover, then every node NotReady before it could report"),
    Mutation("a-pause-leaves-the-grace", PRESENCE,
             "  // decides.\n  grace_end_.reset();\n",
             "",
             "kubernetes #32510, the short form: the shorter of two timers was forgotten"),
    Mutation("links-found-lost-after-a-pause-count", JUDGING,
             "trust_links_from_ = now + options_.presence.blind_gap;",
             "",
             "gRPC agents with keepalive 10 s: 200 of 200 streams lost when the gateway was stopped for 8 s (measured)"),
    Mutation("start-inherits-old-leases", FLEET,
             "machine.presence.Blind(Instant(), now);",
             "",
             "Nomad and Mesos: leases must be granted anew by a new leader"),
    Mutation("start-makes-everybody-offline", PRESENCE,
             "Presence p(policy, status, now);\n  p.verdict_ = std::move(verdict);",
             "Presence p(policy, Status::kOffline, now);\n  p.verdict_ = std::move(verdict);",
             "MeshCentral, Tactical RMM and others show every device offline after a server restart"),
    Mutation("old-link-ends-the-new-one", FLEET,
             "Machine* machine = Current(agent, epoch);\n  if (machine == nullptr) return;\n"
             "  const Instant now = loop_.clock().Now();\n  Pass(now);\n  Catch(*machine);\n  machine->link = nullptr;",
             "Machine* machine = machines_.Find(agent);\n  if (machine == nullptr || machine->link == nullptr) return;\n"
             "  const Instant now = loop_.clock().Now();\n  Pass(now);\n  Catch(*machine);\n  machine->link = nullptr;",
             "mochi-mqtt #483, MQTTnet #486, KAFKA-19950: the end of the old session makes the new one offline"),
    Mutation("any-epoch-counts", FLEET,
             "return machine->record.epoch == epoch ? machine : nullptr;",
             "return machine;",
             "MQTTnet #486: two sessions of one client are both taken for it"),
    Mutation("no-new-epoch", FLEET,
             "return std::max(run_ << kLinkBits | ++links_this_run_, seen + 1);",
             "return std::max(run_ << kLinkBits | links_this_run_, seen);",
             "Jepsen on etcd locks: without a fencing token the former owner still writes"),
    Mutation("no-grace", PRESENCE,
             "if (loss == LinkLoss::kPlain) grace_end_ = now + policy_->reconnect_grace;",
             "if (loss == LinkLoss::kPlain) grace_end_ = now;",
             "PatchMon #773: every reconnect behind a proxy is an offline"),
    Mutation("lost-link-is-no-news", PRESENCE,
             "if (loss == LinkLoss::kPlain) grace_end_ = now + policy_->reconnect_grace;",
             "",
             "wazuh #507: a broken connection is noticed 20 to 30 minutes later"),
    Mutation("hearing-is-enough", PRESENCE,
             "void Presence::Heard(Instant now) { heard_from_ = std::max(heard_from_, now); }",
             "void Presence::Heard(Instant now) { heard_from_ = echoed_from_ = now; }",
             "PatchMon #847: reports arrive, commands do not, the host is shown as up"),
    Mutation("a-link-is-online", FLEET,
             "machine->presence.Told(HeartbeatInterval(*machine));\n  Heard(*machine, now);",
             "machine->presence.Told(HeartbeatInterval(*machine));\n  Heard(*machine, now);\n"
             "  if (const auto c = machine->presence.Echoed(now)) Record(*machine, *c);",
             "openFrameworks #6273 and many: connected is taken for alive"),
    Mutation("old-echoes-count", FLEET,
             "if (heartbeat.acknowledged > machine->acknowledgement_echoed &&\n"
             "      heartbeat.acknowledged < answer.acknowledgement) {",
             "{",
             "wazuh #36743: status connected for eleven days, the last acknowledgement as old"),
    Mutation("offline-for-ever", FLEET,
             "if (const auto change = machine->presence.Echoed(now)) {",
             "if (machine->record.status == Status::kOffline) {\n"
             "    } else if (const auto change = machine->presence.Echoed(now)) {",
             "Nomad #27675: a client stays down for ever once it was declared so"),
    Mutation("goodbye-is-for-ever", PRESENCE,
             "  promise_end_.reset();\n",
             "",
             "SSM agent: an instance that was updated stays ConnectionLost although it answers",
             times=2),
    Mutation("promise-never-lapses", PRESENCE,
             "if (promise_end_) return *promise_end_;",
             "if (promise_end_) return Instant::Never();",
             "netdata-cloud #211: a node that left is shown as reachable"),
    Mutation("judged-once", JUDGING,
             "deadlines_.Schedule(machine.record.id, NextLook(machine));\n}",
             "}",
             "kubernetes #48681, #135205: what was left undone at the first look is never looked at again"),
    Mutation("nobody-looks", FLEET,
             "Schedule(*machine);\n  return answer;",
             "return answer;",
             "wazuh #507: the reaper knew nothing of agents on TCP"),
    Mutation("silent-links-stay", JUDGING,
             "machine.presence.SilentAt()",
             "Instant::Never()",
             "hysteria #1179, webdis #54: half-open connections are kept for hours", times=2),
    Mutation("lease-ignores-the-told-interval", PRESENCE,
             "return std::max(stale_after, 2.5 * interval);",
             "return stale_after;",
             "Nomad scales heartbeats with the cluster and had to scale the TTL with them"),
    Mutation("full-disk-loses-history", HISTORY,
             "TakeBack();\n    Log(kError,",
             "in_flight_.clear();\n    Log(kError,",
             "kubernetes #50067: the store was away when the verdict was to be written, and it never was"),
    Mutation("history-out-of-order", HISTORY,
             "waiting_.insert(waiting_.begin(),",
             "waiting_.insert(waiting_.end(),",
             "Yuzu and Breeze: an older write lands on a newer one"),
    Mutation("deleted-before-durable", OPERATORS,
             "SaveTombstone(machine, std::move(done));",
             "done(absl::OkStatus());\n  SaveTombstone(machine, [](const absl::Status&) {});",
             "syncthing #250, netdata #19609: the deleted node is back after a restart"),
    Mutation("storm-without-a-door", ADMISSION,
             "if (tokens_ >= 1) {",
             "if (true) {",
             "teleport #6889, nats-server #1368: everybody comes back in the same second"),
    Mutation("turned-away-is-silent", FLEET,
             "machine.presence.Postpone(now + *wait);",
             "",
             "nats-tcl #33: the storm itself makes clients time out, for hours"),
    Mutation("half-open-for-ever", LINK,
             "policy_.lease_intervals * interval_",
             "1000 * interval_",
             "wazuh #36743, PatchMon #773: the agent never notices a half-open connection", times=2),
    Mutation("greeting-for-ever", LINK,
             "deadline_ = now + policy_.welcome_timeout;",
             "deadline_ = Instant::Never();",
             "PatchMon #773: a dial that nobody answers is never given up"),
    Mutation("no-backoff", LINK,
             "return random_() *\n         std::min(cap, policy_.reconnect_base * std::exp2(doublings));",
             "return random_() * policy_.reconnect_base * (1 + 0 * doublings + 0 * absl::ToDoubleSeconds(cap));",
             "NodeLite #27, elastic-agent #13874: a fleet hammers the server that is down"),
    Mutation("retry-after-is-not-read", LINK,
             "if (disconnect.has_retry_after()) {",
             "if (false) {",
             "nats-server #1368: the server must be able to tell clients when to come back"),
    Mutation("silent-after-a-lost-answer", LINK,
             "if (unanswered_.empty()) return heartbeat_at_;",
             "if (!unanswered_.empty()) return Instant::Never();\n"
             "      if (unanswered_.empty()) return heartbeat_at_;",
             "SSM agent: one answer that is lost stops the timer of the next message"),
    Mutation("a-restored-copy-counts-from-its-own", FLEET,
             "const uint64_t seen = std::max(machine.record.epoch, claimed);",
             "const uint64_t seen = std::min(machine.record.epoch, claimed);",
             "own: epochs that were given before a restore are given again", faults="restored-copy,reset"),
    Mutation("held-for-ever", INCIDENTS,
             "machine.presence.Hold(options_.mass_silence.hold_max,",
             "machine.presence.Hold(100 * options_.mass_silence.hold_max,",
             "own: time to find out what happened must end", faults="switch,mute"),
    Mutation("nobody-is-held", INCIDENTS,
             "to_hold_.insert(to_hold_.end(), event->machines.begin(),\n                  event->machines.end());\n"
             "  const bool opened",
             "const bool opened",
             "kubernetes #24597: a whole zone is judged machine by machine", faults="switch,mute"),
    Mutation("one-is-a-group", MASS,
             "silent >= policy_.machines_min &&",
             "silent >= 1 &&",
             "own: an individual loss must not hide behind a group", faults="agent-crash,mute"),
    Mutation("late-words-shorten-the-wait", PRESENCE,
             "void Presence::Heard(Instant now) { heard_from_ = std::max(heard_from_, now); }",
             "void Presence::Heard(Instant now) { heard_from_ = now; }",
             "own: met by the simulation; what was still under way took the time that retry_after had given",
             faults="clone,mute,few-doors"),
    Mutation("silence-without-words", PRESENCE,
             'return Undetermined("link closed, no goodbye");',
             'return Undetermined("");',
             "own: a status nobody can explain is the support case that this product is for", faults="reset,agent-crash"),
    Mutation("every-loss-is-a-stop", PRESENCE,
             'return Undetermined("link closed, no goodbye");',
             'return Verdict{Domain::kAgent, Cause::kAgentStopped, Confidence::kLikely, "agent stopped"};',
             "own: a cause that nothing supports", faults="reset,agent-crash"),
    Mutation("silence-proves", PRESENCE,
             "return {Domain::kUnknown, Cause::kUndetermined, Confidence::kUndetermined,",
             "return {Domain::kUnknown, Cause::kUndetermined, Confidence::kProven,",
             "own: silence proves nothing", faults="mute,agent-crash"),
    Mutation("history-skips-a-number", JUDGING,
             ".sequence = ++record.transition_sequence,",
             ".sequence = record.transition_sequence += 2,",
             "own: a missing transition must show", faults="agent-crash"),
    Mutation("counted-twice", MACHINES,
             "Withdraw(machine);\n  machine.record.status = machine.presence.status();",
             "machine.record.status = machine.presence.status();",
             "own: counts that are kept beside the machines drift from them", faults="agent-crash"),
    Mutation("clones-take-turns", INSTANCES,
             "return Answer::kSayAgain;",
             "{ Succeed(hello, now, Life::kSuperseded); return Answer::kAccept; }",
             "MQTTnet #486: two sessions of one client are both taken for it", faults="clone"),
    Mutation("a-dispute-never-ends", INSTANCES,
             "other.life == Life::kProven && now - other.heard >= lease",
             "other.life == Life::kProven && false",
             "own: what is left of two must become healthy by itself", faults="clone"),
    Mutation("a-full-disk-says-nothing", DESK,
             "submitted(conflict ? IdempotencyConflict(key) : stored.status());",
             "(void)conflict;",
             "own: whoever submits must hear that nothing was written", faults="store-full,commands"),
    Mutation("judged-by-the-agents-clock", FLEET,
             "machine->presence.LinkLost(now, loss);",
             "machine->presence.LinkLost(now + std::min(absl::Seconds(1), absl::AbsDuration(machine->clock_skew.value_or("
             "absl::ZeroDuration()))), loss);",
             "own: what people do to clocks must decide nothing", faults="reset,wall-steps,agent-crash"),
    Mutation("an-address-decides", FLEET,
             "++links_this_run_",
             "(links_this_run_ += 1 + (reinterpret_cast<uintptr_t>(&machine) >> 6 & 7))",
             "own: what depends on where memory lies cannot be replayed", faults="agent-crash"),
]
