# SPDX-License-Identifier: MIT
# ":memory:": the same in RAM.
load lib.bash

setup() {
    need_mount
    make_dirs
    disk=$DATA
    DATA=:memory:
    start_store
    E=$MNT/entities F=$MNT/events.jsonl
}
teardown() { cleanup; }

@test ":memory: appends, reads, refuses and waits as a store on disk does" {
    echo '{"n":1}' >>"$E/a/t.jsonl"
    jq -nc 'range(20000) | {entity:"e/\(. % 90)",type:"t\(. % 5)",id:"i\(.)",data:{n:.}}' >"$T/in"
    cat "$T/in" "$T/in" >>"$F"
    same "$(check_log)" 20001
    same "$(jq .n "$E/e/7/t2.jsonl" | head -n 1)" 7
    same "$(cat "$E/a/state.json")" '{"n":1}'
    same "$(drive write "$F" 'oops\n')" EINVAL
    same "$(rejected .reason)" BAD_JSON
    same "$(drive write "$F" '{"entity":"a","type":"t","expected_version":0}\n')" ESTALE
    same "$(drive write "$F" '{"entity":"a","type":"t"}\n' fsync)" '26 0'
    size_is "$F" "$(wc -c <"$F")"
    drive held "$E/a/events.jsonl" "$F" '{"entity":"a","type":"u"}
'
    drive poll poll "$E/a/events.jsonl" "$F" '{"entity":"a","type":"u"}
' 3
    df "$MNT" >/dev/null
    health_ok
}

@test ":memory: leaves nothing behind, and is empty the next time" {
    echo '{"n":1}' >>"$E/a/t.jsonl"
    chmod 750 "$E/a"
    same "$(ls -A "$disk")" ''
    refused test -e "$EVFS_SOURCE_DIR/:memory:"
    refused test -e "./:memory:"
    stop_store
    start_store
    same "$(lines "$F")" 0
    same "$(ls "$E")" ''
}

@test ":memory: eight writers" {
    n=$(by_mode 1000 5000 12500)
    drive writers 8 "$n" one "$MNT"
    same "$(check_log)" $((8 * n))
    drive check-writers 8 "$n" "$F"
}
