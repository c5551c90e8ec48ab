#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# borders_race: what a chmod or chown has forbidden when it returns, tried at once by others, under load.
import errno, json, os, signal, sys, time

import borders
from borders import as_user, code, event, expect, main, read_all, write


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def start(fn, *args):
    """A child that runs until it is stopped."""
    pid = os.fork()
    if pid == 0:
        try:
            fn(*args)
        except BaseException as e:
            print(fn.__name__, repr(e), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return pid


def stop(pids):
    for p in pids:
        os.kill(p, signal.SIGTERM)
    for p in pids:
        _, status = os.waitpid(p, 0)
        expect(os.WTERMSIG(status) if os.WIFSIGNALED(status) else status, int(signal.SIGTERM), "a child ended by itself")


def hurry():
    """Go on at once when a call returns, before those who are still on their way."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def append_forever(uid, how):
    """Through a file above, opened once, to what is closed and opened again all the time. The kernel lets one
    write at a time into a file: so it is several files."""
    become(uid)
    file = ("events.jsonl", "types/t0/events.jsonl", "types/t1/events.jsonl", "types/t2/events.jsonl")[how % 4]
    fd = os.open(f"{borders.MNT}/{file}", os.O_WRONLY | os.O_APPEND)
    one = [event(f"acme/{i % 7}", f"t{(how + 3) % 4}") for i in range(1500)]
    if how < 4:
        text = "".join(one[:100])
    else:  # long enough for a chmod to come between its first event's look-up and its commit
        text = "[" + ",".join(x.strip() for x in one) + "]\n"
    while True:
        try:
            os.write(fd, text.encode())
        except PermissionError:
            pass
        time.sleep(0.002)  # or there would be millions


def cmd_flips(rounds):
    """8 writers above a border: from the reply to its chmod on, no event of theirs is stored."""
    mnt = borders.MNT
    acme = mnt + "/entities/acme"
    os.chmod(mnt, 0o777)
    fd = os.open(mnt + "/events.jsonl", os.O_WRONLY | os.O_APPEND)
    for t in ("t0", "t1", "t2", "t3"):
        os.write(fd, event("acme/0", t).encode() + event("mark", t).encode())
    os.close(fd)
    fd = os.open(mnt + "/entities/mark/events.jsonl", os.O_WRONLY | os.O_APPEND)
    os.chown(acme, 2001, 2001)
    writers = [start(append_forever, 3000 + i, i) for i in range(8)]
    hurry()
    for k in range(int(rounds)):
        os.chmod(acme, 0o777)
        size, end = os.stat(acme + "/events.jsonl").st_size, time.monotonic() + 20
        while os.stat(acme + "/events.jsonl").st_size == size and time.monotonic() < end:
            pass
        os.chmod(acme, 0o700)
        os.write(fd, event("mark", "closed").encode())
        for _ in range(5):
            os.write(fd, event("mark", "still").encode())
        os.write(fd, event("mark", "opens").encode())
    stop(writers)
    closed, stored, late = False, 0, []
    for line in read_all(mnt + "/events.jsonl").splitlines():
        ev = json.loads(line)
        if ev["entity"] == "mark":
            closed = ev["type"] == "closed" or (closed and ev["type"] != "opens")
        elif ev["uid"] >= 3000:
            stored += 1
            if closed:
                late.append(ev["seq"])
    expect(len(late), 0, "events stored after the chmod that forbids them:", late[:5])
    expect(stored > int(rounds), True, "writers did write")
    print(rounds, "rounds,", stored, "events of 8 writers")


def load_forever(uid, i):
    """Appends and stats that make the kernel ask for attributes, and keep them."""
    mnt = borders.MNT
    fd = os.open(f"{mnt}/events.jsonl", os.O_WRONLY | os.O_APPEND)
    while True:
        os.write(fd, (event(f"acme/{i}", "t") + event(f"free/{i}", "u")).encode())
        for f in ("events.jsonl", "types/t/events.jsonl", "entities/acme/1/t.jsonl", "entities/acme"):
            os.stat(f"{mnt}/{f}")
        time.sleep(0.0005)


def try_open(path, allowed):
    """'o' or '-'. What is closed must be so at once. What was opened may be refused while others write to that very
    file: the kernel then ignores what it has asked for, and goes by the mode from before (fs/settle.c)."""
    for k in range(200 if allowed else 1):
        if code(os.open, path, os.O_RDONLY) == "OK":
            return "o" if k == 0 else "O"
    return "-"


def look(uid, files, asks, says):
    become(uid)
    while want := os.read(asks, len(files)).decode():
        os.write(says, "".join(try_open(f, w == "o") for f, w in zip(files, want)).encode() + b"\n")


def cmd_at_once(rounds):
    """A chmod or chown, and at once an open by another process: what the kernel keeps is void."""
    mnt = borders.MNT
    acme = mnt + "/entities/acme"
    for e, t in (("acme/1", "t"), ("acme/1/2", "t"), ("free/1", "u")):
        assert write(mnt + "/events.jsonl", event(e, t)) == "OK"
    files = [f"{mnt}/{f}" for f in ("entities/acme/1/t.jsonl", "entities/acme/1/2/events.jsonl", "entities/acme/events.jsonl",
                                    "entities/acme/1/state.json", "events.jsonl", "types/t/events.jsonl",
                                    "entities/free/1/events.jsonl", "types/u/events.jsonl")]
    asks, asked = os.pipe()
    says, said = os.pipe()
    looker = start(look, 2004, files, asks, said)
    load = [start(load_forever, 0, i) for i in range(2)]
    f = os.fdopen(says)
    # mode and owner, and what uid 2004 may open then
    states = [(0o755, 2001, "oooooooo"), (0o700, 2001, "------oo"), (0o700, 2004, "oooo--oo"), (0o711, 2001, "------oo"),
              (0o750, 2001, "------oo"), (0o755, 2001, "oooooooo"), (0o744, 2001, "------oo")]
    took, again = [], 0
    for k in range(int(rounds)):
        mode, uid, want = states[(k * 5 + k // 7) % len(states)]
        begin = time.monotonic()
        if os.stat(acme).st_uid != uid:
            os.chown(acme, uid, -1)
        os.chmod(acme, mode)
        took.append(time.monotonic() - begin)
        os.write(asked, want.encode())
        got = f.readline().strip()
        again += got.count("O")
        expect(got.lower(), want, "round", k, oct(mode), uid)
        st = os.stat(acme + "/1/t.jsonl")
        expect((st.st_mode & 0o777, st.st_uid), (mode & 0o666, uid), "stat, round", k)
    stop(load + [looker])
    took.sort()
    print(rounds, "rounds; a change took", round(took[len(took) // 2] * 1e6), "us;", again, "of what was opened at a second try")
    expect(again < max(5, int(rounds) / 20), True, "opens at a second try are few:", again)


def cmd_shares():
    """One user holds as many documents as he may: another opens what he needs, and so does he himself of what is no
    document. The document is what was refused to him, some 900 KB."""
    mnt = borders.MNT
    os.chmod(mnt, 0o777)
    log, large, small = (f"{mnt}/{f}" for f in ("events.jsonl", ".evfs/rejected.jsonl", ".evfs/stats.json"))
    write(log, event("a", "t"))
    as_user("acme", lambda: [write(log, "x" * 5000 + "\n") for _ in range(200)])

    def hold(says):
        become(2001)
        size = len(read_all(large))
        fds, refused = [], None
        while len(fds) < 1000 and not refused:
            try:
                fds.append(os.open(large, os.O_RDONLY))
            except OSError as e:
                refused = errno.errorcode[e.errno]
        full = (256 << 20) // size
        os.write(says, f"{len(fds) == full} {refused} {code(os.open, log, os.O_RDONLY)}\n".encode())
        time.sleep(1000)

    says, said = os.pipe()
    holder = start(hold, said)
    with os.fdopen(says) as f:
        expect(f.readline().split(), ["True", "ENOBUFS", "OK"], "who holds all he may")
    expect(as_user("acme", code, os.open, large, os.O_RDONLY), "ENOBUFS", "the same in another process")
    expect(as_user("beta", code, os.open, small, os.O_RDONLY), "OK", "another user")
    stop([holder])
    end = time.monotonic() + 60
    while as_user("acme", code, os.open, large, os.O_RDONLY) != "OK" and time.monotonic() < end:
        time.sleep(0.01)
    expect(as_user("acme", code, os.open, large, os.O_RDONLY), "OK", "given back")


if __name__ == "__main__":
    main(globals())
