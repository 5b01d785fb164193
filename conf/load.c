/* conf/load.c - INI files into the loader's draft: sections, keys, includes. What follows from the values as a whole is
 * conf/conf.c and conf/check.c. */
#include "conf/load.h"

#include "conf/ini.h"
#include "core/base/err.h"

#include <assert.h>
#include <glob.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 64 << 20, DEPTH_MAX = 16, NAME_MAX_BYTES = 64 };

struct reading { /* one file */
    struct loader *l;
    const char *file; /* as shown; the loader's to free */
    bool world; /* others may read it */
    bool world_told;
    unsigned where; /* the section: enum conf_where; 0: before any, or one that was refused */
    bool skip; /* in a refused section */
    unsigned profile; /* index, in a profile's section */
};

/* A node of the tree of files, by what they are, so that no detour of names hides a loop. */
struct file_node {
    dev_t dev;
    ino_t ino;
    char *name;
    struct place from;
};

/* A node of the tree of profile names. */
struct name_node {
    const char *name; /* the profile's */
    struct place at;
};

static int by_file(const void *a, const void *b)
{
    const struct file_node *x = a, *y = b;

    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int by_name(const void *a, const void *b)
{
    const struct name_node *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void file_node_free(void *p)
{
    struct file_node *n = p;

    free(n->name);
    free(n);
}

void conf_loader_fini(struct loader *l)
{
    tdestroy(l->files, file_node_free);
    tdestroy(l->names, free);
    free(l->drafts);
}

void conf_note_path(struct loader *l, const char *path)
{
    struct conf_paths *p = l->paths;

    if (!p)
        return;
    if (p->n == p->cap) {
        unsigned cap = p->cap ? p->cap * 2 : 8;
        char **v = reallocarray(p->v, cap, sizeof *v);

        if (!v) {
            l->r = err_here(-ENOMEM);
            return;
        }
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n] = strdup(path);
    if (p->v[p->n])
        p->n++;
    else
        l->r = err_here(-ENOMEM);
}

/* ---- includes ---- */

/* A pattern may match nothing, but its directory has to be there. */
static bool dir_exists(const char *pattern)
{
    size_t n = strcspn(pattern, "*?[");
    struct stat st;
    char *dir;
    bool there;

    while (n && pattern[n - 1] != '/')
        n--;
    if (!n)
        return true;
    dir = strndup(pattern, n);
    there = dir && !stat(dir, &st);
    free(dir);
    return there;
}

static void include_matches(struct reading *rd, const char *pattern, struct place at)
{
    struct loader *l = rd->l;
    glob_t g = {0};
    int r;

    conf_note_path(l, pattern);
    if (!dir_exists(pattern)) {
        conf_problem_add(l->ps, false, at, "include: %s: no such directory", pattern);
        return;
    }
    r = glob(pattern, GLOB_ERR, NULL, &g);
    if (r == GLOB_NOSPACE)
        l->r = err_here(-ENOMEM);
    else if (r == GLOB_ABORTED)
        conf_problem_add(l->ps, false, at, "include: %s: a directory cannot be read", pattern);
    for (size_t i = 0; !r && i < g.gl_pathc && !l->r; i++)
        conf_read_file(l, g.gl_pathv[i], at);
    globfree(&g);
}

static void include(struct reading *rd, const char *value, struct place at)
{
    struct loader *l = rd->l;
    char *pattern;

    if (l->from_memory || !*value) {
        conf_problem_add(l->ps, false, at, "include: %s; accepted: a path, with or without wildcards",
                         *value ? "only a file can include others" : "empty");
        return;
    }
    pattern = conf_path_beside(rd->file, value);
    if (!pattern)
        l->r = err_here(-ENOMEM);
    else if (!strpbrk(pattern, "*?["))
        conf_read_file(l, pattern, at);
    else
        include_matches(rd, pattern, at);
    free(pattern);
}

/* ---- sections ---- */

static bool name_ok(const char *name)
{
    static const char extra[] = "._-:@+";
    size_t n = 0;

    for (; name[n]; n++) {
        char c = name[n];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(extra, c)))
            return false;
    }
    return n && n <= NAME_MAX_BYTES;
}

static bool make_room(struct loader *l)
{
    unsigned cap = l->cap ? l->cap * 2 : 16;
    struct conf_profile *p;
    struct draft *d;

    if (l->c->n_profiles < l->cap)
        return true;
    p = reallocarray(l->c->profiles, cap, sizeof *p);
    if (p)
        l->c->profiles = p;
    d = p ? reallocarray(l->drafts, cap, sizeof *d) : NULL;
    if (!d)
        return false;
    l->drafts = d;
    l->cap = cap;
    return true;
}

/* True if the name is new; else tells, or sets l->r. */
static bool note_name(struct loader *l, const char *name, struct place at)
{
    struct name_node *n = malloc(sizeof *n), **found;

    if (n)
        *n = (struct name_node){name, at};
    found = n ? tsearch(n, &l->names, by_name) : NULL;
    if (found && *found == n)
        return true;
    free(n);
    if (!found)
        l->r = err_here(-ENOMEM);
    else
        conf_problem_add(l->ps, false, at, "profile '%s' exists already, at %s:%u; accepted: a name used once", name,
                         (*found)->at.file, (*found)->at.line);
    return false;
}

static void add_profile(struct reading *rd, enum conf_role role, const char *name, struct place at)
{
    struct loader *l = rd->l;
    struct conf_profile *p;

    if (l->c->n_profiles == CONF_PROFILES_MAX) {
        conf_problem_add(l->ps, false, at, "too many profiles; accepted: up to %d", CONF_PROFILES_MAX);
        return;
    }
    if (!make_room(l)) {
        l->r = err_here(-ENOMEM);
        return;
    }
    p = &l->c->profiles[l->c->n_profiles];
    *p = (struct conf_profile){.role = role, .line = at.line, .name = strdup(name), .file = strdup(at.file)};
    l->drafts[l->c->n_profiles] = (struct draft){.head = at};
    rd->profile = l->c->n_profiles++;
    if (!p->name || !p->file) {
        l->r = err_here(-ENOMEM);
        return;
    }
    rd->where = role == CONF_SERVER ? IN_SERVER : IN_CLIENT;
    if (!note_name(l, p->name, at))
        l->drafts[rd->profile].bad = true;
}

static void on_section(void *ctx, const char *text, unsigned line)
{
    struct reading *rd = ctx;
    struct place at = {rd->file, line};
    size_t kind = strcspn(text, " \t");
    const char *name = text + kind + strspn(text + kind, " \t");
    bool server = kind == 6 && !strncmp(text, "server", kind), client = kind == 6 && !strncmp(text, "client", kind);
    char cut[CONF_SHOWN];

    rd->where = 0;
    rd->skip = true;
    if (rd->l->r)
        return;
    if (!strcmp(text, "global")) {
        rd->where = IN_GLOBAL;
    } else if (!strcmp(text, "defaults")) {
        rd->where = IN_BOTH;
    } else if (server || client) {
        if (name_ok(name))
            add_profile(rd, server ? CONF_SERVER : CONF_CLIENT, name, at);
        else
            conf_problem_add(rd->l->ps, false, at,
                             "[%s]: bad profile name; accepted: 1..%d letters, digits and . _ - : @ +",
                             conf_shown(text, cut), NAME_MAX_BYTES);
    } else {
        conf_problem_add(rd->l->ps, false, at,
                         "[%s]: unknown section; accepted: [global], [defaults], [server NAME], [client NAME]",
                         conf_shown(text, cut));
    }
}

/* ---- one file ---- */

static void unknown_key(struct reading *rd, const char *key, struct place at)
{
    const struct conf_key *k = conf_key_find(key, ~0u);

    if (!k)
        conf_problem_add(rd->l->ps, false, at, "%s: unknown key; accepted: the keys that --help lists", key);
    else
        conf_problem_add(rd->l->ps, false, at, "%s: not a key of this section; accepted: in %s", key,
                         k->where == IN_GLOBAL   ? "[global]"
                         : k->where == IN_SERVER ? "[server NAME] and [defaults]"
                         : k->where == IN_CLIENT ? "[client NAME] and [defaults]"
                                                 : "[server NAME], [client NAME] and [defaults]");
}

static void warn_world(struct reading *rd, const struct conf_key *k, struct place at)
{
    if (!k->type->secret || !rd->world || rd->world_told)
        return;
    rd->world_told = true;
    conf_problem_add(rd->l->ps, true, at, "%s: this file holds a key and others may read it (chmod o-r)", k->name);
}

static void on_key(void *ctx, const char *key, const struct ini_value *v, unsigned line)
{
    struct reading *rd = ctx;
    struct loader *l = rd->l;
    struct place at = {rd->file, line};
    const struct conf_key *k;

    if (l->r || (!rd->where && rd->skip))
        return;
    if (!rd->where) {
        conf_problem_add(l->ps, false, at, "%s: before any section; accepted: below [global], [defaults], ...", key);
        return;
    }
    k = conf_key_find(key, rd->where);
    if (!k) {
        unknown_key(rd, key, at);
        return;
    }
    warn_world(rd, k, at);
    if (k->type == &conf_include)
        include(rd, v->text, at);
    else if (rd->where == IN_GLOBAL)
        conf_set(l, k, &l->c->global, &l->global, v, at);
    else if (rd->where == IN_BOTH)
        conf_set(l, k, &l->base, &l->defaults, v, at);
    else
        conf_set(l, k, &l->c->profiles[rd->profile], &l->drafts[rd->profile], v, at);
}

static void on_refused(void *ctx, unsigned line, const char *why)
{
    struct reading *rd = ctx;

    conf_problem_add(rd->l->ps, false, (struct place){rd->file, line}, "%s", why);
}

static const struct ini_events events = {on_section, on_key, on_refused};

static void read_bytes(struct reading *rd, struct bytes text)
{
    int r = ini_read(text, &events, rd);

    if (r)
        rd->l->r = r;
}

void conf_read_text(struct loader *l, const char *name, struct bytes text)
{
    struct reading rd = {.l = l, .file = name};

    l->from_memory = true;
    read_bytes(&rd, text);
}

void conf_read_settings(struct loader *l, enum conf_role role, const char *name, const struct conf_setting *v,
                        unsigned n)
{
    struct reading rd = {.l = l, .file = name};

    add_profile(&rd, role, name, (struct place){name, 0});
    for (unsigned i = 0; i < n && !l->r; i++) {
        const struct ini_value value = {.text = v[i].value, .quoted = true};
        const struct conf_key *k = conf_key_find(v[i].key, rd.where);
        struct place at = {v[i].from, 0};

        if (k) {
            conf_set(l, k, &l->c->profiles[rd.profile], &l->drafts[rd.profile], &value, at);
            continue;
        }
        k = conf_key_find(v[i].key, IN_GLOBAL);
        assert(k && k->type != &conf_include);
        conf_set(l, k, &l->c->global, &l->global, &value, at);
    }
}

/* The tree's name for the file; NULL: it was read before (told), or l->r. */
static const char *note_file(struct loader *l, const char *path, struct place from)
{
    struct file_node *n = calloc(1, sizeof *n), **found = NULL;
    struct stat st = {0};

    if (n && !stat(path, &st)) {
        *n = (struct file_node){st.st_dev, st.st_ino, strdup(path), from};
        found = n->name ? tsearch(n, &l->files, by_file) : NULL;
    }
    if (found && *found == n)
        return n->name;
    if (found)
        conf_problem_add(l->ps, false, from, "include: %s is read already%s; accepted: every file once", path,
                         (*found)->from.file ? "" : ", as the file that was asked for: a loop");
    else
        l->r = err_here(-ENOMEM);
    if (n)
        file_node_free(n);
    return NULL;
}

int conf_read_file(struct loader *l, const char *path, struct place from)
{
    struct place at = from.file ? from : (struct place){path, 0};
    const char *inc = from.file ? "include: " : "";
    char why[CONF_WHY_MAX] = "", *text = NULL;
    struct reading rd = {.l = l};
    size_t len = 0;
    int r;

    if (l->depth == DEPTH_MAX) {
        conf_problem_add(l->ps, false, at, "include: too deep; accepted: %d files inside each other", DEPTH_MAX);
        return CONF_INVALID;
    }
    conf_note_path(l, path);
    /* What somebody named may be a pipe; one that a pattern finds would hold up a daemon that runs. */
    r = conf_slurp(path, FILE_MAX, from.file != NULL, &text, &len, &rd.world, why);
    if (r) {
        conf_problem_add(l->ps, false, at, "%s%s%s%s", inc, from.file ? path : "", from.file ? ": " : "",
                         *why ? why : "out of memory");
        return r;
    }
    rd.file = note_file(l, path, from);
    if (rd.file) {
        l->depth++;
        read_bytes(&rd, bytes_of(text, len));
        l->depth--;
    }
    explicit_bzero(text, len);
    free(text);
    return 0;
}
