/* SPDX-License-Identifier: MIT */
/* findings: see findings.h. */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>

void findings_add(struct findings *f, const char *fmt, ...)
{
    char text[320];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    f->n++;
    if (f->report)
        f->report(f->arg, text);
}
