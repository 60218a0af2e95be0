#include "sums.h"

uint32_t crc32(const unsigned char *data, size_t size)
{
    uint32_t sum = ~0u;
    for (size_t i = 0; i < size; i++) {
        sum ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (0xEDB88320u & -(sum & 1)); /* reflected: RFC 1952 */
    }
    return ~sum;
}
