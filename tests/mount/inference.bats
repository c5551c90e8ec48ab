# SPDX-License-Identifier: MIT
# What a store learns of its types' data, in DATA/schemas: the same from the same log, whoever wrote it and whatever
# happened meanwhile. schemas.bats has what the mount shows of it.
load lib.bash

setup() {
    need_mount
    need zstd jq cmp
    need_data github-webhooks.jsonl.zst
    make_dirs
    F=$MNT/events.jsonl
    S=$DATA/schemas
}
teardown() { cleanup; }

events() { zstd -dc "$EVFS_TEST_DATA/github-webhooks.jsonl.zst"; }
# Every version of every type is JSON Schema 2020-12, as jq reads it.
all_good() {
    local n
    n=$(find "$S" -name '*.json' | wc -l)
    [ "$n" -gt "$1" ]
    find "$S" -name '*.json' -print0 | xargs -0 jq -e '."$schema" and .title and ."x-evfs-version".version' >/dev/null
    "$EVFS_BIN" verify "$DATA"
}
# Learned anew, by rebuild and while mounted, it is what is kept in $1.
same_again() {
    "$EVFS_BIN" rebuild "$DATA"
    diff -r "$S" "$1"
    rm -r "$S"
    "$EVFS_BIN" verify "$DATA"
    start_store
    stop_store
    "$EVFS_BIN" verify "$DATA"
}

@test "what many writers and a kill leave is learned as the log has it" {
    start_store
    for i in 1 2 3 4; do events | awk -v i="$i" 'NR % 4 == i - 1' >>"$F" & pids+=($!); done
    wait "${pids[@]}"
    kill_store
    start_store
    head -n 20 "$F" | jq -c '{entity, type, data: (.data + {one_more: 1})}' >>"$F"
    stop_store
    all_good 50
    cp -r "$S" "$T/kept"
    same_again "$T/kept"
}

@test "a store of before is learned once it is mounted" {
    start_store -o schemas=off
    events >>"$F"
    stop_store
    [ ! -e "$S" ]
    "$EVFS_BIN" backup "$DATA" "$T/backup"
    "$EVFS_BIN" rebuild "$DATA"
    all_good 50
    cp -r "$S" "$T/kept"
    rm -r "$S"
    start_store
    stop_store
    start_store
    stop_store
    all_good 50
    diff -r "$S" "$T/kept"
    [ ! -e "$T/backup/schemas" ]
    "$EVFS_BIN" rebuild "$T/backup"
    diff -r "$T/backup/schemas" "$T/kept"
}

@test "damage in schemas is found, and repaired" {
    start_store
    events | head -n 30 >>"$F"
    stop_store
    cp -r "$S" "$T/kept"
    file=$(find "$S" -name 1.json | head -n 1)
    sed -i 's/"type"/"tYpe"/' "$file"
    run "$EVFS_BIN" verify "$DATA"
    [ "$status" -ne 0 ]
    [[ $output == *"${file#"$DATA/"}: checksum differs"* ]]
    "$EVFS_BIN" verify --repair "$DATA" || [ $? -eq 1 ]
    "$EVFS_BIN" verify "$DATA"
    diff -r "$S" "$T/kept"
    echo '{"entity":"a","type":"b"}' >"$T/one"
    chmod 700 "$S"
    ln -sfn "$T" "$S/b" # leads nowhere
    start_store
    cat "$T/one" >>"$F"
    stop_store
    [ ! -e "$T/1.json" ]
}

@test "an unknown value of schemas= is refused" {
    run "$EVFS_BIN" mount -o schemas=of "$DATA" "$MNT"
    [ "$status" -eq 2 ]
    [[ $output == *"schemas=of': it is on or off"* ]]
}
