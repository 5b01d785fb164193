/* conf/json.h - kcptun's JSON files into its options. One object; keys in whatever case; what a key says counts more than
 * what was given before. A wrong type, or text that is no JSON, is an error; an unknown key a warning that names it. */
#ifndef CONF_JSON_H
#define CONF_JSON_H

#include "conf/kcptun_opts.h"

/* Reads the file, or text standing for it, into o; `path` is borrowed as long as o lives. 0; CONF_INVALID: *ps says why;
 * -ENOMEM. */
int json_read_file(struct kopts *o, const char *path, struct conf_problems *ps);
int json_read_text(struct kopts *o, const char *path, struct bytes text, struct conf_problems *ps);

/* Whose file it is, told from keys that one of the roles alone has. False: they do not tell, or there is no JSON. */
bool json_role(enum conf_role *role, struct bytes text);
int json_file_role(enum conf_role *role, const char *path); /* 0; CONF_INVALID: keys do not tell; -EIO: cannot be read */

#endif
