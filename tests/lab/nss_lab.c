/* A service of the name service switch that knows NAME.local as 127.0.0.1, as nss-mdns would: `hosts: files lab` in nsswitch.conf. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <string.h>

static const char DOMAIN[] = ".local";

struct answer {
	char *addresses[2];
	char *aliases[1];
	struct in_addr address;
	char name[];
};

enum nss_status _nss_lab_gethostbyname2_r(const char *name, int family, struct hostent *host, char *buffer, size_t size, int *error,
                                          int *host_error)
{
	struct answer *answer = (struct answer *)buffer;
	size_t length = strlen(name);
	if (family != AF_INET || length < sizeof DOMAIN || strcmp(name + length + 1 - sizeof DOMAIN, DOMAIN) != 0) {
		*error = ENOENT;
		*host_error = HOST_NOT_FOUND;
		return NSS_STATUS_NOTFOUND;
	}
	if (size < sizeof *answer + length + 1) {
		*error = ERANGE;
		*host_error = NETDB_INTERNAL;
		return NSS_STATUS_TRYAGAIN;
	}
	inet_pton(AF_INET, "127.0.0.1", &answer->address);
	strcpy(answer->name, name);
	answer->addresses[0] = (char *)&answer->address;
	answer->addresses[1] = answer->aliases[0] = 0;
	*host = (struct hostent){answer->name, answer->aliases, AF_INET, sizeof answer->address, answer->addresses};
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_lab_gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size, int *error, int *host_error)
{
	return _nss_lab_gethostbyname2_r(name, AF_INET, host, buffer, size, error, host_error);
}
