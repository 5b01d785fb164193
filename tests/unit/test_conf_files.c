/* tests/unit/test_conf_files.c - configurations on disk: includes, keyfiles, permissions, what cannot be read, and the
 * files that the package ships. Each test has a directory of its own. */
#include "conf/conf.h"

#include "tests/support/vectors.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_conf_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* dir/name; valid until the fourth next call. */
static const char *path(const char *name)
{
    static char text[4][192];
    static unsigned next;
    char *p = text[next++ % LEN(text)];

    snprintf(p, sizeof text[0], "%s/%s", dir, name);
    return p;
}

static void put(const char *name, mode_t mode, const char *text, size_t len)
{
    FILE *f = fopen(path(name), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
    assert_int_equal(chmod(path(name), mode), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, 0600, text, strlen(text));
}

static int load(const char *name, struct conf **cp, struct conf_problems *ps)
{
    *cp = NULL;
    *ps = (struct conf_problems){0};
    return conf_load(cp, path(name), ps);
}

static struct conf *must_load(const char *name)
{
    struct conf_problems ps;
    struct conf *c;

    if (load(name, &c, &ps) || ps.n)
        fail_msg("%s", ps.n ? ps.v[0].text : "?");
    conf_problems_fini(&ps);
    return c;
}

/* Exactly one problem, whose text begins with dir/ and want. */
static void one_problem(const char *name, bool warning, const char *want)
{
    struct conf_problems ps;
    struct conf *c;
    int r = load(name, &c, &ps);

    if (ps.n != 1 || ps.v[0].warning != warning || !r != warning)
        fail_msg("%d, %u problems, %s", r, ps.n, ps.n ? ps.v[0].text : "-");
    if (strncmp(ps.v[0].text, dir, strlen(dir)) || strncmp(ps.v[0].text + strlen(dir) + 1, want, strlen(want)))
        fail_msg("got  %s\nwant %s", ps.v[0].text, want);
    conf_problems_fini(&ps);
    conf_free(c);
}

static void test_include(void **state)
{
    struct conf *c;

    (void)state;
    assert_int_equal(mkdir(path("d"), 0700), 0);
    put_text("a.ini", "[global]\ninclude = d/*.ini\ninclude = e.ini\n[server a]\nkey = k\n");
    put_text("d/1.ini", "[server one]\nkey = k\nlisten = :1\n[global]\ninclude = deep.conf\n");
    put_text("d/2.ini", "[defaults]\nmtu = 1000\n[client two]\nkey = k\n");
    put_text("d/deep.conf", "[global]\nworkers = 3\n[client deep]\nkey = k\nlocaladdr = :9\n");
    put_text("d/ignored", "nonsense\n");
    put_text("e.ini", "[client e]\nkey = k\nlocaladdr = :8\n");
    c = must_load("a.ini");
    assert_int_equal(c->n_profiles, 5);
    assert_string_equal(c->profiles[0].name, "one");
    assert_string_equal(c->profiles[1].name, "deep");
    assert_string_equal(c->profiles[2].name, "two");
    assert_string_equal(c->profiles[3].name, "e");
    assert_string_equal(c->profiles[4].name, "a");
    assert_string_equal(c->profiles[1].file, path("d/deep.conf"));
    assert_int_equal(c->profiles[1].line, 3);
    assert_int_equal(c->profiles[4].line, 4);
    assert_int_equal(c->profiles[4].mtu, 1000); /* [defaults] holds for all files */
    assert_int_equal(c->global.workers, 3);
    conf_free(c);
}

static void test_include_bad(void **state)
{
    (void)state;
    put_text("missing.ini", "[global]\n\ninclude = no.ini\n");
    one_problem("missing.ini", false, "missing.ini:3: include: ");
    put_text("nodir.ini", "[global]\ninclude = no/*.ini\n");
    one_problem("nodir.ini", false, "nodir.ini:2: include: ");
    put_text("none.ini", "[global]\ninclude = *.none\n[server s]\nkey = k\n");
    conf_free(must_load("none.ini"));
    put_text("self.ini", "[global]\ninclude = self.ini\n");
    one_problem("self.ini", false, "self.ini:2: include: ");
    put_text("glob.ini", "[global]\ninclude = glob*\n");
    one_problem("glob.ini", false, "glob.ini:2: include: ");
    put_text("loop1.ini", "[global]\ninclude = loop2.ini\n");
    put_text("loop2.ini", "[global]\n; here\ninclude = ./loop1.ini\n");
    one_problem("loop1.ini", false, "loop2.ini:3: include: ");
    put_text("twice.ini", "[global]\ninclude = e.ini\ninclude = ./e.ini\n");
    put_text("e.ini", "[client e]\nkey = k\n");
    one_problem("twice.ini", false, "twice.ini:3: include: ");
    put_text("dir.ini", "[global]\ninclude = .\n");
    one_problem("dir.ini", false, "dir.ini:2: include: ");
    assert_int_equal(mkfifo(path("a.fifo"), 0600), 0); /* nobody writes: who opens it waits for ever */
    put_text("pipe.ini", "[global]\ninclude = *.fifo\n");
    one_problem("pipe.ini", false, "pipe.ini:2: include: ");
    put_text("err.ini", "[global]\ninclude = err2.ini\n");
    put_text("err2.ini", "[server x]\nkey = k\nmtu = 1\n");
    one_problem("err.ini", false, "err2.ini:3: mtu: '1': out of range; accepted: 128..1500");
    put_text("dup.ini", "[global]\nworkers = 1\ninclude = dup2.ini\n");
    put_text("dup2.ini", "[global]\nworkers = 1\n[server x]\nkey = k\n");
    one_problem("dup.ini", false, "dup2.ini:2: workers: given twice in this section; first at ");
}

static void test_include_deep(void **state)
{
    char name[16], text[64];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%d.ini", i);
        snprintf(text, sizeof text, "[global]\ninclude = %d.ini\n", i + 1);
        put_text(name, text);
    }
    one_problem("0.ini", false, "15.ini:2: include: too deep; accepted: 16 files inside each other");
}

static void test_keyfile(void **state)
{
    static const struct {
        const char *file;
        size_t len;
        const char *want; /* the key, or what is wrong with it */
        bool ok;
    } rows[] = {
        {"secret", 6, "secret", true}, {"secret\n", 7, "secret", true},           {"secret\r\n", 8, "secret", true},
        {" s \n\n", 5, " s \n", true}, {"\xff\x01;#\"", 5, "\xff\x01;#\"", true}, {"", 0, "is empty", false},
        {"\n", 1, "is empty", false},  {"a\0b", 3, "holds a NUL byte", false},
    };

    (void)state;
    put_text("a.ini", "[server s]\nkeyfile = k\n");
    for (size_t i = 0; i < LEN(rows); i++) {
        struct conf *c;

        put("k", 0600, rows[i].file, rows[i].len);
        if (!rows[i].ok) {
            one_problem("a.ini", false, "a.ini:2: keyfile: ");
            continue;
        }
        c = must_load("a.ini");
        assert_string_equal(c->profiles[0].key.text, rows[i].want);
        assert_string_equal(c->profiles[0].key.file, path("k"));
        conf_free(c);
    }
}

static void test_keyfile_sizes(void **state)
{
    char *big = memset(malloc(4097), 'x', 4097);
    struct conf *c;

    (void)state;
    put_text("a.ini", "[server s]\nkeyfile = k\n");
    put("k", 0600, big, 4096);
    c = must_load("a.ini");
    assert_int_equal(strlen(c->profiles[0].key.text), 4096);
    conf_free(c);
    put("k", 0600, big, 4097);
    one_problem("a.ini", false, "a.ini:2: keyfile: ");
    assert_int_equal(unlink(path("k")), 0);
    one_problem("a.ini", false, "a.ini:2: keyfile: ");
    assert_int_equal(mkfifo(path("k"), 0600), 0); /* nobody writes: must not wait */
    one_problem("a.ini", false, "a.ini:2: keyfile: ");
    free(big);
}

/* A profile's own key, of either kind, wins over that of [defaults], of either kind. */
static void test_keyfile_defaults(void **state)
{
    struct conf *c;

    (void)state;
    put_text("k", "from file\n");
    put_text("a.ini", "[server a]\nkey = own\n[client b]\n[defaults]\nkeyfile = k\n");
    c = must_load("a.ini");
    assert_string_equal(c->profiles[0].key.text, "own");
    assert_null(c->profiles[0].key.file);
    assert_string_equal(c->profiles[1].key.text, "from file");
    assert_string_equal(c->profiles[1].key.file, path("k"));
    conf_free(c);
    put_text("b.ini", "[defaults]\nkey = def\n[server a]\nkeyfile = k\noldkeyfile = k\n[client b]\n");
    c = must_load("b.ini");
    assert_string_equal(c->profiles[0].key.text, "from file");
    assert_string_equal(c->profiles[0].oldkey.text, "from file");
    assert_string_equal(c->profiles[1].key.text, "def");
    assert_null(c->profiles[1].key.file);
    conf_free(c);
}

/* A secret from a file is printed as its file, and that loads to an equal conf from anywhere. */
static void test_keyfile_printed(void **state)
{
    struct conf_problems ps = {0};
    struct conf *c, *d = NULL;
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    (void)state;
    put_text("k ;1", "hunter\n");
    put_text("a.ini", "[server a]\nkeyfile = \"k ;1\"\noldkeyfile = \"k ;1\"\n");
    c = must_load("a.ini");
    assert_int_equal(conf_print(c, f, false), 0);
    fclose(f);
    assert_null(strstr(text, "hunter"));
    assert_int_equal(conf_load_text(&d, "printed", bytes_of(text, n), &ps), 0);
    assert_int_equal(ps.n, 0);
    assert_true(conf_equal(c, d));
    conf_free(c);
    conf_free(d);
    free(text);
}

static void test_permissions(void **state)
{
    static const char in_clear[] = "[server a]\nmtu = 1000\nkey = x\noldkey = y\n",
                      in_file[] = "[server a]\nkeyfile = k\n";

    (void)state;
    put("a.ini", 0644, in_clear, sizeof in_clear - 1);
    one_problem("a.ini", true, "a.ini:3: key: this file holds a key and others may read it (chmod o-r)");
    put("a.ini", 0640, in_clear, sizeof in_clear - 1);
    conf_free(must_load("a.ini"));
    put("a.ini", 0644, in_file, sizeof in_file - 1);
    put("k", 0600, "x", 1);
    conf_free(must_load("a.ini"));
    put("k", 0604, "x", 1);
    one_problem("a.ini", true, "a.ini:2: keyfile: ");
}

static void test_unreadable(void **state)
{
    struct conf_problems ps;
    struct conf *c;
    char want[256];

    (void)state;
    assert_int_equal(load("none.ini", &c, &ps), -ENOENT);
    assert_int_equal(ps.n_errors, 1);
    snprintf(want, sizeof want, "%s: No such file or directory", path("none.ini"));
    assert_string_equal(ps.v[0].text, want);
    conf_problems_fini(&ps);
    assert_int_equal(load("", &c, &ps), CONF_INVALID);
    assert_int_equal(ps.n_errors, 1);
    conf_problems_fini(&ps);
}

/* A file whose reading does not fit one chunk. */
static void test_large(void **state)
{
    enum { N = 3000 };
    char *text = malloc(N * 64), *p = text;
    struct conf *c;

    (void)state;
    for (int i = 0; i < N; i++)
        p += sprintf(p, "[server s%d]\nkey = k%d\nlisten = :%d\n", i, i, i + 1);
    put("a.ini", 0600, text, (size_t)(p - text));
    c = must_load("a.ini");
    assert_int_equal(c->n_profiles, N);
    assert_string_equal(c->profiles[N - 1].key.text, "k2999");
    assert_int_equal(c->profiles[N - 1].line, 3 * N - 2);
    conf_free(c);
    free(text);
}

/* ---- what the package ships ---- */

#define PACKAGING TEST_DATA "/../../packaging/"

static void test_example(void **state)
{
    struct conf_problems ps = {0};
    struct conf *c = NULL;

    (void)state;
    if (conf_load(&c, PACKAGING "etc/kcptun.ini", &ps))
        fail_msg("%s", ps.v[0].text);
    for (unsigned i = 0; i < ps.n; i++)
        assert_null(strstr(ps.v[i].text, "error"));
    assert_string_equal(c->global.control, "/run/kcptun/control");
    conf_problems_fini(&ps);
    conf_free(c);
}

/* The example says nothing that is not so: with every commented key switched on it still loads. */
static void test_example_in_full(void **state)
{
    FILE *in = fopen(PACKAGING "etc/kcptun.ini", "r"), *out;
    struct conf_problems ps = {0};
    char line[512], *text = NULL;
    struct conf *c = NULL;
    size_t n;

    (void)state;
    assert_non_null(in);
    out = open_memstream(&text, &n);
    assert_int_equal(mkdir(path("kcptun.d"), 0700), 0); /* what a relative include would find */
    while (fgets(line, sizeof line, in)) /* "#key = value" and "#[section]" are examples, "# text" is not */
        fputs(line[0] == '#' && line[1] != ' ' && line[1] != '\n' ? line + 1 : line, out);
    fclose(in);
    fclose(out);
    put("full.ini", 0600, text, n);
    if (load("full.ini", &c, &ps))
        fail_msg("%s", ps.v[0].text);
    assert_true(c->n_profiles >= 2);
    conf_problems_fini(&ps);
    conf_free(c);
    free(text);
}

/* The man page's keys are the table's. */
static void test_man(void **state)
{
    FILE *f = fopen(PACKAGING "man/kcptun.ini.5", "r"), *keys;
    char *page = calloc(1, 1 << 20), *want = NULL, *begin;
    size_t n;

    (void)state;
    assert_non_null(f);
    assert_true(fread(page, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    keys = open_memstream(&want, &n);
    conf_man(keys);
    fclose(keys);
    begin = strstr(page, ".SH KEYS\n");
    assert_non_null(begin);
    if (!strstr(begin, want))
        fail_msg("packaging/man/kcptun.ini.5: its KEYS are not what conf_man() prints:\n%s", want);
    free(want);
    free(page);
}

#define IN_DIR(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(test_include),         IN_DIR(test_include_bad),     IN_DIR(test_include_deep),
        IN_DIR(test_keyfile),         IN_DIR(test_keyfile_sizes),   IN_DIR(test_keyfile_defaults),
        IN_DIR(test_keyfile_printed), IN_DIR(test_permissions),     IN_DIR(test_unreadable),
        IN_DIR(test_large),           IN_DIR(test_example_in_full), cmocka_unit_test(test_example),
        cmocka_unit_test(test_man),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
