/* tools/net_device.h - network devices of the namespace that the calling thread is in. */
#ifndef TOOLS_NET_DEVICE_H
#define TOOLS_NET_DEVICE_H

#include <stdint.h>

/* Brings a device up, with an IPv4 address in a /24 network if not NULL. 0, -1 (errno). */
int net_device_up(const char *name, const char *ipv4);
/* Adds an IPv6 address of a /64 network. 0, -1 (errno). */
int net_device_ipv6(const char *name, const char *ipv6);
/* Bytes of the longest packet, packets that may wait in the device. 0, -1 (errno). */
int net_device_sizes(const char *name, unsigned mtu, unsigned queue);
/* Packets the device has dropped on their way out; 0 if it is not there. */
uint64_t net_device_dropped(const char *name);

#endif
