/* SPDX-License-Identifier: MIT */
/* findings: what is wrong, told in words one by one, and counted. For whoever looks through a store. */
#ifndef STORE_FINDINGS_H
#define STORE_FINDINGS_H

#include "evstore.h"

struct findings {
    evs_report_fn *report; /* NULL: they are only counted */
    void *arg;
    int n;
};

/* What is longer than 320 bytes is cut. */
void findings_add(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
