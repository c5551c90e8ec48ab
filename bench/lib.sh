# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# lib: what the benchmark scripts share. Sourced, not run. Environment:
#   BUILD   the build directory (../build)
#   SCRATCH where files go: a directory on the file system to measure (a new one in TMPDIR)
#   RUNS    how often each thing is measured after its warm-up (10)
#   SCALE   divides the numbers of events, to try a script out quickly (1)
#   WARM    MiB of memory that are touched before a run, on a guest that gives free memory back to its host (1024 / SCALE)
#   JSONL   where the rows go as JSON Lines, too ($BUILD/bench/NAME.jsonl)
# A table is made of rows: measured values of one thing, of which median, minimum and maximum are
# shown, the ratio of the median to that of the table's base, measured in the same run, and whether
# the goal is met (at SCALE 1; a goal that says what a tenth of the events must reach says nothing).
set -euo pipefail
export LC_ALL=C

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=${BUILD:-$bench_dir/../build}
RUNS=${RUNS:-10}
SCALE=${SCALE:-1}
WARM=${WARM:-$((1024 / SCALE))}
EVFS=${EVFS:-$BUILD/evfs}
[ -x "$EVFS" ] || EVFS=$BUILD/fs/evfs
drivers=$BUILD/bench
if [ -z "${SCRATCH:-}" ]; then
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/evfs-bench.XXXXXX")
else
    SCRATCH=$(mktemp -d "$SCRATCH/evfs-bench.XXXXXX")
fi
[ -d "$BUILD/bench" ] || JSONL=${JSONL:-/dev/null}
JSONL=${JSONL:-$BUILD/bench/$(basename "$0" .sh).jsonl}
: >"$JSONL"
mnt=$SCRATCH/mnt
daemon=
servers=()
rows=
v=()
us=

die() { echo "$0: $*" >&2; exit 1; }
say() { echo "# $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
need() { [ -x "$drivers/$1" ] || die "$drivers/$1 is missing: meson setup build && ninja -C build"; }

unmount() { if have fusermount3; then fusermount3 -u "$mnt"; else umount "$mnt"; fi; }

# Only what this script began is ended.
stop_store() {
    [ -n "$daemon" ] || return 0
    for _ in $(seq 50); do
        unmount && break
        sleep 0.1
    done
    # Still busy after five seconds: SIGTERM ends it as cleanly.
    if mountpoint -q "$mnt"; then kill "$daemon" || true; fi
    wait "$daemon" || say "the daemon ended with $?"
    daemon=
}
cleanup() {
    local status=$? server
    trap '' INT TERM # a second one must leave neither a server nor files
    stop_store
    for server in "${servers[@]}"; do
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
    if mountpoint -q "$mnt" 2>/dev/null; then say "$mnt is still mounted: left"; else rm -rf "$SCRATCH"; fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# start_store DATA [OPTION...]: mount it at $mnt; the daemon is $daemon.
start_store() {
    local data=$1 log=$SCRATCH/daemon.log
    shift
    [ -x "$EVFS" ] || die "$EVFS is missing"
    mkdir -p "$mnt"
    "$EVFS" mount -f "$@" "$data" "$mnt" >"$log" 2>&1 &
    daemon=$!
    for _ in $(seq 300); do
        if mountpoint -q "$mnt"; then return 0; fi
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    daemon=
    die "the store was not mounted"
}

# served PID COMMAND...: a server that was started in the background; it is there when the command works. It is
# stopped when the script ends, whatever the end.
served() {
    servers+=("$1")
    for _ in $(seq 300); do
        ! "${@:2}" >/dev/null 2>&1 || return 0
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    die "did not start: $(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || echo "process $1")"
}

# warm: before each run that is measured and takes new memory, so that none is about memory that the host of this guest has to provide first.
warm() {
    [ ! -e /sys/module/page_reporting ] || [ ! -x "$drivers/evfs-warm" ] || "$drivers/evfs-warm" "$WARM"
}

# Values are measured into the array v, then put into another unit, then made a row:
#   each FUNCTION; rate 1000; row "thousand things" things/s

# elapsed COMMAND...: us is the microseconds that it took; its output goes to stderr.
elapsed() {
    local begin=${EPOCHREALTIME/./}
    "$@" >&2
    us=$((${EPOCHREALTIME/./} - begin))
}

# each COMMAND...: v is what us is after each run of the command, which calls elapsed in the end;
# after one run as a warm-up.
each() {
    v=()
    "$@"
    for _ in $(seq "$RUNS"); do
        warm
        "$@"
        v+=("$us")
    done
}

# drive COMMAND...: v is the lines that a driver prints.
drive() {
    "$@" >"$SCRATCH/out"
    mapfile -t v <"$SCRATCH/out"
}

# convert EXPRESSION: of awk, of a value $1.
convert() { mapfile -t v < <(printf '%s\n' "${v[@]}" | awk "{ $1 }"); }
rate() { convert "printf \"%.0f\\n\", $1 * 1e6 / \$1"; }    # us for $1 things -> things/s
per() { convert "printf \"%.2f\\n\", \$1 / $1"; }           # us for $1 things -> us each

# row NAME UNIT [GOAL]: of v. A goal is ">=4000000" or "<=5", or of the ratio to the base, ">=1.6x".
row() {
    local figure
    [ ${#v[@]} -gt 0 ] || die "no value for: $1"
    for figure in "${v[@]}"; do
        [[ $figure =~ ^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$ ]] || die "$1: not a figure: $figure"
    done
    rows+=$(printf '%s\n' "${v[@]}" | sort -g | awk -v name="$1" -v unit="$2" -v goal="${3:-}" '
        { a[NR] = $1 }
        function at(share) { return a[1 + int((NR - 1) * share + 0.5)] }
        END {
            print name "\t" unit "\t" a[int((NR + 1) / 2)] "\t" a[1] "\t" a[NR] "\t" NR "\t" goal \
                "\t" at(0.25) "\t" at(0.75)
        }')$'\n'
}

# What is compared takes turns, so that a machine that slows down slows all of it:
#   measure NAME UNIT [GOAL] -- COMMAND...   the command prints one figure
#   rounds                                   each once as a warm-up, then RUNS times in turn; their rows
m_name=()
m_row=()
m_command=()
measure() {
    local args=()
    m_name+=("$1")
    while [ "$1" != -- ]; do
        args+=("$1")
        shift
    done
    shift
    m_row+=("$(printf '%q ' "${args[@]}")")
    m_command+=("$(printf '%q ' "$@")")
}
rounds() {
    local m_i # a name that no command sets
    for m_i in "${!m_row[@]}"; do
        say "${m_name[m_i]}"
        eval "${m_command[m_i]}" >"$SCRATCH/round.$m_i"
        : >"$SCRATCH/round.$m_i"
    done
    for _ in $(seq "$RUNS"); do
        for m_i in "${!m_row[@]}"; do
            warm
            eval "${m_command[m_i]}" >>"$SCRATCH/round.$m_i"
        done
    done
    for m_i in "${!m_row[@]}"; do
        mapfile -t v <"$SCRATCH/round.$m_i"
        [ ${#v[@]} = "$RUNS" ] || die "${m_name[m_i]}: ${#v[@]} figures of $RUNS runs"
        eval "row ${m_row[m_i]}"
    done
    m_name=()
    m_row=()
    m_command=()
}
# A command for measure, out of one that calls elapsed in the end: things a second, or us each.
rate_of() { local n=$1; shift; "$@"; awk "BEGIN { printf \"%.0f\\n\", $n * 1e6 / $us }"; }
us_of() { local n=$1; shift; "$@"; awk "BEGIN { printf \"%.2f\\n\", $us / $n }"; }

# answers ARGUMENT...: of evfs-query, which asks in turns by itself. answer QUESTION NAME [GOAL]: a row of it.
answers() {
    need evfs-query
    one_core "$drivers/evfs-query" --runs "$RUNS" "$@" >"$SCRATCH/answers"
}
answer() {
    mapfile -t v < <(awk -v q="$1" '$1 == q { print $2 }' "$SCRATCH/answers")
    row "$2" us ${3:+"$3"}
}

# absent NAME WHY, missing NAME PROGRAM: a row that could not be measured.
absent() { rows+="$1"$'\t'"$2"$'\n'; }
missing() { absent "$1" "$2 is not installed"; }

# memory_of PID: bytes of the process and its children, without files that the kernel has in its cache.
memory_of() {
    local p
    for p in "$1" $(cat "/proc/$1/task/$1/children"); do
        cat "/proc/$p/smaps_rollup" 2>/dev/null || true
    done | awk '/^Pss_(Anon|Shmem)/ { kb += $2 } END { print kb * 1024 }'
}

# table [BASE [PREFIX]]: print the rows, those whose names begin with PREFIX, and forget them. BASE is the name of
# the row that the others of the same unit are divided by.
table() {
    local mine
    mine=$(awk -v p="${2:-}" 'index($0, p) == 1' <<<"$rows")
    rows=$(awk -v p="${2:-}" '$0 != "" && index($0, p) != 1 { print }' <<<"$rows")
    rows=${rows:+$rows$'\n'}
    printf '%s\n' "$mine" | grep . | awk -F '\t' -v base="${1:-}" -v json="$JSONL" -v script="$(basename "$0" .sh)" \
        -v scale="$SCALE" '
        function quoted(s) { gsub(/["\\]/, "\\\\&", s); return "\"" s "\"" }
        function verdict(goal, got, ratio) {
            if (goal ~ /x$/ && ratio != "") got = ratio + 0 # a number: as text 9.5 is more than 10
            else if (goal ~ /x$/) got = ""
            if (goal == "" || got == "" || scale != 1) return ""
            return (goal ~ /^>/ ? got >= substr(goal, 3) + 0 : got <= substr(goal, 3) + 0) ? "met" : "missed"
        }
        { line[NR] = $0; if ($1 == base) { b = $3; unit = $2 } if ($7 != "") goals = 1 }
        END {
            print "| what | unit | median | min - max | runs | " (base == "" ? "" : "to \"" base "\"") " |" \
                (goals ? " goal |" : "")
            print "|---|---|---|---|---|---|" (goals ? "---|" : "")
            for (i = 1; i <= NR; i++) {
                n = split(line[i], f, "\t")
                j = "{\"bench\":" quoted(script) ",\"what\":" quoted(f[1])
                if (n == 2) {
                    print "| " f[1] " | | missing: " f[2] " | | | |" (goals ? " |" : "")
                    print j ",\"missing\":" quoted(f[2]) "}" >>json
                    continue
                }
                ratio = (base != "" && f[2] == unit && b > 0) ? sprintf("%.2f", f[3] / b) : ""
                met = verdict(f[7], f[3], ratio)
                print "| " f[1] " | " f[2] " | " f[3] " | " f[4] " - " f[5] " | " f[6] " | " ratio " |" \
                    (goals ? " " f[7] (met == "" ? "" : ": " met) " |" : "")
                print j ",\"unit\":" quoted(f[2]) ",\"median\":" f[3] ",\"min\":" f[4] ",\"q1\":" f[8] \
                    ",\"q3\":" f[9] ",\"max\":" f[5] ",\"runs\":" f[6] ",\"scale\":" scale \
                    (ratio == "" ? "" : ",\"base\":" quoted(base) ",\"ratio\":" ratio) \
                    (f[7] == "" ? "" : ",\"goal\":" quoted(f[7])) \
                    (met == "" ? "" : ",\"met\":" (met == "met" ? "true" : "false")) "}" >>json
            }
            print ""
        }'
}

# machine: one line that every figure needs beside it.
machine() {
    local cpu fs speed=
    [ ! -x "$drivers/evfs-gate" ] || speed=" of $("$drivers/evfs-gate" speed) GHz (as work sees it)"
    cpu=$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
    fs=$(stat -f -c %T "$SCRATCH")
    echo "Machine: ${cpu:-unknown processor}, $(nproc) CPUs$speed, $(free -g | awk '/^Mem/ { print $2 }') GiB," \
        "Linux $(uname -r), scratch on $fs; $(date -u +%Y-%m-%d); load $(cut -d ' ' -f 1 /proc/loadavg)"
    echo
}

# one_core COMMAND...: on one CPU, where that can be said.
one_core() { if have taskset; then taskset -c 0 "$@"; else "$@"; fi; }

# writers KIND ARGUMENT...: evfs-writers on $SCRATCH/w, which is new each time, with $SCRATCH/in.jsonl.
writers() {
    rm -rf "$SCRATCH"/w "$SCRATCH"/w-*
    "$drivers/evfs-writers" "${@:2}" "$1" "$SCRATCH/w" "$SCRATCH/in.jsonl"
}
# mount_writers ARGUMENT...: the same through the mount, a file each; one_file_writers: all of one file.
mount_writers() {
    "$drivers/evfs-writers" "$@" file "$mnt/entities/writer/%d/event.jsonl" "$SCRATCH/in.jsonl"
}
one_file_writers() { "$drivers/evfs-writers" "$@" file "$mnt/events.jsonl" "$SCRATCH/in.jsonl"; }

# gen FILE ARGUMENT...: evfs-gen into FILE.
gen() {
    local file=$1
    shift
    need evfs-gen
    "$drivers/evfs-gen" "$@" >"$file"
}

# fill DATA N ARGUMENT...: a store in DATA with N events of evfs-gen, which ended cleanly.
fill() {
    local data=$1
    shift
    need evfs-gen
    need evfs-reopen
    "$drivers/evfs-gen" "$@" | "$drivers/evfs-reopen" fill "$data"
}
