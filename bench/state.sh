#!/bin/bash
# SPDX-License-Identifier: MIT
# state: the state of an entity of 100 and of 1,000 events, asked for the first time and again; in the process, beside
# SQLite in the process (json_patch over the same lines), and state.json through the mount, beside jq. See lib.sh for
# the environment.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
n=$((2000000 / SCALE))
machine

# SQLite takes a second to fold 1,000 events: of those it has a few entities.
for each in 100 1000; do
    say "states of $each events"
    fill "$SCRATCH/$each" $((n < each ? each : n)) --per-entity "$each"
    first='' again=''
    [ "$each" = 100 ] || first='<=200' again='<=2'
    answers "$SCRATCH/$each" state-again
    answer state-again "state of $each events, again" ${again:+"$again"}
    answers --no-states "$SCRATCH/$each" state entity
    answer state "state of $each events, first" ${first:+"$first"}
    answer entity "reading the $each events"
    table "reading the $each events"

    gen "$SCRATCH/in.jsonl" $((each * 4)) --entities 4
    answers --no-states --fill "$SCRATCH/in.jsonl" --sqlite "$SCRATCH/s.db" :memory: state sqlite:state
    answer state "state of $each events, 4 entities"
    answer sqlite:state "the same by json_patch of SQLite"
    table "state of $each events, 4 entities"
    rm -f "$SCRATCH"/s.db*
done

start_store "$SCRATCH/1000"
entity=$mnt/entities/orders/$(ls "$mnt/entities/orders" | sed -n 1p)
times=$((SCALE > 10 ? 2 : 10))
again() { for ((i = 0; i < times; i++)); do "$@" >/dev/null; done; }
shell() { us_of "$times" elapsed again "$@"; }
by_jq() { jq -cn 'reduce inputs as $e ({}; . * $e.data)' "$entity/events.jsonl"; }
# The events' members are all scalars, where jq's * is the same merge.
if have jq; then
    [ "$(by_jq | jq -cS .)" = "$(jq -cS . "$entity/state.json")" ] || die "jq has another state"
fi
measure "cat state.json of 1000 events" us -- shell cat "$entity/state.json"
measure "cat events.jsonl of 1000 events" us -- shell cat "$entity/events.jsonl"
! have jq || measure "jq merges events.jsonl" us -- shell by_jq
rounds
have jq || missing "jq merges events.jsonl" jq
table "cat state.json of 1000 events"
stop_store
