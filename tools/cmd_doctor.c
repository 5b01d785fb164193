/* tools/cmd_doctor.c - kcptunctl doctor: asks for the facts, prints the findings. */
#include "tools/ctl.h"
#include "tools/ctl_doctor.h"
#include "tools/ctl_text.h"

#include <stdio.h>
#include <string.h>

static const char *color_of(enum doctor_severity s)
{
    static const char *const colors[] = {
        [DOCTOR_NOTE] = "\033[36m", [DOCTOR_WARNING] = "\033[33m", [DOCTOR_ERROR] = "\033[31m"};

    return colors[s];
}

static void print_part(const char *head, const char *text)
{
    printf("    %s ", head);
    ctl_say(stdout, text);
    putchar('\n');
}

static void print_finding(const struct ctl *c, const struct doctor_finding *f)
{
    printf("%s%s%s: ", c->color ? color_of(f->severity) : "", doctor_severity_name(f->severity),
           c->color ? "\033[0m" : "");
    ctl_say(stdout, f->what);
    putchar('\n');
    print_part("why:", f->why);
    print_part("do: ", f->todo);
}

static void print_json(const struct doctor_findings *fs)
{
    json_t *v = json_array(), *data = json_pack("{so}", "findings", v);

    for (size_t i = 0; i < fs->n; i++) {
        const struct doctor_finding *f = &fs->v[i];

        json_array_append_new(v, json_pack("{ss ss ss ss ss}", "check", f->check, "severity",
                                           doctor_severity_name(f->severity), "what", f->what, "why", f->why, "do",
                                           f->todo));
    }
    ctl_print_json(data);
    json_decref(data);
}

int cmd_doctor(const struct ctl *c, int argc, char **argv)
{
    struct doctor_findings fs = {0};
    struct doctor_machine m;
    bool found = false;
    json_t *facts;
    int r = ctl_call(c, "doctor", NULL, &facts);

    (void)argc;
    (void)argv;
    if (r)
        return r;
    doctor_machine_read(&m, "/proc");
    doctor_examine(facts, &m, &fs);
    json_decref(facts);
    for (size_t i = 0; i < fs.n; i++) {
        found |= fs.v[i].severity != DOCTOR_NOTE;
        if (!c->json)
            print_finding(c, &fs.v[i]);
    }
    if (c->json)
        print_json(&fs);
    else if (!fs.n)
        puts("nothing found");
    doctor_findings_fini(&fs);
    return found ? CTL_EXIT_FOUND : CTL_EXIT_DONE;
}
