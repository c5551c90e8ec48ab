/* SPDX-License-Identifier: MIT */
/* error: one table (EVS_REASONS) gives errno, name and sentence of each reason. */
#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct reason {
    int code;
    const char *name, *text;
} reasons[] = {
#define X(name, code, text) [EVS_##name] = {code, #name, text},
    EVS_REASONS(X)
#undef X
};

static const struct reason *reason_of(enum evs_reason why)
{
    static const struct reason none = {0, "OK", "no error"};

    return (unsigned)why < EVS_REASON_COUNT && reasons[why].name ? &reasons[why] : &none;
}

const char *evs_reason_text(enum evs_reason why)
{
    return reason_of(why)->text;
}

const char *evs_reason_name(enum evs_reason why)
{
    return reason_of(why)->name;
}

int evs_fail(struct evs_error *err, enum evs_reason why, uint64_t pos)
{
    int code = reason_of(why)->code;

    if (err) {
        err->why = why;
        err->code = code;
        err->pos = pos;
        err->detail[0] = '\0';
    }
    return -code;
}

int evs_fail_at(struct evs_error *err, enum evs_reason why, uint64_t pos, const char *fmt, ...)
{
    int r = evs_fail(err, why, pos);

    if (err) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->detail, sizeof err->detail, fmt,
                        ap); /* cut is fine: it is for people */
        va_end(ap);
    }
    return r;
}

int evs_fail_errno(struct evs_error *err, int r, const char *what)
{
    enum evs_reason why = r == -ENOSPC || r == -EDQUOT ? EVS_DISK_FULL
                          : r == -ENOMEM               ? EVS_NO_MEMORY
                                                       : EVS_SYSTEM;

    (void)evs_fail_at(err, why, EVS_NOWHERE, "%s", what);
    if (err)
        err->code = -r;
    return r;
}

int evs_fail_as(struct evs_error *err, const struct evs_error *why)
{
    if (err)
        *err = *why;
    return -why->code;
}

char *evs_error_format(const struct evs_error *err, char *buf, size_t n)
{
    const struct reason *why = reason_of(err->why);
    char at[40] = "", sys[80] = "";

    if (err->pos != EVS_NOWHERE)
        (void)snprintf(at, sizeof at, " (byte %" PRIu64 ")", err->pos);
    if (err->why == EVS_SYSTEM || err->code != why->code) {
        char text[64];
        (void)snprintf(sys, sizeof sys, ": %s", strerror_r(err->code, text, sizeof text));
    }
    (void)snprintf(buf, n, "%s%s%s%s%s", err->detail, err->detail[0] ? ": " : "", why->text, at,
                   sys);
    return buf;
}
