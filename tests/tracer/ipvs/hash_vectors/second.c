/* A second implementation of IPVS's hash schedulers, written from the descriptions and not from the engine: it makes the vectors that the
 * engine is held against.
 *
 * It is independent in how it works: SipHash is the paper's, for any rounds and length, and is checked with the paper's own vector before
 * anything is printed; the servers are a linked list that grows at its head; mh follows the Maglev paper (a whole list of preferences for
 * each server, then "next" into it), with the kernel's weights; sh and dh walk the ring slot by slot.
 *
 * What is computed: net/netfilter/ipvs/ip_vs_sh.c, ip_vs_dh.c, ip_vs_mh.c, ip_vs_ctl.c (__ip_vs_update_dest), include/linux/hash.h
 * (hash_32), lib/siphash.c (hsiphash on 64 bits), Linux 6.18; Aumasson and Bernstein, SipHash, 2012; Eisenbud et al., Maglev, NSDI 2016.
 *
 * Input, one case a line:  SCHEDULER FALLBACK PORTED CLIENT PORT DESTINATION N (ADDRESS PORT WEIGHT)xN, servers in the order of adding.
 * Output: the line, and the address and port of the server, or "none".
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct server {
	char text[64];
	uint32_t folded;
	unsigned port, weight;
	struct server *next;
};

static uint64_t little_endian(const unsigned char *bytes, size_t count)
{
	uint64_t word = 0;
	while (count--)
		word = word << 8 | bytes[count];
	return word;
}

static uint64_t left(uint64_t word, int by) { return word << by | word >> (64 - by); }

static void rounds(uint64_t v[4], int times)
{
	while (times--) {
		v[0] += v[1]; v[2] += v[3];
		v[1] = left(v[1], 13); v[3] = left(v[3], 16);
		v[1] ^= v[0]; v[3] ^= v[2];
		v[0] = left(v[0], 32);
		v[2] += v[1]; v[0] += v[3];
		v[1] = left(v[1], 17); v[3] = left(v[3], 21);
		v[1] ^= v[2]; v[3] ^= v[0];
		v[2] = left(v[2], 32);
	}
}

/* SipHash-c-d of *length* bytes, as the paper has it. */
static uint64_t siphash(int c, int d, const uint64_t key[2], const unsigned char *bytes, size_t length)
{
	static const char magic[] = "somepseudorandomlygeneratedbytes";
	uint64_t v[4], word;
	size_t at;
	for (int i = 0; i < 4; i++) {
		word = 0;
		for (int j = 0; j < 8; j++)
			word = word << 8 | (unsigned char)magic[8 * i + j];
		v[i] = word ^ key[i % 2];
	}
	for (at = 0; at + 8 <= length; at += 8) {
		word = little_endian(bytes + at, 8);
		v[3] ^= word; rounds(v, c); v[0] ^= word;
	}
	word = little_endian(bytes + at, length - at) | (uint64_t)(length & 0xff) << 56;
	v[3] ^= word; rounds(v, c); v[0] ^= word;
	v[2] ^= 0xff;
	rounds(v, d);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void check_siphash(void)
{
	unsigned char bytes[15];
	const uint64_t key[2] = { 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL };
	for (int i = 0; i < 15; i++)
		bytes[i] = i;
	if (siphash(2, 4, key, bytes, 15) != 0xa129ca6149be45e5ULL) {
		fprintf(stderr, "SipHash-2-4 is not the paper's\n");
		exit(1);
	}
}

static uint32_t hsiphash(uint32_t value, uint64_t half)
{
	const uint64_t key[2] = { half, half };
	const unsigned char bytes[4] = { value, value >> 8, value >> 16, value >> 24 };
	return (uint32_t)siphash(1, 3, key, bytes, 4);
}

static uint32_t fold(const char *text)
{
	unsigned char bytes[16];
	uint32_t folded = 0;
	int length = strchr(text, ':') ? 16 : 4;
	if (inet_pton(length == 16 ? AF_INET6 : AF_INET, text, bytes) != 1)
		exit(2);
	for (int at = 0; at < length; at++)
		folded ^= (uint32_t)bytes[at] << (8 * (3 - at % 4));
	return folded;
}

static unsigned source_slot(uint32_t folded, unsigned port)
{
	uint64_t product = (uint64_t)(uint32_t)(folded + port) * 0x61C88647u;
	return (unsigned)(product % 0x100000000ULL / 0x1000000);
}

#define RING 256
#define TABLE 4093

static unsigned common(unsigned a, unsigned b) { return b ? common(b, a % b) : a; }

static struct server **maglev(struct server *list)
{
	static struct server *table[TABLE];
	struct server *all[64];
	static unsigned wish[64][TABLE];
	unsigned next[64] = { 0 }, turns[64], count = 0, most = 0, divisor = 0, filled = 0, bits = 0, shift;
	memset(table, 0, sizeof table);
	for (struct server *s = list; s; s = s->next) {
		unsigned offset = hsiphash(s->folded + s->port, 2654435761u) % TABLE;
		unsigned skip = hsiphash(s->folded + s->port, 2654446892u) % (TABLE - 1) + 1;
		for (unsigned j = 0; j < TABLE; j++)
			wish[count][j] = (offset + j * (unsigned long)skip) % TABLE;
		divisor = common(s->weight, divisor);
		most = s->weight > most ? s->weight : most;
		all[count++] = s;
	}
	for (unsigned rest = most / divisor; rest; rest /= 2)
		bits++;
	shift = bits > 6 ? bits - 6 : 0;
	for (unsigned i = 0; i < count; i++)
		turns[i] = (all[i]->weight / divisor) >> shift ? (all[i]->weight / divisor) >> shift : 1;
	for (;;)
		for (unsigned i = 0; i < count; i++)
			for (unsigned turn = 0; turn < turns[i]; turn++) {
				while (table[wish[i][next[i]]])
					next[i]++;
				table[wish[i][next[i]]] = all[i];
				if (++filled == TABLE)
					return table;
			}
}

static struct server *chosen(const char *scheduler, int falls_back, unsigned port, uint32_t client, uint32_t destination, struct server *list)
{
	struct server *ring[RING], *at = list;
	unsigned taken = 0, first;
	if (!strcmp(scheduler, "mh"))
		return maglev(list)[hsiphash(client + port, 2654435761u) % TABLE];
	for (int slot = 0; slot < RING; slot++) {
		ring[slot] = at;
		if (!strcmp(scheduler, "dh") || ++taken >= at->weight) {
			at = at->next ? at->next : list;
			taken = 0;
		}
	}
	if (!strcmp(scheduler, "dh"))
		return ring[source_slot(destination, 0)]->weight ? ring[source_slot(destination, 0)] : NULL;
	first = source_slot(client, port);
	if (ring[first]->weight || !falls_back)
		return ring[first]->weight ? ring[first] : NULL;
	for (unsigned offset = 0; offset < RING; offset++) {
		unsigned shifted = (offset + first) % RING;
		struct server *found = ring[(shifted + first) % RING];
		if (found->weight)
			return found;
	}
	return NULL;
}

int main(void)
{
	char scheduler[8], client[64], destination[64];
	int falls_back, ported, count;
	unsigned port;
	check_siphash();
	while (scanf("%7s %d %d %63s %u %63s %d", scheduler, &falls_back, &ported, client, &port, destination, &count) == 7) {
		struct server *list = NULL, *found;
		printf("%s %d %d %s %u %s %d", scheduler, falls_back, ported, client, port, destination, count);
		for (int i = 0; i < count; i++) {
			struct server *s = calloc(1, sizeof *s);
			if (scanf("%63s %u %u", s->text, &s->port, &s->weight) != 3)
				return 3;
			s->folded = fold(s->text);
			s->next = list;
			list = s;
			printf(" %s %u %u", s->text, s->port, s->weight);
		}
		found = chosen(scheduler, falls_back, ported ? port : 0, fold(client), fold(destination), list);
		if (found)
			printf(" = %s %u\n", found->text, found->port);
		else
			printf(" = none\n");
		while (list) {
			struct server *gone = list;
			list = list->next;
			free(gone);
		}
	}
	return 0;
}
