/* SPDX-License-Identifier: MIT */
/* pins_verify: do the schemas in meta.db compile? */
#include "findings.h"
#include "meta.h"
#include "pins.h"

#include <errno.h>

static int verify_pin(void *arg, const struct meta_pin *p)
{
    const struct evs_dir d = {p->kind, p->name.p, p->name.n};
    struct pin *pin = NULL;
    struct js_error why;
    int r = pin_new(&d, p->schema, p->uid, p->time_us, &pin, &why);

    pin_unref(pin);
    if (r == -EINVAL || r == -E2BIG)
        findings_add(arg, "meta.db: pins: the schema of '%.*s' can't be compiled: #%s: %s",
                     (int)MIN(p->name.n, 80), p->name.p, why.schema_path, why.text);
    return r == -ENOMEM ? r : 0;
}

int pins_verify(struct meta *m, evs_report_fn *report, void *arg, struct evs_error *err)
{
    struct findings f = {report, arg, 0};
    struct evs_error why = {.why = EVS_OK_};
    int r = meta_verify(m, report, arg, err);

    if (r != 0) /* what is damaged is not believed */
        return r;
    r = meta_each_pin(m, verify_pin, &f, &why);
    if (r == 0)
        return f.n;
    return why.why == EVS_OK_ ? evs_fail(err, EVS_NO_MEMORY, EVS_NOWHERE) : evs_fail_as(err, &why);
}
