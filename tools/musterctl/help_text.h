// What `--help` says beyond the flags.

#ifndef MUSTER_TOOLS_MUSTERCTL_HELP_TEXT_H_
#define MUSTER_TOOLS_MUSTERCTL_HELP_TEXT_H_

namespace muster::ctl {

inline constexpr char kProgramFooter[] =
    R"(Settings: flag, then environment, then context, then default.
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 gateway
unreachable, 6 conflict, 7 machine not online, 124 timed out, 130 interrupted.)";

inline constexpr char kLoginHelp[] =
    "check a token with the gateway and keep it as a context; without "
    "--token-file it is asked for or read from stdin";
inline constexpr char kLoginExample[] =
    "musterctl login -s https://gw:7080 --pin sha256//… --token-file "
    "admin-token";

inline constexpr char kRunFooter[] =
    R"(One word after -- is a text for the shell: pipes and variables work there.
Several words are executed as they are, without a shell; with --shell bash, sh
or zsh they are quoted for it.

On many machines (-l, --status, --hostname, --all) each line stands behind the
machine's name, and the exit code is 0 only if it succeeded on every one; see
musterctl batches.

Exit code on one: the command's own; 128+n killed by signal n; 124 timed out; 125 it
did not run (safe to repeat); 255 outcome unknown (do not repeat). Unless it is
the command's own, the last line on stderr says which.

Ctrl-C asks to cancel; a second one leaves the command running.

Examples:
  musterctl run web-1 -- 'df -h | grep /var'
  musterctl run web-1 --timeout 10m -- apt-get -y upgrade
  musterctl run web-1 --shell python3 --script check.py
  musterctl run web-1 --user postgres --input dump.sql -- psql shop
  musterctl run -l env=prod --canary 1 --stop-after 5% -- systemctl restart shop)";

inline constexpr char kExecFooter[] =
    R"(Words after -- are executed as they are, without a shell; none: the user's login
shell. The session lives on when this terminal or a connection is lost:
musterctl sessions attach goes on in it.

At the start of a line: ~d leaves it, ~. ends it, ~? tells the keys.

Exit code: the program's own, and those of musterctl run; 0 if it was left.

Examples:
  musterctl exec web-1
  musterctl exec -it web-1 --user postgres -- psql shop
  musterctl exec web-1 --record --purpose 'ticket 4711' -- top)";

inline constexpr char kHistoryFooter[] =
    R"help(Newest first. FOR is how long the status lasted, or has lasted. Lines that begin
with "gateway" tell when the gateway itself could not hear: nobody was judged
then ("blind"), or nobody without a link ("deaf"). An offline that is
"(disputed)" should not have been said; the line "disputed" tells why.

Examples:
  musterctl agents history web-1
  musterctl agents history web-1 --since 24h --links
  musterctl agents history web-1 --since 7d -o json)help";

inline constexpr char kIncidentsFooter[] =
    R"(Newest first. An incident: many machines of one group (subnet, or label
muster.group) fell silent together. Lines of "gateway" tell when the gateway
itself could not hear.

Examples:
  musterctl incidents
  musterctl incidents --since 24h -o wide)";

inline constexpr char kEventsFooter[] =
    R"(Transitions, notes, incidents, machines that join or are deleted, and when the
gateway itself could not hear. -o wide shows the version of each: --since it goes on after that one, without a gap, as
long as the gateway runs and keeps it. With -o json each event is one line of
JSON. A gateway that restarts is waited for.

Examples:
  musterctl events -f
  musterctl events -f -o json
  musterctl events --since 3-1763852400123458)";

inline constexpr char kWatchFooter[] =
    R"(RTT is the round trip that the agent measured with the heartbeat before; SKEW
is the machine's clock minus the gateway's. Ctrl-C ends it. It costs the gateway
nothing while nobody watches. With -o json each heartbeat is one line of JSON.
A gateway that restarts is waited for.

Examples:
  musterctl agents watch web-1
  musterctl agents watch web-1 --count 3 -o json)";

inline constexpr char kPresenceSetFooter[] =
    R"(A machine's own setting comes before that of --org, and that before the
gateway's. "inherit" takes it back. For each machine it holds from its next
heartbeat on; nobody becomes stale or offline by the change alone.

With --offline-after never, silence and lost links change nothing: the machine
stays what it was. Of machines chosen by labels, status and name, at most 10,000
at once, all or none are written.

Examples:
  musterctl presence set web-1 --offline-after never
  musterctl presence set web-1 --offline-after inherit
  musterctl presence set -l room=lab --stale-after 3m --offline-after 10m
  musterctl presence set --org --heartbeat-interval 10s --stale-after 30s)";

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_HELP_TEXT_H_
