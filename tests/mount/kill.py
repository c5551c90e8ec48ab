#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# kill EVFS DIRECTORY COUNT SEED: daemons of a store killed with SIGKILL, COUNT times, under four writers, each in
# one of five ways. After each kill the store is mounted, all of it is checked against what the writers were told,
# and verified. One process rather than a script: a kill costs a fifth.
import contextlib, io, os, random, subprocess, sys, time
import drive

WRITERS = ("plain", "halves", "fsync", "dsync")
STORE_KILLS = 20  # then a new store: each check reads all of it


class Store:
    def __init__(self, evfs, top):
        self.evfs, self.top, self.daemon = evfs, top, None
        self.data, self.mnt, self.ack, self.backup = (os.path.join(top, n) for n in ("data", "mnt", "ack", "backup"))
        self.log = open(os.path.join(top, "daemon.log"), "ab")
        self.device = os.stat(top).st_dev

    def run(self, *args, **more):
        return subprocess.run([self.evfs, *args], stderr=self.log, **more)

    def new(self):
        subprocess.run(["rm", "-rf", self.data, self.ack, self.backup], check=True)
        os.mkdir(self.ack)

    def mounted(self):
        try:
            return os.stat(self.mnt).st_dev != self.device
        except OSError:  # of a daemon that is dead
            return False

    def start(self, wait=True):
        # Small segments, so that rolls, seals, and what is done with sealed segments are hit as well.
        self.daemon = subprocess.Popen([self.evfs, "mount", "-f", "-o", "segment_size=64K", self.data, self.mnt],
                                       stdout=self.log, stderr=self.log)
        if os.environ.get("EVFS_TEST_TMP"):
            with open(os.path.join(os.environ["EVFS_TEST_TMP"], "pids"), "a") as f:
                print(self.daemon.pid, file=f)
        end = time.monotonic() + 120
        while wait and not self.mounted():
            if self.daemon.poll() is not None or time.monotonic() > end:
                drive.die("the daemon ended, or mounts nothing:", self.daemon.returncode)
            time.sleep(0.002)

    def unmount(self, lazily=False):
        for cmd in (["umount"] + lazily * ["-l"], ["fusermount3", "-u"] + lazily * ["-z"]):
            if subprocess.run(cmd + [self.mnt], stderr=subprocess.DEVNULL).returncode == 0:
                return True
        return False

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()
        self.unmount(lazily=True)

    def stop(self):
        end = time.monotonic() + 60
        while not self.unmount():
            if time.monotonic() > end:
                drive.die("umount: busy")
            time.sleep(0.01)
        if self.daemon.wait(120):
            drive.die("the daemon's exit code is", self.daemon.returncode)

    def write(self, k):
        """Starts the writers; returns when one has been acknowledged something."""
        pids, events = [], os.path.join(self.mnt, "events.jsonl")
        for how in WRITERS:
            tag = "k%d-%s" % (k, how)
            pid = os.fork()
            if pid == 0:
                drive.ack(events, tag, os.path.join(self.ack, tag), how)
                os._exit(0)
            pids.append(pid)
        first = os.path.join(self.ack, "k%d-plain" % k)
        while not (os.path.exists(first) and os.path.getsize(first)):
            time.sleep(0.001)
        return pids

    def verify(self, what):
        r = self.run("verify", what, stdout=subprocess.PIPE)
        if r.returncode:
            drive.die("verify", what, r.stdout.decode())

    def check(self):
        """Everything, by the mount and without it. Returns how many events were acknowledged in this store."""
        self.start()
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            drive.cmd_check_log(os.path.join(self.mnt, "events.jsonl"))
            drive.cmd_check_acked(self.mnt, self.ack)
        self.stop()
        self.verify(self.data)
        return int(said.getvalue().split()[-1])

    def check_backup(self):
        """What an interrupted one has left is gone on with."""
        self.run("backup", self.data, self.backup, stdout=self.log, check=True)
        self.verify(self.backup)
        a, b = (self.run("export", d, stdout=subprocess.PIPE, check=True).stdout for d in (self.data, self.backup))
        if a != b:
            drive.die("the backup differs")


def one(s, k, rnd):
    backup = None
    s.start()
    pids = s.write(k)
    if k % 5 == 1:  # while a backup is made, which goes on beside the next daemon
        backup = subprocess.Popen([s.evfs, "backup", s.data, s.backup], stdout=s.log, stderr=s.log)
    time.sleep(rnd.uniform(0, 0.12))
    if k % 5 == 2:  # while it ends: the checkpoint, the clean idx
        s.daemon.terminate()
        time.sleep(rnd.uniform(0, 0.03))
    s.kill()
    if any([os.waitpid(p, 0)[1] for p in pids]):
        drive.die("a writer failed otherwise than by an errno")
    if k % 5 == 3:  # while it recovers, up to three times
        for _ in range(rnd.randrange(1, 4)):
            s.start(wait=False)
            time.sleep(rnd.uniform(0, 0.04))
            s.kill()
    if k % 5 == 4:  # while somebody reads what is there
        s.start()
        reader = subprocess.Popen(["cat", os.path.join(s.mnt, "events.jsonl")], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        time.sleep(rnd.uniform(0, 0.01))
        s.kill()
        reader.wait()
    total = s.check()
    if backup:
        backup.wait()
        s.check_backup()
    return total


def main(evfs, top, count, seed):
    s, rnd, total, sofar = Store(evfs, top), random.Random(int(seed)), 0, 0
    for k in range(1, int(count) + 1):
        if k % STORE_KILLS == 1:
            s.new()
            total, sofar = total + sofar, 0
        try:
            sofar = one(s, k, rnd)
        except BaseException:
            print("at kill", k, "of SEED", seed, file=sys.stderr)
            raise
    print("%s kills, %d acknowledged events" % (count, total + sofar))


main(*sys.argv[1:])
