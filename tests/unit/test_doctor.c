/* tests/unit/test_doctor.c - kcptunctl doctor's judgement: each check with facts that make it speak, and with facts that do
 * not. A row changes one member of a daemon that is well. */
#include "tools/ctl_doctor.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char well[] = "{'version':'9','io':'epoll','io_uring':true,'workers':2,"
                           "'files':{'limit':1048576,'open':40},'clock':{'jumps':0,'sleeps':0},"
                           "'tunnels':[{'name':'web','role':'server','to':'127.0.0.1:80','crypt':'aes-128-gcm',"
                           "'default_key':false,'key_bits':256,'mtu':1350,'sockbuf':4194304,'rcvbuf':4194304,"
                           "'sndbuf':4194304,'sockets':2,'no_gro':0,'drops':0,'sessions':3,'no_gso':0,'stalled':0,"
                           "'mtu_path':1500,'in_pkts':5,'in_csum_errors':9,'dial_errors':2,'send_drops':4,"
                           "'strangers':[],'trouble':{}}]}";
static const struct doctor_machine good = {4194304, 4194304, 0, 0};

/* JSON with ' in the place of ". */
static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    json_error_t e;
    json_t *o;

    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    o = json_loads(copy, JSON_DECODE_ANY, &e);
    if (!o)
        fail_msg("%s: %s", copy, e.text);
    free(copy);
    return o;
}

static const struct {
    const char *name, *in_tunnel, *in_daemon; /* members that replace those of a daemon that is well */
    struct doctor_machine m;
    const char *check; /* that speaks; NULL: none */
    enum doctor_severity severity;
    const char *what; /* part of its words */
} rows[] = {
#define M                                                                                                              \
    {                                                                                                                  \
        4194304, 4194304, 0, 0                                                                                         \
    }
    {"all is well", NULL, NULL, M, NULL, 0, NULL},
    {"small receive buffer", "{'rcvbuf':212992}", NULL, M, "sockbuf", DOCTOR_WARNING, "212992 of 4194304"},
    {"small send buffer", "{'sndbuf':212992}", NULL, M, "sockbuf", DOCTOR_WARNING, "212992 of 4194304"},
    {"no socket, no buffer", "{'sockets':0,'rcvbuf':0,'sndbuf':0}", NULL, M, NULL, 0, NULL},
    {"drops", "{'drops':17}", NULL, M, "drops", DOCTOR_WARNING, "17 datagrams"},
    {"no GRO", "{'no_gro':1}", NULL, M, "offload", DOCTOR_WARNING, "UDP_GRO"},
    {"no GSO", "{'no_gso':2}", NULL, M, "offload", DOCTOR_NOTE, "2 of 3 sessions"},
    {"default key", "{'default_key':true,'key_bits':60}", NULL, M, "key", DOCTOR_ERROR, "default"},
    {"short key", "{'key_bits':63}", NULL, M, "key", DOCTOR_WARNING, "63 bits"},
    {"key just long enough", "{'key_bits':64}", NULL, M, NULL, 0, NULL},
    {"no cipher", "{'crypt':'none'}", NULL, M, "cipher", DOCTOR_ERROR, "none"},
    {"null cipher", "{'crypt':'null'}", NULL, M, "cipher", DOCTOR_ERROR, "null"},
    {"xor", "{'crypt':'xor'}", NULL, M, "cipher", DOCTOR_ERROR, "xor"},
    {"3des", "{'crypt':'3des'}", NULL, M, "cipher", DOCTOR_WARNING, "3des"},
    {"stranger", "{'strangers':[{'from':'192.0.2.9:5','datagrams':70,'age_s':3}]}", NULL, M, "strangers",
     DOCTOR_WARNING, "70 datagrams from 192.0.2.9:5"},
    {"settings that differ",
     "{'findings':[{'kind':'smuxver','from':'192.0.2.9:5','count':3,'first_s':9,'last_s':4,'text':'it speaks'}]}", NULL,
     M, "mismatch", DOCTOR_WARNING, "at 192.0.2.9:5 does not fit (3 times, the last 4s ago)"},
    {"a server that says nothing",
     "{'findings':[{'kind':'no-answer','from':'192.0.2.9:5','count':1,'first_s':9,'last_s':4,'text':'nothing'}]}", NULL,
     M, "mismatch", DOCTOR_WARNING, "at 192.0.2.9:5 says nothing (1 time, the last 4s ago)"},
    {"settings that differed",
     "{'findings':[{'kind':'smuxver','from':'192.0.2.9:5','count':3,'first_s':990,'last_s':601,'text':'it speaks'}]}",
     NULL, M, NULL, 0, NULL},
    {"another key is a stranger's",
     "{'findings':[{'kind':'key','from':'192.0.2.9:5','count':3,'first_s':9,'last_s':4,'text':'none'}]}", NULL, M, NULL,
     0, NULL},
    {"stalled sessions", "{'stalled':1}", NULL, M, "mtu", DOCTOR_WARNING, "1 of 3"},
    {"path too narrow", "{'mtu_path':1377}", NULL, M, "mtu", DOCTOR_ERROR, "1377"},
    {"path just wide enough", "{'mtu_path':1378}", NULL, M, NULL, 0, NULL},
    {"path not known", "{'mtu_path':0}", NULL, M, NULL, 0, NULL},
    {"too big to send", "{'trouble':{'send':{'why':'Message too long','too_big':true,'age_s':1}}}", NULL, M, "mtu",
     DOCTOR_ERROR, "too big"},
    {"sending fails", "{'trouble':{'send':{'why':'Operation not permitted','too_big':false,'age_s':1}}}", NULL, M,
     "send", DOCTOR_WARNING, "not permitted"},
    {"target refuses", "{'trouble':{'dial':{'why':'Connection refused','age_s':1}}}", NULL, M, "dial", DOCTOR_ERROR,
     "the target 127.0.0.1:80 cannot be reached: Connection refused"},
    {"target refuses often", "{'dial_errors':3,'trouble':{'dial':{'why':'Connection refused','age_s':1}}}", NULL, M,
     "dial", DOCTOR_ERROR, "Connection refused (1s ago, 3 in all)"},
    {"server not found", "{'role':'client','trouble':{'dial':{'why':'no such name','age_s':1}}}", NULL, M, "dial",
     DOCTOR_ERROR, "the server"},
    {"few files", NULL, "{'files':{'limit':1024,'open':40}}", M, "files", DOCTOR_WARNING, "40 of 1024"},
    {"files used up", NULL, "{'files':{'limit':1048576,'open':900000}}", M, "files", DOCTOR_ERROR, "900000"},
    {"no io_uring", NULL, "{'io_uring':false}", M, "io", DOCTOR_NOTE, "io_uring"},
    {"io_uring switched off",
     NULL,
     "{'io_uring':false}",
     {4194304, 4194304, 0, 2},
     "io",
     DOCTOR_NOTE,
     "io_uring_disabled"},
    {"machine drops", NULL, NULL, {4194304, 4194304, 12, 0}, "machine-drops", DOCTOR_NOTE, "12 datagrams"},
    {"clock set", NULL, "{'clock':{'jumps':1,'sleeps':0,'jump_ms':-90500,'jump_age_s':7}}", M, "clock", DOCTOR_WARNING,
     "-90.5 s"},
    {"slept", NULL, "{'clock':{'jumps':0,'sleeps':2,'sleep_age_s':7}}", M, "clock", DOCTOR_WARNING, "slept 2 times"},
    {"configuration refused", NULL, "{'conf_error':'x.ini:3: mtu'}", M, "conf", DOCTOR_ERROR, "x.ini:3"},
    {"a daemon that says nothing", NULL, "{'files':null,'clock':null,'tunnels':null}", M, NULL, 0, NULL},
};

static void test_each_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        json_t *facts = parse(well), *tunnel = json_array_get(json_object_get(facts, "tunnels"), 0);
        json_t *t = parse(rows[i].in_tunnel ? rows[i].in_tunnel : "{}");
        json_t *d = parse(rows[i].in_daemon ? rows[i].in_daemon : "{}");
        struct doctor_findings fs = {0};

        json_object_update(tunnel, t);
        json_object_update(facts, d);
        doctor_examine(facts, &rows[i].m, &fs);
        if (fs.n != (rows[i].check ? 1u : 0u))
            fail_msg("%s: %zu findings, the first: %s", rows[i].name, fs.n, fs.n ? fs.v[0].what : "-");
        if (fs.n && (strcmp(fs.v[0].check, rows[i].check) != 0 || fs.v[0].severity != rows[i].severity ||
                     !strstr(fs.v[0].what, rows[i].what) || !*fs.v[0].why || !*fs.v[0].todo ||
                     strchr(fs.v[0].todo, '\n'))) /* which is not printed as it is */
            fail_msg("%s: %s %s: %s / %s / %s", rows[i].name, doctor_severity_name(fs.v[0].severity), fs.v[0].check,
                     fs.v[0].what, fs.v[0].why, fs.v[0].todo);
        doctor_findings_fini(&fs);
        json_decref(facts);
        json_decref(t);
        json_decref(d);
    }
}

/* Every tunnel is looked at, not the first alone. */
static void test_each_tunnel(void **state)
{
    json_t *facts = parse(well), *tunnels = json_object_get(facts, "tunnels");
    json_t *other = json_deep_copy(json_array_get(tunnels, 0));
    struct doctor_findings fs = {0};

    (void)state;
    json_object_set_new(other, "name", json_string("second"));
    json_object_set_new(other, "drops", json_integer(1));
    json_object_set_new(other, "crypt", json_string("xor"));
    json_array_append_new(tunnels, other);
    doctor_examine(facts, &good, &fs);
    assert_int_equal(fs.n, 2);
    assert_non_null(strstr(fs.v[0].what, "second: "));
    assert_non_null(strstr(fs.v[1].what, "second: "));
    doctor_findings_fini(&fs);
    json_decref(facts);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_machine(void **state)
{
    char dir[] = "/tmp/test_doctor.XXXXXX", command[64];
    struct doctor_machine m;

    (void)state;
    assert_non_null(mkdtemp(dir));
    doctor_machine_read(&m, dir);
    assert_true(m.rmem_max == -1 && m.wmem_max == -1 && m.rcvbuf_errors == -1 && m.uring_disabled == -1);
    put(dir, "sys/net/core/rmem_max", "212992\n");
    put(dir, "sys/net/core/wmem_max", "junk\n");
    put(dir, "sys/kernel/io_uring_disabled", "2\n");
    put(dir, "net/snmp",
        "Ip: Forwarding RcvbufErrors\nIp: 1 99\nUdp: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\n"
        "Udp: 5 6 7 8 9\nUdpLite: InDatagrams\nUdpLite: 0\n");
    doctor_machine_read(&m, dir);
    assert_int_equal(m.rmem_max, 212992);
    assert_int_equal(m.wmem_max, -1);
    assert_int_equal(m.uring_disabled, 2);
    assert_int_equal(m.rcvbuf_errors, 8);
    put(dir, "net/snmp", "Udp: InDatagrams RcvbufErrors\nUdp: 5\n"); /* cut */
    doctor_machine_read(&m, dir);
    assert_int_equal(m.rcvbuf_errors, 0);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_check),
        cmocka_unit_test(test_each_tunnel),
        cmocka_unit_test(test_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
