# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# lib: what the benchmark scripts share. Sourced, not run. Environment:
#   BUILD   the build directory (../build)
#   SCRATCH where files go: a directory on the file system to measure (a new one in TMPDIR)
#   RUNS    how often each thing is measured after its warm-up (5)
#   SCALE   divides the numbers of events, to try a script out quickly (1)
# A table is made of rows: measured values of one thing, of which median, minimum and maximum are
# shown, and the ratio of the median to that of the table's base, measured in the same run.
set -euo pipefail
export LC_ALL=C

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=${BUILD:-$bench_dir/../build}
RUNS=${RUNS:-5}
SCALE=${SCALE:-1}
EVFS=${EVFS:-$BUILD/evfs}
[ -x "$EVFS" ] || EVFS=$BUILD/fs/evfs
drivers=$BUILD/bench
if [ -z "${SCRATCH:-}" ]; then
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/evfs-bench.XXXXXX")
else
    SCRATCH=$(mktemp -d "$SCRATCH/evfs-bench.XXXXXX")
fi
mnt=$SCRATCH/mnt
daemon=
redis=
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
    local status=$?
    stop_store
    [ -z "$redis" ] || kill "$redis" 2>/dev/null || true
    [ -z "$redis" ] || wait "$redis" 2>/dev/null || true
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
gbs() { convert "printf \"%.2f\\n\", $1 / \$1 / 1e3"; }     # us for $1 bytes -> GB/s

# row NAME UNIT: of v.
row() {
    [ ${#v[@]} -gt 0 ] || die "no value for: $1"
    rows+=$(printf '%s\n' "${v[@]}" | sort -g | awk -v name="$1" -v unit="$2" '
        { a[NR] = $1 }
        END { print name "\t" unit "\t" a[int((NR + 1) / 2)] "\t" a[1] "\t" a[NR] "\t" NR }')$'\n'
}

# missing NAME PROGRAM: a row that could not be measured.
missing() { rows+="$1"$'\t'"$2 is not installed"$'\n'; }

# table [BASE]: print the rows and forget them. BASE is the name of the row that the others of the
# same unit are divided by.
table() {
    printf '%s' "$rows" | awk -F '\t' -v base="${1:-}" '
        { line[NR] = $0; if ($1 == base) { b = $3; unit = $2 } }
        END {
            print "| what | unit | median | min - max | runs | " (base == "" ? "" : "to \"" base "\"") " |"
            print "|---|---|---|---|---|---|"
            for (i = 1; i <= NR; i++) {
                n = split(line[i], f, "\t")
                if (n == 2) { print "| " f[1] " | | missing: " f[2] " | | | |"; continue }
                ratio = (base != "" && f[2] == unit && b > 0) ? sprintf("%.2f", f[3] / b) : ""
                print "| " f[1] " | " f[2] " | " f[3] " | " f[4] " - " f[5] " | " f[6] " | " ratio " |"
            }
            print ""
        }'
    rows=
}

# machine: one line that every figure needs beside it.
machine() {
    local cpu fs
    cpu=$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
    fs=$(stat -f -c %T "$SCRATCH")
    echo "Machine: ${cpu:-unknown processor}, $(nproc) CPUs, $(free -g | awk '/^Mem/ { print $2 }') GiB," \
        "Linux $(uname -r), scratch on $fs; $(date -u +%Y-%m-%d); load $(cut -d ' ' -f 1 /proc/loadavg)"
    echo
}

# one_core COMMAND...: on one CPU, where that can be said.
one_core() { if have taskset; then taskset -c 0 "$@"; else "$@"; fi; }

# gen FILE ARGUMENT...: evfs-gen into FILE.
gen() {
    local file=$1
    shift
    need evfs-gen
    "$drivers/evfs-gen" "$@" >"$file"
}
