/* Prints the CRC-32 and the Adler-32 of its argument. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sums.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const unsigned char *text = (const unsigned char *)argv[1];
    printf("%" PRIu32 " %" PRIu32 "\n", crc32(text, strlen(argv[1])), adler32(text, strlen(argv[1])));
    return 0;
}
