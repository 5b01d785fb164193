/* tools/cmd_top.c - kcptunctl top: sessions on the whole screen, with live rates, sorted by any column. */
#include "core/base/bytes.h"
#include "tools/ctl_list.h"
#include "tools/ctl_rates.h"

#include <curses.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECOND_MS = 1000, FIELDS = 10, NAME = 24 };

struct row { /* one session */
    char id[32], name[NAME + 1], remote[64], state[16];
    double v[FIELDS]; /* by enum field */
};

enum field { F_IN, F_OUT, F_STREAMS, F_SRTT, F_RESENT, F_QUEUED, F_FLIGHT, F_AGE };

static const struct {
    const char *head;
    int width;
    char key; /* sorts by it */
    const char *member;
    bool rate, time;
    double factor;
} fields[] = {
    [F_IN] = {"IN bit/s", 9, 'i', "in_bytes", true, false, 8},
    [F_OUT] = {"OUT bit/s", 10, 'o', "out_bytes", true, false, 8},
    [F_STREAMS] = {"STREAMS", 8, 't', "streams", false, false, 1},
    [F_SRTT] = {"SRTT", 6, 'r', "srtt_ms", false, false, 1},
    [F_RESENT] = {"RESENT/s", 9, 'l', "retrans", true, false, 1},
    [F_QUEUED] = {"QUEUED", 8, 'u', "queued_bytes", false, false, 1},
    [F_FLIGHT] = {"FLIGHT", 7, 'f', "inflight", false, false, 1},
    [F_AGE] = {"AGE", 13, 'a', "age_s", false, true, 1},
};

struct top {
    const struct ctl *c;
    const char *profile;
    json_t *was, *is; /* answers to `sessions` */
    double was_at, is_at;
    struct row *rows;
    size_t n, first; /* the first one shown */
    enum field by;
    bool up; /* the least first */
};

static struct top *sorting; /* qsort() has no argument for its comparison */

static int by_field(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    double d = x->v[sorting->by] - y->v[sorting->by];

    if (d < 0 || d > 0)
        return (d < 0) == sorting->up ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* Sessions of the earlier answer by id, borrowed. */
static json_t *index_by_id(const json_t *answer)
{
    json_t *index = json_object(), *s;
    size_t i;

    json_array_foreach(json_object_get(answer, "sessions"), i, s) json_object_set(index, ctl_str(s, "id"), s);
    return index;
}

static void fill(struct row *row, const json_t *was, const json_t *is, double seconds)
{
    snprintf(row->id, sizeof row->id, "%s", ctl_str(is, "id"));
    snprintf(row->name, sizeof row->name, "%s", ctl_str(is, "profile"));
    snprintf(row->remote, sizeof row->remote, "%s", ctl_str(is, "remote"));
    snprintf(row->state, sizeof row->state, "%s", ctl_str(is, "state"));
    for (size_t i = 0; i < LEN(fields); i++)
        row->v[i] = fields[i].factor * (!fields[i].rate ? (double)ctl_num(is, fields[i].member)
                                        : was           ? ctl_rate(was, is, fields[i].member, seconds)
                                                        : 0);
}

/* Rows from the two newest answers. */
static void make_rows(struct top *t)
{
    const json_t *sessions = json_object_get(t->is, "sessions"), *s;
    json_t *before = index_by_id(t->was);
    size_t i;

    free(t->rows);
    t->rows = calloc(json_array_size(sessions) + 1, sizeof *t->rows);
    t->n = 0;
    json_array_foreach(sessions, i, s)
    {
        if (t->rows)
            fill(&t->rows[t->n++], json_object_get(before, ctl_str(s, "id")), s, t->is_at - t->was_at);
    }
    json_decref(before);
}

static int ask(struct top *t)
{
    json_t *args = NULL, *data;
    int r = ctl_args(&args, "profile", t->profile) ? ctl_call(t->c, "sessions", args, &data) : CTL_EXIT_USAGE;

    if (r)
        return r;
    json_decref(t->was);
    t->was = t->is;
    t->was_at = t->is_at;
    t->is = data;
    t->is_at = ctl_clock();
    make_rows(t);
    return 0;
}

/* ---- the screen ---- */

static void put_text(const char *text, int width)
{
    for (; width > 0 && *text; text++, width--)
        addch((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : (chtype)(unsigned char)*text);
    for (; width > 0; width--)
        addch(' ');
}

static void draw_head(const struct top *t)
{
    double in = 0, out = 0, streams = 0;
    char a[CTL_TEXT], b[CTL_TEXT];

    for (size_t i = 0; i < t->n; i++) {
        in += t->rows[i].v[F_IN];
        out += t->rows[i].v[F_OUT];
        streams += t->rows[i].v[F_STREAMS];
    }
    mvprintw(0, 0, "%zu sessions%s, %.0f streams, in %sbit/s, out %sbit/s", t->n,
             ctl_is(t->is, "truncated") ? " (of more)" : "", streams, ctl_amount((json_int_t)in, a),
             ctl_amount((json_int_t)out, b));
    mvprintw(1, 0, "sorted by ");
    attron(A_BOLD);
    addstr(fields[t->by].head);
    attroff(A_BOLD);
    addstr("; keys:");
    for (size_t i = 0; i < LEN(fields); i++)
        printw(" %c %s,", fields[i].key, fields[i].head);
    addstr(" s reverse, arrows, q quit");
    move(3, 0);
    attron(A_REVERSE);
    put_text("PROFILE", 12);
    put_text(" ID", 9);
    put_text(" REMOTE", 24);
    put_text(" STATE", 10);
    for (size_t i = 0; i < LEN(fields); i++)
        printw("%*s", fields[i].width, fields[i].head);
    attroff(A_REVERSE);
}

static void draw_row(const struct row *r, int y)
{
    char buf[CTL_TEXT];

    move(y, 0);
    put_text(r->name, 12);
    addch(' ');
    put_text(r->id, 8);
    addch(' ');
    put_text(r->remote, 23);
    addch(' ');
    put_text(r->state, 9);
    for (size_t i = 0; i < LEN(fields); i++) {
        json_int_t n = (json_int_t)llround(r->v[i]);

        printw("%*s", fields[i].width, fields[i].time ? ctl_duration(n, buf) : ctl_amount(n, buf));
    }
}

static void draw(struct top *t)
{
    size_t room = LINES > 4 ? (size_t)(LINES - 4) : 0;

    sorting = t;
    if (t->n)
        qsort(t->rows, t->n, sizeof *t->rows, by_field);
    if (t->first + room > t->n)
        t->first = t->n > room ? t->n - room : 0;
    erase();
    draw_head(t);
    for (size_t i = 0; i < room && t->first + i < t->n; i++)
        draw_row(&t->rows[t->first + i], 4 + (int)i);
    refresh();
}

/* False: quit. */
static bool on_key(struct top *t, int key)
{
    size_t page = LINES > 4 ? (size_t)(LINES - 4) : 1;

    switch (key) {
    case 'q':
        return false;
    case 's':
        t->up = !t->up;
        return true;
    case KEY_DOWN:
        t->first++;
        return true;
    case KEY_UP:
        t->first -= t->first > 0;
        return true;
    case KEY_NPAGE:
        t->first += page;
        return true;
    case KEY_PPAGE:
        t->first -= MIN(t->first, page);
        return true;
    }
    for (size_t i = 0; i < LEN(fields); i++)
        if (fields[i].key == key)
            t->by = (enum field)i;
    return true;
}

/* Until the next second is due, or the user quits: false. */
static bool serve_keys(struct top *t, double until)
{
    for (;;) {
        double left = until - ctl_clock();
        int key;

        timeout(left > 0 ? (int)(left * SECOND_MS) + 1 : 0);
        key = getch();
        if (key == ERR)
            return true;
        if (!on_key(t, key))
            return false;
        draw(t);
    }
}

static int watch(struct top *t)
{
    int r = 0;

    for (unsigned i = 0; !t->c->count || i < t->c->count; i++) {
        double begin = ctl_clock();

        r = ask(t);
        if (r)
            break;
        draw(t);
        if (!serve_keys(t, begin + 1))
            break;
    }
    return r;
}

int cmd_top(const struct ctl *c, int argc, char **argv)
{
    struct top t = {.c = c, .profile = argc > 1 ? argv[1] : NULL, .by = F_OUT};
    SCREEN *screen;
    int r;

    if (c->json) {
        fprintf(stderr, "kcptunctl: top draws on a terminal; kcptunctl --json sessions is for programs\n");
        return CTL_EXIT_USAGE;
    }
    r = ask(&t); /* what goes wrong at first is said where it can be read */
    if (!r) {
        setlocale(LC_ALL, "");
        screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? newterm(NULL, stdout, stdin) : NULL;
        if (!screen) {
            fprintf(stderr, "kcptunctl: top takes a terminal that TERM names\n");
            r = CTL_EXIT_OUTPUT;
        } else {
            cbreak();
            noecho();
            keypad(stdscr, true);
            curs_set(0);
            r = watch(&t);
            endwin();
            delscreen(screen);
        }
    }
    json_decref(t.was);
    json_decref(t.is);
    free(t.rows);
    return r;
}
