# SPDX-License-Identifier: MIT
# evfs backup: of a mounted store under load and of a stopped one; the second time; restored and compared; refused;
# interrupted; on a full disk.
load lib.bash

setup() {
    setup_store -o segment_size=256K -o compress=off # sizes that the tests know
    E=$MNT/entities F=$MNT/events.jsonl
    B=$T/backup MNT2=$T/mnt2
    mkdir "$MNT2"
}
teardown() {
    ! mountpoint -q "$MNT2" || umount "$MNT2" || umount -l "$MNT2"
    ! mountpoint -q "$T/disk" || umount -l "$T/disk"
    cleanup
}

backup() { "$EVFS_BIN" backup "$DATA" "$B"; }
# number WORD OUTPUT: the number behind (or, for events and bytes, before) a word of what backup prints.
number() { sed -nE "s/.*\b$1 ([0-9]+).*/\1/p; s/(.* )?([0-9]+) $1\b.*/\2/p" <<<"$2"; }
some() { jq -nc --arg p "$(printf 'x%.0s' {1..300})" \
    "range($1) | {entity:\"e/\(. % 90)\",type:\"t\(. % 5)\",data:{n:.,pad:\$p}}"; }
# mount_backup DIR: at MNT2, until umount_backup.
mount_backup() { "$EVFS_BIN" mount "$1" "$MNT2" 3>&-; }
umount_backup() { wait_for 10 umount "$MNT2"; }
# Everything that stat(2) says of a tree, but .evfs (numbers of this mount) and README (the time is the mount's).
tree() {
    (cd "$1" && find . \( -path ./.evfs -o -path ./README \) -prune -o -printf '%p %y %m %U %G %s %T@ %i %n\n' | sort)
}
same_trees() {
    diff <(tree "$1") <(tree "$2")
    diff -r --exclude=.evfs "$1" "$2"
}

@test "of a mounted store, restored: the whole trees are the same" {
    some 3000 >>"$F"
    jq -nc '[range(5) | {entity:"tx/\(.)",type:"t"}]' >>"$F"
    echo '{"q":1}' >>"$E/a b/é/t.jsonl"
    if [ "$(id -u)" = 0 ]; then
        install -d -o 65534 -g 65533 -m 2750 "$E/acme"
        echo '{}' >>"$E/acme/1/t.jsonl"
        chmod 711 "$E/e"
        chown 12:13 "$MNT/types/t1"
    else
        chmod 700 "$E/e"
    fi
    echo '{"bad":' >>"$E/a/t.jsonl" 2>/dev/null || true
    out=$(backup)
    echo "$out"
    same "$(number events "$out")" "$(lines "$F")"
    same "$(number bytes "$out")" "$(stat -c %s "$F")"
    "$EVFS_BIN" verify "$B"
    [ ! -e "$B/rejected.jsonl" ] && [ ! -e "$B/index.ckpt" ]
    same "$(find "$B" -type f ! -perm 600) $(find "$B" -type d ! -perm 700)" ' '
    mount_backup "$B"
    same_trees "$MNT" "$MNT2"
    # It is a store of its own.
    echo '{"new":1}' >>"$MNT2/entities/e/1/t1.jsonl"
    same "$(check_log "$MNT2/events.jsonl")" $(($(lines "$F") + 1))
    umount_backup
    same "$(head -n 1 "$MNT/.evfs/health")" ok health
}

@test "while four append: all that was acknowledged before, whole transactions; and the next ones go on" {
    remount -o segment_size=256K,compress=1 # files are exchanged meanwhile
    mkdir "$T/ack" "$T/before"
    drive ack "$F" "$T/ack" a b c d 3>&- &
    w=$!
    for t in a b c d; do wait_for 20 test -s "$T/ack/$t"; done
    for i in 1 2 3; do
        cp "$T/ack"/* "$T/before"
        out=$(backup)
        echo "# $out"
        rm -rf "$T/copy"
        cp -r "$B" "$T/copy"
        "$EVFS_BIN" verify "$T/copy"
        mount_backup "$T/copy"
        check_log "$MNT2/events.jsonl"
        drive check-backup "$MNT2" "$T/before" a b c d
        umount_backup
        [ $i = 1 ] || [ "$(number kept "$out")" = "$bytes" ]
        bytes=$(number bytes "$out")
    done
    [ "$(number linked "$out")" -ge 0 ]
    kill_store
    wait $w
    # After a crash the segments of the two begin at different events.
    start_store -o segment_size=256K
    out=$(backup)
    same "$(number kept "$out")" "$bytes"
    "$EVFS_BIN" export "$B" | cmp - "$F"
}

@test "the second time only what is new is copied; sealed files are shared where they can be" {
    some 3000 >>"$F"
    out=$(backup)
    [ "$(number linked "$out")" -gt 500000 ] && [ "$(number kept "$out")" = 0 ]
    same "$(stat -c %i "$B/log/00000000000000000001.jsonl")" "$(stat -c %i "$DATA/log/00000000000000000001.jsonl")"
    bytes=$(number bytes "$out")
    out=$(backup)
    same "$out" "3000 events, $bytes bytes (linked 0, copied 0, kept $bytes)"
    some 10 >>"$F"
    size=$(stat -c %s "$F")
    out=$(backup)
    same "$out" "3010 events, $size bytes (linked 0, copied $((size - bytes)), kept $bytes)"
    # Across filesystems nothing can be shared, and nothing that is there is copied again.
    if [ "$(stat -c %d /dev/shm)" != "$(stat -c %d "$T")" ]; then
        far=$(mktemp -d /dev/shm/evfs-backup.XXXXXX)
        first=$("$EVFS_BIN" backup "$DATA" "$far/b")
        some 1000 >>"$F"
        second=$("$EVFS_BIN" backup "$DATA" "$far/b")
        "$EVFS_BIN" verify "$far/b"
        "$EVFS_BIN" export "$far/b" | cmp - "$F"
        rm -rf "$far"
        same "$(number linked "$first") $(number copied "$first")" "0 $size"
        same "$(number linked "$second") $(number kept "$second")" "0 $size"
    fi
}

@test "reflinks, where the filesystem has them" {
    need_root
    need mkfs.xfs
    truncate -s 400M "$T/image"
    mkfs.xfs -q "$T/image"
    mkdir "$T/disk"
    mount -o loop "$T/image" "$T/disk" 2>/dev/null || skip 'this kernel mounts no XFS from a file'
    stop_store
    mv "$DATA" "$T/disk/data"
    DATA=$T/disk/data B=$T/disk/backup
    start_store -o segment_size=256K,compress=off
    some 3000 >>"$F"
    out=$(backup)
    [ "$(number linked "$out")" -gt 500000 ]
    same "$(stat -c %h "$B/log/00000000000000000001.jsonl")" 1 'a hard link, not a reflink'
    "$EVFS_BIN" verify "$B"
    "$EVFS_BIN" export "$B" | cmp - "$F"
    stop_store
}

packed() { [ "$(ls "$DATA"/log/*.jsonl | wc -l)" -le 2 ]; } # all that is sealed

@test "compressed segments are taken as they are, and plain ones that were taken stay" {
    remount -o segment_size=256K,compress=off
    some 2000 >>"$F"
    out=$(backup)
    bytes=$(number bytes "$out")
    remount -o segment_size=256K,compress=1
    some 2000 >>"$F"
    wait_for 120 packed
    out=$(backup)
    same "$(number kept "$out")" "$bytes"
    n=$(ls "$B"/log/*.jsonl.zst | wc -l)
    [ "$n" -ge 1 ]
    zst=$(basename "$(ls "$B"/log/*.jsonl.zst | head -n 1)")
    same "$(stat -c %i "$B/log/$zst")" "$(stat -c %i "$DATA/log/$zst")"
    "$EVFS_BIN" verify "$B"
    "$EVFS_BIN" export "$B" | cmp - "$F"
    cp -r "$B" "$T/copy"
    mount_backup "$T/copy"
    cmp "$MNT2/events.jsonl" "$F"
    umount_backup
    "$EVFS_BIN" backup "$DATA" "$T/fresh"
    [ "$(ls "$T"/fresh/log/*.jsonl.zst | wc -l)" -gt "$n" ]
    "$EVFS_BIN" verify "$T/fresh"
    "$EVFS_BIN" export "$T/fresh" | cmp - "$F"
}

@test "of a stopped store; and cp -r of one is a store" {
    some 2000 >>"$F"
    cp "$F" "$T/lines"
    tree "$MNT" >"$T/tree"
    stop_store
    before=$(find "$DATA" -type f -exec cksum {} + | sort)
    backup
    same "$(find "$DATA" -type f -exec cksum {} + | sort)" "$before" 'a backup changed the store'
    cp -r "$DATA" "$T/copy"
    cp -r "$B" "$T/copy2"
    for d in "$B" "$T/copy" "$T/copy2"; do
        "$EVFS_BIN" verify "$d"
        "$EVFS_BIN" export "$d" | cmp - "$T/lines"
        mount_backup "$d"
        tree "$MNT2" | diff - "$T/tree"
        echo '{}' >>"$MNT2/entities/more/t.jsonl"
        umount_backup
        "$EVFS_BIN" verify "$d"
    done
    "$EVFS_BIN" verify "$DATA" # shares files with one that was appended to
    "$EVFS_BIN" export "$DATA" | cmp - "$T/lines"
}

@test "what is refused, and what it says" {
    some 200 >>"$F"
    backup
    # Appended to since.
    cp -r "$B" "$T/copy"
    mount_backup "$B"
    out=$(backup 2>&1) && false
    contains "$out" "$MNT2"
    contains "$out" "$B"
    echo '{"other":1}' >>"$MNT2/entities/e/1/t.jsonl"
    umount_backup
    wait_for 10 "$EVFS_BIN" verify "$B"
    out=$(backup 2>&1) && false
    contains "$out" 'event 201'
    some 10 >>"$F"
    out=$(backup 2>&1) && false
    contains "$out" 'event 201 differs'
    "$EVFS_BIN" verify "$B"
    B=$T/copy
    backup
    # No store, and not empty; itself; nowhere.
    out=$("$EVFS_BIN" backup "$DATA" "$T" 2>&1) && false
    contains "$out" 'not empty'
    out=$("$EVFS_BIN" backup "$DATA" "$DATA" 2>&1) && false
    contains "$out" 'itself'
    refused "$EVFS_BIN" backup "$DATA" "$T/no/where" 2>/dev/null
    refused "$EVFS_BIN" backup "$T/nothing" "$T/b3" 2>/dev/null
    [ ! -e "$T/b3" ]
    code=0
    "$EVFS_BIN" backup "$DATA" 2>/dev/null || code=$?
    same "$code" 2
    # In use, and no mount to be seen.
    if [ "$MODE" != long ]; then
        echo '# only a long run asks for a store whose mount is not to be seen: it waits 10 s for a daemon that ends'
    elif [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
        out=$(unshare -m sh -c "umount -l '$MNT' && timeout 60 '$EVFS_BIN' backup '$DATA' '$T/b3'" 2>&1) && false
        contains "$out" 'no mount of it'
    fi
    health_ok
}

@test "made by root for somebody: links that he has put there are neither followed nor given to him" {
    need_root
    some 200 >>"$F"
    stop_store
    chown -R 65534:65533 "$DATA"
    backup
    same "$(find "$B" -printf '%U:%G\n' | sort -u)" 65534:65533
    echo secret >"$T/secret"
    ln -s "$T/secret" "$B/x"
    ln -s "$T/secret" "$B/log/x"
    ln "$T/secret" "$B/y"
    ln "$T/secret" "$B/log/y"
    mkfifo "$B/fifo"
    timeout 20 "$EVFS_BIN" backup "$DATA" "$B"
    same "$(stat -c '%u %s' "$T/secret")" '0 7'
    for f in lock log/00000000000000000001.idx log/00000000000000000001.jsonl backup.tmp; do
        rm -rf "$T/b2"
        cp -a "$B" "$T/b2"
        rm -rf "$T/b2/$f"
        ln -s "$T/secret" "$T/b2/$f"
        timeout 20 "$EVFS_BIN" backup "$DATA" "$T/b2" || true
        same "$(stat -c '%u %s' "$T/secret")" '0 7' "$f"
    done
    # Nor does a backup go where its log leads.
    mkdir "$T/etc"
    echo secret >"$T/etc/secret"
    rm -rf "$B/log"
    ln -s "$T/etc" "$B/log"
    out=$(backup 2>&1) && false
    contains "$out" 'Not a directory'
    same "$(ls "$T/etc") $(stat -c %u "$T/etc" "$T/etc/secret" | paste -sd' ')" 'secret 0 0'
}

@test "somebody's mount that says it is of the store is not asked how long the log is" {
    need_root
    some 200 >>"$F"
    mkdir "$T/fake"
    unmount_fake() { umount -l "$T/fake" 2>/dev/null || true; }
    stop_store # the other one is there first
    python3 - "$DATA" "$T/fake" >"$T/there" 3>&- <<'P' &
import ctypes, os, sys, time

fd = os.open("/dev/fuse", os.O_RDWR)
options = "fd=%d,rootmode=40000,user_id=65534,group_id=65534,allow_other" % fd
r = ctypes.CDLL(None, use_errno=True).mount(sys.argv[1].encode(), sys.argv[2].encode(), b"fuse.evfs", 0, options.encode())
print(r, flush=True)
time.sleep(60) # nobody answers
P
    fake=$!
    wait_for 20 grep -q . "$T/there"
    same "$(cat "$T/there")" 0
    start_store -o segment_size=256K -o compress=off
    out=$(timeout 20 "$EVFS_BIN" backup "$DATA" "$B") || { kill $fake; unmount_fake; false; }
    kill $fake
    unmount_fake
    same "$(number events "$out")" 200
    "$EVFS_BIN" verify "$B"
}

@test "a backup of many events is verified as fast as its store" {
    stop_store
    some 100000 | "$EVFS_BIN" import "$DATA"
    "$EVFS_BIN" verify "$DATA"
    backup
    timeout 60 "$EVFS_BIN" verify "$B" # in a second; it was a search of the segment for each event
}

@test "killed at any moment, the next run completes it" {
    seed=${SEED:-$RANDOM}
    echo "# SEED=$seed"
    RANDOM=$seed
    some 6000 >>"$F"
    far=$(mktemp -d /dev/shm/evfs-backup.XXXXXX) # nothing is shared: there is more to interrupt
    for ((i = 0; i < $(by_mode 8 16 100); i++)); do
        B=$far/b$((i % 2))
        ((i % 8 > 1)) || rm -rf "$B"
        some 40 >>"$F"
        backup >/dev/null 2>&1 3>&- &
        b=$!
        sleep "0.0$(printf %02d $((RANDOM % 40)))"
        kill -9 $b 2>/dev/null || true
        wait $b || true
        if [ -d "$B/log" ]; then
            "$EVFS_BIN" export "$B" >"$T/got"
            cmp -n "$(stat -c %s "$T/got")" "$T/got" "$F"
        fi
        ((i % 4 == 3)) || continue
        backup
        "$EVFS_BIN" verify "$B"
        "$EVFS_BIN" export "$B" | cmp - "$F"
    done
    rm -rf "$far"
}

@test "a full disk: the older backup stays, and the next run goes on" {
    need_root
    mkdir "$T/disk"
    mount -t tmpfs -o size=1500K tmpfs "$T/disk"
    B=$T/disk/backup
    some 1000 >>"$F"
    backup
    "$EVFS_BIN" export "$B" >"$T/older"
    some 6000 >>"$F"
    out=$(backup 2>&1) && false
    contains "$out" 'full'
    "$EVFS_BIN" export "$B" >"$T/got"
    cmp -n "$(stat -c %s "$T/older")" "$T/older" "$T/got"
    cmp -n "$(stat -c %s "$T/got")" "$T/got" "$F"
    "$EVFS_BIN" verify "$B"
    mount -o remount,size=40M "$T/disk"
    backup
    "$EVFS_BIN" verify "$B"
    "$EVFS_BIN" export "$B" | cmp - "$F"
    # One that never was whole is no store.
    rm -rf "$B"
    mount -o remount,size=1500K "$T/disk"
    refused backup 2>/dev/null
    refused "$EVFS_BIN" export "$B" >/dev/null 2>&1
    mount -o remount,size=40M "$T/disk"
    backup
    "$EVFS_BIN" export "$B" | cmp - "$F"
}
