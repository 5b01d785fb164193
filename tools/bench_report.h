/* tools/bench_report.h - results as JSON, and tables made from that JSON alone, so that a saved run can be shown
 * again. */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include "tools/bench.h"

#include <jansson.h>

struct bench_work;
struct bench_place;

/* The head of a report: program, date, machine, settings, an empty list of results. */
json_t *bench_report_new(const struct bench *b, int argc, char **argv);

/* The result of a work, case and kind, empty at first; borrowed from the report. */
json_t *bench_report_result(json_t *report, const struct bench_work *w, const struct bench_case *c, const char *program);
void bench_report_run(json_t *result, const struct bench_work *w, const double v[]);
void bench_report_failed(json_t *result, const char *why);
void bench_report_skipped(json_t *result, const char *why); /* it cannot be measured, which is no failure */
void bench_report_limit(json_t *report, const char *which, double mb_s);

/* Writes the whole report beside `path` and moves it there. 0, BENCH_FAILED. */
int bench_report_save(const json_t *report, const char *path);
int bench_report_load(json_t **report, const char *path); /* 0, BENCH_FAILED */

/* Prints tables; markdown: as Markdown. */
void bench_report_print(const json_t *report, bool markdown);

#endif
