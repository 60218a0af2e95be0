#include "sums.h"

#define BASE 65521u /* the largest prime below 65536: RFC 1950 */

uint32_t adler32(const unsigned char *data, size_t size)
{
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < size; i++) {
        low = (low + data[i]) % BASE;
        high = (high + low) % BASE;
    }
    return high << 16 | low;
}
