/* conf/load.h - files to a draft, and a draft to a conf. Internal to conf/. */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "conf/draft.h"

struct loader {
    struct conf *c;
    struct draft global, defaults;
    struct conf_profile base;     /* the values of [defaults] */
    struct draft *drafts;         /* of c->profiles */
    unsigned cap;                 /* of both arrays */
    struct conf_problems *ps;
    struct conf_paths *paths;     /* NULL: nobody asks */
    void *names;                  /* tsearch() trees: profiles by name, files by what they are */
    void *files;
    unsigned depth;               /* of includes */
    bool from_memory;
    int r;                        /* -ENOMEM, once */
};

/* Reads a file, and what it includes, into l. from: the include that asked, or file NULL. Problems go to l->ps.
 * 0, -errno: the file cannot be read (told in l->ps too). */
int conf_read_file(struct loader *l, const char *path, struct place from);
void conf_read_text(struct loader *l, const char *name, struct bytes text);
/* One profile, and what belongs to [global]. */
void conf_read_settings(struct loader *l, enum conf_role role, const char *name, const struct conf_setting *v, unsigned n);
void conf_loader_fini(struct loader *l);
void conf_note_path(struct loader *l, const char *path); /* read, or looked for */

/* The whole of a file of up to max bytes, NUL behind it; *text is the caller's to wipe and free.
 * 0, CONF_INVALID (why says), -errno. regular: refuses what is no regular file. world: others may read it. */
int conf_slurp(const char *path, size_t max, bool regular, char **text, size_t *len, bool *world, char *why);
/* path, or dir of `from` / path when that is relative. On the heap; NULL: out of memory. */
char *conf_path_beside(const char *from, const char *path);

/* Text of the user's, fit to be shown: cut, and without control characters. Returns out. */
enum { CONF_SHOWN = 44 };
const char *conf_shown(const char *text, char out[CONF_SHOWN]);

/* One "key = value" of section `where`: base is the struct it sets. */
struct ini_value;
void conf_set(struct loader *l, const struct conf_key *k, void *base, struct draft *d, const struct ini_value *v,
              struct place at);

#endif
