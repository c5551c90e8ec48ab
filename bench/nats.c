/* SPDX-License-Identifier: MIT */
/* evfs-nats: a client of NATS JetStream, with its C library: Debian has no other. An entity is a subject,
 * orders.0012, and all of orders.> are one stream in a file.
 *   evfs-nats new URL                make the stream, empty
 *   evfs-nats one URL FILE [N]       publish the first N lines, each when the last is acknowledged; prints events a second
 *   evfs-nats bulk URL FILE          publish all lines, and wait for all acknowledgements in the end; the same
 *   evfs-nats read URL N SUBJECT...  read all messages of a subject, N times, the subjects in turn; prints
 *                                    microseconds each */
#include "bench.h"

#include <nats/nats.h>

#define STREAM     "BENCH"
#define SUBJECTS   "orders.>"
#define TIMEOUT_MS 60000
#define PENDING    8192 /* messages without an acknowledgement: more is not faster */

struct client {
    natsConnection *nc;
    jsCtx *js;
};

static void check(natsStatus s, const char *what)
{
    if (s == NATS_OK)
        return;
    fprintf(stderr, "nats: %s: %s\n", what, natsStatus_GetText(s));
    exit(1);
}

static struct client connect_to(const char *url)
{
    struct client c = {0};
    jsOptions o;

    check(jsOptions_Init(&o), "options");
    o.PublishAsync.MaxPending = PENDING;
    o.PublishAsync.StallWait = TIMEOUT_MS; /* for an acknowledgement, when so many are missing */
    o.Wait = TIMEOUT_MS;
    check(natsConnection_ConnectTo(&c.nc, url), url);
    check(natsConnection_JetStream(&c.js, c.nc, &o), "JetStream");
    return c;
}

static void disconnect(struct client *c)
{
    jsCtx_Destroy(c->js);
    natsConnection_Destroy(c->nc);
    nats_Close();
}

static void new_stream(struct client *c)
{
    const char *subjects[] = {SUBJECTS};
    jsStreamConfig cfg;

    (void)js_DeleteStream(c->js, STREAM, NULL, NULL); /* the first time there is none */
    check(jsStreamConfig_Init(&cfg), "stream");
    cfg.Name = STREAM;
    cfg.Subjects = subjects;
    cfg.SubjectsLen = 1;
    cfg.Storage = js_FileStorage;
    check(js_AddStream(NULL, c->js, &cfg, NULL, NULL), "stream");
}

/* evfs-gen's line begins with {"entity":"orders/0012". */
static const char *line_subject(const char *line, size_t n, char *buf, size_t cap)
{
    static const char head[] = "{\"entity\":\"";
    const char *name = line + sizeof head - 1, *end;

    if (n < sizeof head || memcmp(line, head, sizeof head - 1) != 0 ||
        !(end = memchr(name, '"', n - sizeof head)) || (size_t)(end - name) >= cap)
        die("a line that is not evfs-gen's", NULL);
    size_t len = (size_t)(end - name);
    memcpy(buf, name, len);
    buf[len] = '\0';
    for (char *slash; (slash = strchr(buf, '/'));)
        *slash = '.';
    return buf;
}

static void publish(struct client *c, const char *file, size_t max, bool wait_each)
{
    jsPubOptions wait;
    char subject[64];
    size_t n, count = 0;
    char *text = load_file(file, &n);
    uint64_t begin = now_ns();

    for (const char *p = text, *lf; count < max && (lf = memchr(p, '\n', n - (size_t)(p - text)));
         p = lf + 1, count++) {
        int len = (int)(lf - p);
        (void)line_subject(p, (size_t)len, subject, sizeof subject);
        check(wait_each ? js_Publish(NULL, c->js, subject, p, len, NULL, NULL)
                        : js_PublishAsync(c->js, subject, p, len, NULL),
              "publish");
    }
    if (!wait_each) {
        check(jsPubOptions_Init(&wait), "options");
        wait.MaxWait = TIMEOUT_MS;
        check(js_PublishAsyncComplete(c->js, &wait), "acknowledgements");
    }
    printf("%.0f\n", (double)count * 1e9 / (double)(now_ns() - begin));
    free(text);
}

/* All that there is now: a consumer of this subject, gone afterwards. */
static void read_subject(struct client *c, const char *subject)
{
    natsSubscription *sub;
    jsConsumerInfo *info;

    check(js_SubscribeSync(&sub, c->js, subject, NULL, NULL, NULL), subject);
    check(natsSubscription_GetConsumerInfo(&info, sub, NULL, NULL), subject);
    uint64_t want = info->NumPending + info->Delivered.Consumer;
    jsConsumerInfo_Destroy(info);
    for (uint64_t i = 0; i < want; i++) {
        natsMsg *m;
        check(natsSubscription_NextMsg(&m, sub, TIMEOUT_MS), "message");
        natsMsg_Destroy(m);
    }
    natsSubscription_Destroy(sub);
}

static void read_all(struct client *c, size_t n, char **subjects, size_t count)
{
    uint64_t begin = now_ns();

    for (size_t i = 0; i < n; i++)
        read_subject(c, subjects[i % count]);
    printf("%.2f\n", (double)(now_ns() - begin) / 1e3 / (double)n);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    bool one = strcmp(what, "one") == 0, bulk = strcmp(what, "bulk") == 0;
    bool reads = strcmp(what, "read") == 0 && argc > 4;

    if (!(strcmp(what, "new") == 0 && argc == 3) && !((one || bulk) && argc > 3) && !reads)
        return fputs("usage: evfs-nats new URL | one URL FILE [N] | bulk URL FILE | read URL N "
                     "SUBJECT...\n",
                     stderr),
               2;
    struct client c = connect_to(argv[2]);
    if (one || bulk)
        publish(&c, argv[3], argc > 4 ? strtoull(argv[4], NULL, 10) : SIZE_MAX, one);
    else if (reads)
        read_all(&c, strtoull(argv[3], NULL, 10), argv + 4, (size_t)argc - 4);
    else
        new_stream(&c);
    disconnect(&c);
    return 0;
}
