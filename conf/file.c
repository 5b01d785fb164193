/* conf/file.c - files into memory, for the loader. They may hold secrets: stdio keeps no copy, and whoever owns the
 * buffer wipes it. */
#include "conf/load.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 65536 };

/* Reads to the end, growing by copies that leave nothing behind. */
static int read_all(FILE *f, size_t max, char **textp, size_t *lenp)
{
    size_t cap = CHUNK, len = 0, n;
    char *text = malloc(cap + 1), *more;

    if (!text)
        return err_here(-ENOMEM);
    while ((n = fread(text + len, 1, cap - len, f)) > 0) {
        len += n;
        if (len > max)
            break;
        if (len < cap)
            continue;
        more = malloc(cap * 2 + 1);
        if (more)
            memcpy(more, text, len);
        explicit_bzero(text, len);
        free(text);
        if (!more)
            return err_here(-ENOMEM);
        text = more;
        cap *= 2;
    }
    text[len] = 0;
    *textp = text;
    *lenp = len;
    return 0;
}

int conf_slurp(const char *path, size_t max, bool regular, char **text, size_t *len, bool *world, char *why)
{
    struct stat st;
    FILE *f;
    int r;

    /* Asked before opening: opening a FIFO would wait for its other end. */
    if (stat(path, &st)) {
        snprintf(why, CONF_WHY_MAX, "%s", strerror(errno));
        return -errno;
    }
    if (S_ISDIR(st.st_mode) || (regular && !S_ISREG(st.st_mode))) {
        snprintf(why, CONF_WHY_MAX, "not a regular file");
        return CONF_INVALID;
    }
    f = fopen(path, "re");
    if (!f) {
        snprintf(why, CONF_WHY_MAX, "%s", strerror(errno));
        return -errno;
    }
    setvbuf(f, NULL, _IONBF, 0);
    *world = st.st_mode & S_IROTH && S_ISREG(st.st_mode);
    r = read_all(f, max, text, len);
    if (!r && (ferror(f) || *len > max)) {
        snprintf(why, CONF_WHY_MAX, ferror(f) ? "read error" : "larger than %zu bytes", max);
        explicit_bzero(*text, *len);
        free(*text);
        *text = NULL;
        r = CONF_INVALID;
    }
    fclose(f);
    return r;
}

char *conf_path_beside(const char *from, const char *path)
{
    const char *slash = strrchr(from, '/');
    char *joined;

    if (path[0] == '/' || !slash)
        return strdup(path);
    return asprintf(&joined, "%.*s%s", (int)(slash + 1 - from), from, path) < 0 ? NULL : joined;
}
