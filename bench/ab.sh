#!/bin/bash
# SPDX-License-Identifier: MIT
# ab: two builds of evfs, one against the other: each piece of work by A, by B, by B, by A, and so on, RUNS times each
# (10). The table has the median of either, and B's time over A's: the geometric mean of the pairs with its 95 %
# interval. An interval that holds 1 says that no difference was seen.
#   bench/ab.sh A B           build directories: A/evfs through the mount, A/bench/evfs-gate in the process
#   bench/ab.sh --mount A B   only through the mount;  --gate A B   only in the process, of which ONLY=NAME,NAME is some
# Allocators: build one with -Dmimalloc=disabled. Compilers, PGO, BOLT: scripts/pgo, scripts/bolt. See lib.sh for
# the rest of the environment.
set -euo pipefail
what=both
case ${1-} in --mount | --gate) what=${1#--}; shift ;; esac
[ $# -eq 2 ] || { sed -n '6,9s/^# //p' "$0" >&2; exit 2; }
RUNS=${RUNS:-10}
a=$(cd "$1" && pwd) b=$(cd "$2" && pwd)
BUILD=${BUILD:-$a}
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
events=$((200000 / SCALE)) echoes=$((500 / SCALE + 1))
pairs=$SCRATCH/pairs # name, unit, A's value, B's value

# both NAME UNIT FUNCTION: pairs of what FUNCTION, given a build directory, leaves in $value.
both() {
    local name=$1 unit=$2 i x y
    say "$name"
    "$3" "$a" && "$3" "$b"
    for i in $(seq "$RUNS"); do
        if ((i % 2)); then
            "$3" "$a" && x=$value && "$3" "$b" && y=$value
        else
            "$3" "$b" && y=$value && "$3" "$a" && x=$value
        fi
        printf '%s\t%s\t%s\t%s\n' "$name" "$unit" "$x" "$y" >>"$pairs"
    done
}

timed() { # timed COMMAND...: milliseconds
    elapsed "$@"
    value=$(awk -v us="$us" 'BEGIN { printf "%.3f", us / 1e3 }')
}
with_store() { # with_store BUILD FUNCTION: timed, in a new store
    EVFS=$1/evfs
    rm -rf "$SCRATCH/data"
    start_store "$SCRATCH/data"
    "${@:3}"
    timed "$2"
    stop_store
}
bulk() { cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl"; }
echo_each() { for i in $(seq "$echoes"); do echo "{\"n\":$i}" >>"$mnt/entities/a/b/t.jsonl"; done; }
hold_open() { for i in $(seq $((echoes * 4))); do echo "{\"n\":$i}"; done >>"$mnt/entities/a/b/t.jsonl"; }
four_writers() {
    local k pids=()
    for k in 1 2 3 4; do
        cat "$SCRATCH/in.jsonl" >>"$mnt/events.jsonl" & pids+=($!)
    done
    wait "${pids[@]}"
}
read_all() { cat "$mnt/events.jsonl" >/dev/null; }
read_entities() { cat "$mnt"/entities/orders/*/events.jsonl "$mnt"/entities/orders/*/state.json >/dev/null; }
list() { ls -lR "$mnt/entities" >/dev/null; }
through_mount() {
    "$drivers/evfs-gen" "$events" --entities 500 >"$SCRATCH/in.jsonl"
    m_bulk() { with_store "$1" bulk; }
    m_four() { with_store "$1" four_writers; }
    m_echo() { with_store "$1" echo_each; }
    m_hold() { with_store "$1" hold_open; }
    m_read() { with_store "$1" read_all bulk; }
    m_entities() { with_store "$1" read_entities bulk; }
    m_list() { with_store "$1" list bulk; }
    both "cat $events events >> events.jsonl" ms m_bulk
    both "four writers at once, $events events each" ms m_four
    both "$echoes x echo >>" ms m_echo
    both "$((echoes * 4)) x echo, held open" ms m_hold
    both "cat events.jsonl, first time" ms m_read
    both "500 entities: cat events.jsonl and state.json" ms m_entities
    both "ls -lR entities/" ms m_list
}
in_process() {
    local name
    for dir in "$a" "$b"; do [ -x "$dir/bench/evfs-gate" ] || die "$dir/bench/evfs-gate is missing"; done
    while read -r name _; do
        [[ -z ${ONLY-} || ,$ONLY, == *,$name,* ]] || continue
        g_time() { value=$("$1/bench/evfs-gate" time "$name" "$SCRATCH/gate"); }
        both "$name" "of a fixed loop" g_time
    done < <("$a/bench/evfs-gate" list)
}

machine
[ $what = mount ] || in_process
[ $what = gate ] || through_mount
echo "A: $1, B: $2"
echo
awk -F '\t' '
    function median(list, n,    v, i, j, t) {
        split(list, v, " ")
        for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
        return v[int((n + 1) / 2)]
    }
    !($1 in unit) { order[++names] = $1; unit[$1] = $2 }
    { n[$1]++; x[$1] = x[$1] " " $3; y[$1] = y[$1] " " $4; d = log($4 / $3); s[$1] += d; q[$1] += d * d }
    END {
        # Student, 97.5 %, by degrees of freedom
        split("12.71 4.30 3.18 2.78 2.57 2.45 2.36 2.31 2.26 2.23 2.20 2.18 2.16 2.14 2.13 2.12 2.11 2.10 2.09 2.09", t, " ")
        print "| what | unit | A | B | B / A | 95 % | |"
        print "|---|---|---|---|---|---|---|"
        for (k = 1; k <= names; k++) {
            w = order[k]; m = s[w] / n[w]; f = n[w] - 1
            e = f > 0 ? (f > 20 ? 2.0 : t[f]) * sqrt(((q[w] - n[w] * m * m) / f > 0 ? (q[w] - n[w] * m * m) / f : 0) / n[w]) : 0
            low = exp(m - e); high = exp(m + e)
            printf "| %s | %s | %s | %s | %.3f | %.3f - %.3f | %s |\n", w, unit[w], median(x[w], n[w]), median(y[w], n[w]),
                exp(m), low, high, (high < 1 ? "B" : low > 1 ? "A" : "no difference")
        }
        print ""
    }' "$pairs"
