"""When a compressed file is taken for a bomb: real images of this size are never compressed so far."""

#: Bytes in memory up to which any factor is possible, as of an empty image or a mask.
SMALL = 2**29
_FACTOR = 64


def is_bomb(stored: int, unpacked: int, small: int = SMALL) -> bool:
    """Whether so few bytes of a file claim to unpack to so many.

    Args:
        stored: bytes in the file.
        unpacked: bytes in memory.
        small: number of those up to which any factor is possible.
    """
    return unpacked > small and unpacked > _FACTOR * stored
