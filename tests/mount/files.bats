# SPDX-License-Identifier: MIT
# Files that behave: sizes, held descriptors, mappings, poll, times, inodes, permissions.
load lib.bash

setup() {
    setup_store
    E=$MNT/entities F=$MNT/events.jsonl
    EV='{"entity":"a","type":"t"}
'
}
teardown() { cleanup; }

@test "st_size is exact at every stat, whatever file the event came through" {
    echo '{"n":1}' >>"$E/a/b/t.jsonl"
    files=("$F" "$E/a/events.jsonl" "$E/a/b/events.jsonl" "$E/a/b/t.jsonl" "$MNT/types/t/events.jsonl" "$E/a/b/state.json")
    for i in 1 2 3 4 5 6 7 8 9 10; do
        stat "${files[@]}" >/dev/null # the kernel has attributes of all of them
        case $((i % 4)) in
        0) echo "{\"n\":$i}" >>"$E/a/b/t.jsonl" ;;
        1) echo "{\"entity\":\"a/b\",\"type\":\"t\",\"data\":{\"i\":$i}}" >>"$F" ;;
        2) echo "{\"entity\":\"a/b\",\"data\":{\"j$i\":$i}}" >>"$MNT/types/t/events.jsonl" ;;
        3) echo '{"type":"t","data":null}' >>"$E/a/b/events.jsonl" ;;
        esac
        for f in "${files[@]}"; do
            size=$(stat -c %s "$f")
            same "$size" "$(cat "$f" | wc -c)" "$f round $i"
        done
    done
    # Files of others have not grown.
    echo '{}' >>"$E/z/u.jsonl"
    same "$(stat -c %s "$E/a/b/t.jsonl")" "$(cat "$E/a/b/t.jsonl" | wc -c)"
    same "$(lines "$E/a/events.jsonl") $(lines "$F")" '11 12'
}

@test "a held descriptor, a mapping, seek and pread see what was added" {
    echo '{"n":0}' >>"$E/a/t.jsonl"
    drive held "$F" "$E/a/t.jsonl" '{"n":1}
'
    drive held "$E/a/t.jsonl" "$F" '{"entity":"a","type":"t","data":{"long":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}
'
    drive held "$MNT/types/t/events.jsonl" "$E/a/events.jsonl" '{"type":"t"}
'
    # More than a page, a readahead and a chunk of postings.
    jq -nc 'range(30000) | {entity:"a",type:"t",data:{n:.}}, {entity:"b",type:"t",data:{n:.}}' >>"$F"
    drive held "$E/a/t.jsonl" "$F" "$EV"
    drive held "$E/a/events.jsonl" "$F" "$EV"
    drive held "$MNT/types/t/events.jsonl" "$F" "$EV"
    drive held "$F" "$F" "$EV"
}

@test "tail -f and evfs tail -f print what comes" {
    echo '{"n":1}' >>"$E/a/t.jsonl"
    tail -n +1 -f -s 0.05 "$E/a/t.jsonl" >"$T/tail" 3>&- &
    p1=$!
    "$EVFS_BIN" tail -n 1 -f "$E/a/t.jsonl" >"$T/evtail" 3>&- &
    p2=$!
    wait_for 10 test -s "$T/evtail"
    for i in 2 3 4; do
        echo "{\"entity\":\"a\",\"type\":\"t\",\"data\":{\"n\":$i}}" >>"$F"
        wait_for 10 size_is "$T/evtail" $((i * 8))
        wait_for 10 size_is "$T/tail" $((i * 8))
    done
    cmp "$T/tail" "$E/a/t.jsonl"
    cmp "$T/evtail" "$E/a/t.jsonl"
    kill $p1 $p2
    wait $p1 $p2 || true
    # It ends with the mount.
    "$EVFS_BIN" tail -f "$F" >/dev/null 2>&1 3>&- &
    p2=$!
    kill_store
    wait_for 20 gone $p2
}

@test "poll, select and epoll wake a waiter at each commit, and soon" {
    echo '{}' >>"$E/a/t.jsonl"
    echo '{}' >>"$E/b/u.jsonl"
    for kind in poll select epoll epoll-et; do
        median=$(drive poll $kind "$E/a/t.jsonl" "$F" "$EV" 20)
        echo "# $kind: $median us"
        # A millisecond is the aim; a busy machine and sanitizers get more before it is a failure.
        limit=10000
        [ -z "${EVFS_SANITIZED-}" ] || limit=100000
        [ "$median" -lt $limit ]
    done
    drive poll poll "$F" "$E/a/t.jsonl" '{}
' 5
    drive poll epoll "$E/a/events.jsonl" "$MNT/types/t/events.jsonl" "$EV" 5
    drive poll poll "$MNT/types/t/events.jsonl" "$E/a/t.jsonl" '1
' 5
    # What comes elsewhere wakes nobody.
    refused drive poll poll "$E/b/u.jsonl" "$E/a/t.jsonl" '{}
' 1 2>/dev/null
}

@test "with O_NONBLOCK poll is level-triggered" {
    echo '{"n":1}' >>"$E/a/t.jsonl"
    drive nonblock "$E/a/t.jsonl" "$F" "$EV"
    drive nonblock "$F" "$E/a/t.jsonl" '{}
'
}

@test "200 waiters starve nobody, and all wake" {
    echo '{}' >>"$E/a/t.jsonl"
    ms=$(drive waiters 200 "$E/a/t.jsonl" "$F" "$EV")
    echo "# 200 waiters: $ms ms"
    [ "$ms" -lt 3000 ]
}

@test "directories answer before they have events; only real ones are listed" {
    [ -d "$E/x/y/z" ] && [ -d "$MNT/types/new" ]
    same "$(ls -A "$E") $(ls -A "$MNT/types")" ' '
    refused stat "$E/x/t.jsonl" 2>/dev/null
    refused stat "$E/x/state.json" 2>/dev/null
    refused stat "$E/x/events.jsonl" 2>/dev/null
    for n in .git .x.swp backup~ a.json a.csv; do refused stat "$E/$n" 2>/dev/null; done
    for n in events.jsonl t.jsonl state.json; do refused stat "$E/$n" 2>/dev/null; done
    refused cat "$E/x/t.jsonl" 2>/dev/null
    # A name that was refused a moment ago is there as soon as it is real, by whatever way.
    echo '{"entity":"x","type":"t"}' >>"$F"
    [ -s "$E/x/t.jsonl" ] && [ -s "$E/x/state.json" ] && [ -s "$MNT/types/t/events.jsonl" ]
    echo '{"entity":".git/a","type":"t"}' >>"$F"
    [ -s "$E/.git/a/t.jsonl" ]
    mkdir -p "$E/x/y"
    (cd "$E/p/q" && echo '{}' >>t.jsonl)
    same "$(LC_ALL=C ls -A "$E" | tr '\n' ' ')" '.git p x '
    same "$(find "$E/p" | sort | sed "s|$E/||" | tr '\n' ' ')" 'p p/events.jsonl p/q p/q/events.jsonl p/q/state.json p/q/t.jsonl '
    # Opened with O_CREAT, a file is not there before its first event.
    : >>"$E/never/t.jsonl"
    same "$(ls "$E/never")" ''
    same "$(ls -A "$E" | grep -c never || true)" 0
}

@test "-o strict: an entity is made by mkdir" {
    stop_store
    start_store -o strict
    refused stat "$E/a" 2>/dev/null
    same "$(drive write "$E/a/t.jsonl" '{}\n')" open:ENOENT
    mkdir "$E/a"
    echo '{}' >>"$E/a/t.jsonl"
    same "$(ls "$E")" a
    echo '{"entity":"b","type":"t"}' >>"$F"
    [ -s "$E/b/t.jsonl" ]
}

@test "inodes stay: over the first event, further ones and remounts; none twice" {
    : >>"$E/a/t.jsonl"
    dir=$(stat -c %i "$E/a")
    jq -nc 'range(300) | {entity:"a/\(. % 30)",type:"t\(. % 3)"}, {entity:"a",type:"t"}' >>"$F"
    same "$(stat -c %i "$E/a")" "$dir"
    list() { find "$MNT" -printf '%i %P\n' | sort -k2; }
    list >"$T/before"
    same "$(cut -d' ' -f1 "$T/before" | sort | uniq -d)" '' 'inode numbers twice'
    # readdir says the same as stat.
    ls -iA "$E/a" | while read -r ino name; do same "$ino" "$(stat -c %i "$E/a/$name")" "$name"; done
    echo null >>"$E/a/t.jsonl" # its data is as that of the others: no new version of a schema
    list | diff "$T/before" -
    remount
    list | diff "$T/before" -
    kill_store
    start_store
    list | diff "$T/before" -
    same "$(find "$E" -type f -links 1 | wc -l)" "$(find "$E" -type f | wc -l)"
}

@test "times: mtime is the newest event's, find -newer finds what grew" {
    echo '{}' >>"$E/old/t.jsonl"
    # The kernel stamps files by a coarse clock: wait until it is past the event.
    wait_for 5 mark_is_later "$E/old/t.jsonl"
    wait_for 5 is_later
    echo '{}' >>"$E/new/t.jsonl"
    same "$(find "$E" -name t.jsonl -newer "$T/mark")" "$E/new/t.jsonl"
    recorded=$(tail -n 1 "$F" | jq -r '.recorded // .time')
    same "$(TZ=UTC stat -c %y "$E/new/t.jsonl" | cut -c1-26)" "$(tr T ' ' <<<"${recorded%Z}")"
    same "$(stat -c %y "$F")" "$(stat -c %y "$E/new/t.jsonl")"
    # A directory's time is of the first event of its newest entry: an append to an existing file leaves it.
    before=$(stat -c %y "$E/new")
    echo '{}' >>"$E/new/t.jsonl"
    same "$(stat -c %y "$E/new")" "$before"
    echo '{}' >>"$E/new/u.jsonl"
    [ "$(stat -c %y "$E/new")" != "$before" ]
    m=$(stat -c %y "$E/new/t.jsonl")
    touch "$E/new/t.jsonl"
    same "$(stat -c %y "$E/new/t.jsonl")" "$m"
    remount
    same "$(stat -c %y "$E/new/t.jsonl")" "$m"
}
mark_is_later() { touch "$T/mark" && [ "$T/mark" -nt "$1" ]; }
is_later() { touch "$T/now" && [ "$T/now" -nt "$T/mark" ]; }

@test "state.json is the merge of all data" {
    e() { echo "$1" >>"$E/s/$2.jsonl"; }
    e '{"a":1,"b":{"c":1,"d":2},"n":1.50}' made
    e '{"b":{"c":null,"e":[1,null]}}' changed
    e '{"a":null,"z":"é"}' changed
    same "$(jq -cS . "$E/s/state.json")" '{"b":{"d":2,"e":[1,null]},"n":1.50,"z":"é"}' ||
        same "$(jq -cS . "$E/s/state.json")" '{"b":{"d":2,"e":[1,null]},"n":1.5,"z":"é"}'
    grep -q '1\.50' "$E/s/state.json"
    size_is "$E/s/state.json" "$(cat "$E/s/state.json" | wc -c)"
    echo '{"entity":"s/below","type":"x","data":{"no":1}}' >>"$F"
    same "$(jq -c .no "$E/s/state.json")" null
    echo '17' >>"$E/s/whole.jsonl"
    same "$(cat "$E/s/state.json")" 17
}

@test "df and statfs" {
    echo '{}' >>"$E/a/t.jsonl"
    same "$(df --output=target "$F" | tail -n 1)" "$MNT"
    total=$(stat -f -c '%b * %S' "$MNT")
    [ $(($total)) -gt 1000000 ]
    same "$(stat -f -c %l "$MNT")" 255
    # It is the disk's that the store is on.
    dfree=$(df -k --output=size "$DATA" | tail -n 1)
    mfree=$(df -k --output=size "$MNT" | tail -n 1)
    [ $((dfree - mfree)) -lt 100 ] && [ $((mfree - dfree)) -lt 100 ]
}

@test "permissions: modes and owners of directories, inherited, kept" {
    need_root
    need setpriv
    user() { as_user 1001 bash -c "$1" 2>"$T/err"; }
    chmod 755 "$MNT"
    echo '{}' >>"$E/pub/t.jsonl"
    user "cat '$E/pub/t.jsonl' >/dev/null"
    refused user "echo '{}' >>'$E/pub/t.jsonl'"
    grep -q 'Permission denied' "$T/err"
    install -d -o 1001 -g 1001 -m 750 "$E/acme"
    user "echo '{\"n\":1}' >>'$E/acme/orders/1/t.jsonl'"
    same "$(jq -c '[.entity,.uid]' "$E/acme/events.jsonl")" '["acme/orders/1",1001]'
    same "$(stat -c '%u:%g %a' "$E/acme" "$E/acme/orders/1" "$E/acme/orders/1/t.jsonl" "$E/acme/events.jsonl" | tr '\n' ',')" \
        '1001:1001 750,1001:1001 750,1001:1001 640,1001:1001 640,'
    refused as_user 65534 cat "$E/acme/orders/1/t.jsonl" 2>/dev/null
    refused as_user 65534 ls "$E/acme" 2>/dev/null
    # Its owner may change its mode, others may not.
    user "chmod 700 '$E/acme/orders'"
    same "$(stat -c %a "$E/acme/orders/1/events.jsonl")" 600
    refused as_user 65534 chmod 777 "$E/acme" 2>/dev/null
    refused as_user 65534 chmod 777 "$E/pub" 2>/dev/null
    refused user "chown 65534 '$E/acme'"
    chown 1002 "$E/acme/orders"
    same "$(stat -c %u "$E/acme/orders/1")" 1002
    refused user "echo '{}' >>'$E/acme/orders/1/t.jsonl'"
    remount
    same "$(stat -c '%u:%g %a' "$E/acme" "$E/acme/orders" "$E/acme/orders/1" "$E/pub" | tr '\n' ',')" \
        '1001:1001 750,1002:1001 700,1002:1001 700,0:0 755,'
    # An inherited owner is no own one: what changes above changes below.
    chmod 700 "$E"
    same "$(stat -c %a "$E/pub" "$E/acme" | tr '\n' ' ')" '700 750 '
    refused user "cat '$E/pub/t.jsonl' >/dev/null"
}

@test "an own directory before its first event: listed, and rmdir takes it away" {
    need_root
    mkdir -p "$E/tenant"
    same "$(ls "$E")" ''
    install -d -o 1001 -m 700 "$E/tenant"
    same "$(ls "$E")" tenant
    remount
    same "$(stat -c '%u %a' "$E/tenant")" '1001 700'
    rmdir "$E/tenant"
    same "$(ls "$E")" ''
    install -d -o 1001 -m 700 "$E/tenant"
    echo '{}' >>"$E/tenant/t.jsonl"
    refused rmdir "$E/tenant" 2>/dev/null
    same "$(stat -c %u "$E/tenant")" 1001
}

@test "the uid in an event is the writer's, and can't be given" {
    need_root
    need setpriv
    chmod 777 "$MNT"
    as_user 1234 bash -c "echo '{\"entity\":\"u\",\"type\":\"t\",\"uid\":0,\"seq\":99,\"version\":7,\"crc\":\"00000000\"}' >>'$F'"
    same "$(jq -c '[.seq,.version,.uid]' "$F")" '[1,1,1234]'
    # Who writes, not who opened.
    exec 9>>"$E/u/t.jsonl"
    as_user 1235 bash -c 'echo {} >&9'
    exec 9>&-
    same "$(tail -n 1 "$F" | jq .uid)" 1235
}

@test "a user without root mounts for itself" {
    need_root
    need setpriv fusermount3 unshare
    unshare -m --propagation private true || skip 'no mount namespace of its own here'
    stop_store
    chown -R 65534:65534 "$DATA" "$MNT"
    cp -L "$EVFS_BIN" "$T/evfs" # where this user can reach it
    mknod -m 666 "$T/fuse" c 10 229
    # In a mount namespace of its own, where /dev/fuse is for everybody, as it is on most systems.
    cat >"$T/user.sh" <<'SH'
set -eu
export LC_ALL=C.UTF-8
"$T/evfs" mount "$DATA" "$MNT" 3>&-
echo '{"n":1}' >>"$MNT/entities/a/t.jsonl"
cat "$MNT/events.jsonl" >"$T/user/out"
cat "$MNT/.evfs/health" >"$T/user/health"
fusermount3 -u "$MNT"
SH
    install -d -o 65534 "$T/user"
    export T DATA MNT
    unshare -m --propagation private bash -c '
        mount --bind "$T/fuse" /dev/fuse || exit 77
        setpriv --reuid=65534 --regid=65534 --clear-groups test -w /dev/fuse || exit 77
        exec setpriv --reuid=65534 --regid=65534 --clear-groups bash "$T/user.sh"' >"$T/log" 2>&1 3>&- ||
        { [ $? != 77 ] || skip 'no device nodes here'; cat "$T/log"; false; }
    same "$(jq -c '[.entity,.uid]' "$T/user/out")" '["a",65534]'
    same "$(cat "$T/user/health")" ok
    wait_for 20 test -s "$DATA/index.ckpt" # it has ended well
}

@test "a build with -Dhotpath=true says where time goes, others have no such file" {
    hot=$MNT/.evfs/hotpath.json
    if [ -z "${EVFS_SANITIZED-}" ]; then # scripts/test builds the sanitized one with it
        [ ! -e "$hot" ]
        same "$(ls "$MNT/.evfs" | grep -c hotpath)" 0
        return
    fi
    for i in 1 2 3; do echo "{\"n\":$i}" >>"$E/hot/t.jsonl"; done
    sync "$E/hot/t.jsonl"
    cat "$E/hot/t.jsonl" "$E/hot/state.json" >/dev/null
    for span in write scan prepare wait commit decide lines log apply durable read state; do
        jq -e --arg span $span '.[] | select(.span == $span) | .count > 0 and .total_us > 0 and .most_us > 0 and
            (.below_ns | add) == .count' "$hot" >/dev/null || { echo "$span"; cat "$hot"; false; }
    done
    jq -e 'map({(.span): .total_us}) | add | .commit < .write and .decide + .lines + .apply < .commit' "$hot"
}

@test "-o io_uring: requests come by it, or it is said why not, and all works" {
    stop_store
    : >"$LOG"
    start_store -o io_uring
    for i in 1 2 3; do echo "{\"n\":$i}" >>"$E/ring/t.jsonl"; done
    sync "$E/ring/t.jsonl"
    same "$(cat "$E/ring/t.jsonl")" $'{"n":1}\n{"n":2}\n{"n":3}'
    same "$(cat "$E/ring/state.json")" '{"n":3}'
    rings=$(jq .io_uring "$MNT/.evfs/stats.json")
    # Either it is so, or the log says in words that it is not.
    [ "$rings" = true ] && ! grep -q 'io_uring' "$LOG" || { [ "$rings" = false ] && grep -q 'io_uring: .*going on without' "$LOG"; }
}
