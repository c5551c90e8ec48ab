# SPDX-License-Identifier: MIT
# lib: what the tests of the mount stand on. Each test has a directory of its own, T, with the store in
# DATA and the mount at MNT; the daemon runs in the foreground, its log is shown if the test fails, and
# teardown() always unmounts. Nothing here sleeps to synchronize: it polls for what it waits for.
#
# From the environment: EVFS_BIN the program, EVFS_SOURCE_DIR the repository, EVFS_TEST_DATA real data,
# EVFS_TEST_MODE quick|ci|long, EVFS_KILLS, EVFS_SANITIZED, EVFS_MOUNT_OPTIONS (-o …, of each mount), EVFS_TEST_TMP where T is made.

bats_require_minimum_version 1.5.0
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
EVFS_SOURCE_DIR=${EVFS_SOURCE_DIR:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)}
EVFS_BIN=${EVFS_BIN:-$EVFS_SOURCE_DIR/build/evfs}
MODE=${EVFS_TEST_MODE:-ci}
# A C program of this directory, which meson builds beside the program: $(helper load).
helper() {
    local p=${EVFS_BUILD_DIR:-$(dirname "$EVFS_BIN")}/tests/$1
    [ -x "$p" ] || { echo "no $p: build with -Dtests=enabled" >&2; return 1; }
    echo "$p"
}
drive() { python3 "$BATS_TEST_DIRNAME/drive.py" "$@"; }

# Shorter runs for the sanitizers and before a commit.
by_mode() { # by_mode QUICK CI LONG
    case $MODE in
    quick) echo "$1" ;;
    ci) echo "$2" ;;
    *) echo "$3" ;;
    esac
}

need() { # need PROGRAM...
    local p
    for p in "$@"; do
        command -v "$p" >/dev/null || skip "no $p"
    done
}
need_root() { [ "$(id -u)" = 0 ] || skip 'needs root'; }
need_data() { # need_data FILE: below EVFS_TEST_DATA
    [ -n "${EVFS_TEST_DATA-}" ] && [ -e "$EVFS_TEST_DATA/$1" ] || skip "no test data: $1"
}
need_mount() {
    [ -x "$EVFS_BIN" ] || { echo "no program at EVFS_BIN=$EVFS_BIN" >&2; return 1; }
    [ -e /dev/fuse ] || skip 'no /dev/fuse'
    [ "$(id -u)" = 0 ] || command -v fusermount3 >/dev/null || skip 'neither root nor fusermount3'
}

# Fresh directories and variables; no mount yet.
make_dirs() {
    T=$(mktemp -d "${EVFS_TEST_TMP:-${TMPDIR:-/tmp}}/evfs-mount.XXXXXX")
    chmod 711 "$T"
    DATA=$T/data MNT=$T/mnt LOG=$T/daemon.log PID=
    mkdir "$DATA" "$MNT"
    : >"$LOG"
}

mounted() { mountpoint -q "$MNT" 2>/dev/null; }

# Wait up to SECONDS for a command to succeed.
wait_for() { # wait_for SECONDS COMMAND...
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.01
    done
}

mounted_or_dead() { mounted || ! kill -0 "$PID" 2>/dev/null; }

# start_store [OPTIONS OF evfs mount]: mounts DATA at MNT and waits until it is there.
start_store() {
    # shellcheck disable=SC2086
    "$EVFS_BIN" mount -f ${EVFS_MOUNT_OPTIONS-} "$@" "$DATA" "$MNT" >>"$LOG" 2>&1 3>&- &
    PID=$!
    [ -z "${EVFS_TEST_TMP-}" ] || echo $PID >>"$EVFS_TEST_TMP/pids"
    wait_for 60 mounted_or_dead
    mounted || { echo 'the daemon ended:' >&2; cat "$LOG" >&2; return 1; }
}

unmount() { umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT" 2>/dev/null; }
unmount_lazily() { fusermount3 -u -z "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null; }

gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
# The daemon has ended; its exit status if it is our child, else 0.
wait_daemon() {
    [ -n "$PID" ] || return 0
    wait_for 60 gone "$PID" || { echo "the daemon $PID does not end" >&2; return 1; }
    local code=0 pid=$PID
    PID=
    wait "$pid" 2>/dev/null || code=$?
    [ $code -ne 127 ] || code=0 # not our child: setup_file() started it
    return $code
}

stop_store() {
    wait_for 10 unmount || { echo "umount $MNT: busy" >&2; return 1; }
    wait_daemon
}

kill_store() {
    kill -9 "$PID"
    wait_daemon || true
    unmount_lazily || true
}

remount() { # remount [OPTIONS]
    stop_store
    start_store "$@"
}

# For teardown(): unmounts whatever is mounted, ends the daemon, shows its log if the test failed.
cleanup() {
    [ -n "${T-}" ] || return 0
    local failed= p
    for p in $(jobs -p); do
        [ "$p" = "$PID" ] || kill "$p" 2>/dev/null || true
    done
    ! mounted || unmount || unmount_lazily || true
    if [ -n "$PID" ] && ! wait_for 30 gone "$PID"; then
        echo "the daemon $PID did not end after umount" >&2
        kill -9 "$PID"
        failed=1
    fi
    unmount_lazily || true # a mount whose daemon is dead
    if grep -qE '(ERROR|WARNING): (Address|Leak|Thread)Sanitizer|runtime error:' "$LOG"; then
        echo 'a sanitizer complains' >&2
        failed=1
    fi
    if [ -z "${BATS_TEST_COMPLETED-}" ] || [ -n "$failed" ]; then
        # A sanitizer's report from its beginning, else the end of the log.
        {
            echo "--- the daemon's log"
            sed -n '/Sanitizer: /,$p;/runtime error:/,$p' "$LOG" | head -n 60 | grep . || tail -n 40 "$LOG"
            echo '---'
        } >&2
    fi
    umount -l "$DATA" 2>/dev/null || true # a small disk, see errors.bats
    rm -rf "$T"
    T=
    [ -z "$failed" ]
}

# Checks that say what differs.
same() { # same GOT WANT [WHAT]
    [ "$1" = "$2" ] || { printf '%s: got:\n%s\nwant:\n%s\n' "${3:-differs}" "$1" "$2" >&2; return 1; }
}
contains() { # contains TEXT PART
    [[ $1 == *"$2"* ]] || { printf 'no "%s" in:\n%s\n' "$2" "$1" >&2; return 1; }
}
lines() { wc -l <"$1" | tr -d ' '; }
refused() { # refused COMMAND...: it must fail
    if "$@"; then
        echo "worked, but should not: $*" >&2
        return 1
    fi
}
size_is() { [ "$(stat -c %s "$1")" = "$2" ]; }
# A field of the newest rejected value.
rejected() { tail -n 1 "$MNT/.evfs/rejected.jsonl" | jq -r "$1"; }
health_ok() { same "$(cat "$MNT/.evfs/health")" ok health; }
# As another user; the group and other groups are only this.
as_user() { # as_user UID COMMAND...
    local uid=$1
    shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}
# drive as another user, who may not reach our python3, nor our repository.
need_user_drive() {
    need_root
    need setpriv
    cp "$BATS_TEST_DIRNAME/drive.py" "$T/drive.py"
    chmod 644 "$T/drive.py"
    as_user 65534 /usr/bin/python3 -c 1 2>/dev/null || skip 'another user has no /usr/bin/python3'
}
user_drive() { # user_drive UID ARGUMENTS OF drive
    local uid=$1
    shift
    as_user "$uid" /usr/bin/python3 "$T/drive.py" "$@"
}
# Every invariant of a store's lines, from its own events.jsonl.
check_log() { drive check-log "${1:-$MNT/events.jsonl}"; }

# What most files want: a fresh store, mounted.
setup_store() {
    need_mount
    make_dirs
    start_store "$@"
}
